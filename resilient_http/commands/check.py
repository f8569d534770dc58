"""Say what is wrong in files of settings, and what is likely wrong.

Files go over each other in their order, as load_settings() has it. The exit status is 0 when all is well, 1 when
something is not, and 2 when a file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from resilient_http.errors import SettingsError, SettingsMistake
from resilient_http.settings.advice import Advice, advise
from resilient_http.settings.loading import load_settings

WRONG = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="settings: .toml, .yaml, .yml or .json")
    parser.add_argument("--environment", action="store_true", help="let the variables RESILIENT_HTTP_... go over them")
    parser.add_argument("--deploy", action="store_true", help="tell what only matters in a deployment too")
    parser.add_argument("--worker-timeout", type=float, metavar="SECONDS", help="of gunicorn, or what kills a worker")
    parser.add_argument("--ignore", action="append", default=[], metavar="ID", help="advice that is not wanted")
    parser.add_argument("--json", action="store_true", help="tell it as JSON")


def run(options: argparse.Namespace) -> int:
    """Check, and tell; the exit status."""
    mistakes: tuple[SettingsMistake, ...] = ()
    advice: tuple[Advice, ...] = ()
    try:
        settings = load_settings(*options.files, environment=os.environ if options.environment else None)
    except SettingsError as exc:
        mistakes = exc.mistakes or (SettingsMistake((), str(exc)),)
    else:
        found = advise(settings, deploy=options.deploy, worker_timeout=options.worker_timeout)
        advice = tuple(each for each in found if each.id not in options.ignore)
    print(_as_json(mistakes, advice) if options.json else _as_text(mistakes, advice))  # noqa: T201
    return WRONG if mistakes or advice else 0


def _as_text(mistakes: tuple[SettingsMistake, ...], advice: tuple[Advice, ...]) -> str:
    lines = [str(mistake) if mistake.path else mistake.message for mistake in mistakes]
    for each in advice:
        lines += [str(each), f"    from {each.origin}", f"    {each.hint}"]
    return "\n".join([*lines, f"{len(mistakes)} wrong, {len(advice)} likely wrong"])


def _as_json(mistakes: tuple[SettingsMistake, ...], advice: tuple[Advice, ...]) -> str:
    told: dict[str, Any] = {
        "mistakes": [
            {"path": list(each.path), "message": each.message, "known": list(each.known), "source": each.source}
            for each in mistakes
        ],
        "advice": [
            {"id": each.id, "path": list(each.path), "message": each.message, "hint": each.hint, "origin": each.origin}
            for each in advice
        ],
    }
    return json.dumps(told, indent=2)
