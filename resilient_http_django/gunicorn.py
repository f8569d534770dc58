"""Gunicorn: how long it lets a sync worker be busy with one request, as far as that can be known from here.

Gunicorn reads its configuration file, then GUNICORN_CMD_ARGS, then its command line; each goes over the one before. The
file is Python: it is parsed for plain assignments, never executed.
"""

from __future__ import annotations

import argparse
import ast
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG = "gunicorn.conf.py"
DEFAULT = 30.0  # seconds
NAMES = ("timeout", "worker_class", "threads")
UNKNOWN = object()  # computed, or imported


def worker_timeout() -> float | None:
    """Seconds after which gunicorn kills a worker that is busy; None where nothing is known, or nothing is killed.

    Only sync workers are: for the others its timeout asks whether the worker is alive, not how long a request lasts.
    """
    arguments = [*shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")), *_command_line()]
    told = _parse(arguments)
    path = Path(str(told.pop("config", None) or CONFIG).removeprefix("file:"))
    if not arguments and not path.is_file():
        return None
    told = {**_assigned(path), **told}
    if UNKNOWN in told.values():
        return None
    is_sync = told.get("worker_class", "sync") == "sync" and _number(told.get("threads", 1)) <= 1
    seconds = _number(told.get("timeout", DEFAULT))
    return seconds if is_sync and seconds > 0 else None


def _command_line() -> Sequence[str]:
    program = Path(sys.argv[0])
    runs = program.name == "gunicorn" or program.parts[-2:] == ("gunicorn", "__main__.py")
    return sys.argv[1:] if runs else ()


def _parse(arguments: Sequence[str]) -> dict[str, Any]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-t", "--timeout")
    parser.add_argument("-k", "--worker-class")
    parser.add_argument("-c", "--config")
    parser.add_argument("--threads")
    try:
        known, _ = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:
        return {}
    return {name: value for name, value in vars(known).items() if value is not None}


def _assigned(path: Path) -> dict[str, Any]:
    try:
        body = ast.parse(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        return {}
    assigned: dict[str, Any] = {}
    for statement in body:
        for name in _bound_by(statement):
            value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
            assigned[name] = value.value if isinstance(value, ast.Constant) else UNKNOWN
    return assigned


def _bound_by(statement: ast.stmt) -> set[str]:
    """Those of the names that it gives a value to, or may."""
    inside = list(ast.walk(statement))
    if any(isinstance(node, ast.alias) and node.name == "*" for node in inside):
        return set(NAMES)
    stored = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {node.asname or node.name for node in inside if isinstance(node, ast.alias)}
    return (stored | imported) & set(NAMES)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return DEFAULT
