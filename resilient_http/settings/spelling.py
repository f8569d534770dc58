"""Spelling: settings with option keys in upper case, as Django and settings modules write them.

Option keys may be in either case. Names of upstreams and guards are data, not option keys: they stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resilient_http.errors import SettingsError, all_told

NAMES = (("upstreams",), ("guards",), ("defaults", "routes"))  # below these, and the routes of upstreams, are names
DATA = ("response", "body")  # what stands there is an answer, not settings


def lower_keys(raw: Any, *, root: str, path: tuple[str, ...] = ()) -> Any:
    """The same settings with all option keys in lower case.

    Raises:
        SettingsError: A key is there in both cases.
    """
    if path[-2:] == DATA:
        return raw
    if isinstance(raw, (list, tuple)):
        return [lower_keys(item, root=root, path=(*path, str(position))) for position, item in enumerate(raw)]
    if not isinstance(raw, Mapping):
        return raw
    lowered: dict[str, Any] = {}
    for key, value in raw.items():
        name = str(key) if _holds_names(path) else str(key).lower()
        if name in lowered:
            where = spell((*path, name), root)
            raise SettingsError(f"{where}: given twice, in upper and in lower case", path=where, value=value)
        lowered[name] = lower_keys(value, root=root, path=(*path, name))
    return lowered


def spell(path: tuple[str, ...], root: str) -> str:
    """A path as the user would write it: `RESILIENT_HTTP["UPSTREAMS"]["payments"]["RETRY"]["MAX_ATTEMPTS"]`."""
    return root + "".join(_subscript(part, path[:depth]) for depth, part in enumerate(path))


def respell(error: SettingsError, root: str) -> SettingsError:
    """The same error with its paths and suggestions in upper case, but for what stands elsewhere, in a variable."""
    mistakes = tuple(
        mistake
        if mistake.source
        else replace(mistake, path=(spell(mistake.path, root),), known=tuple(map(str.upper, mistake.known)))
        for mistake in error.mistakes
    )
    return SettingsError(all_told(mistakes), path=".".join(mistakes[0].path), value=error.value, mistakes=mistakes)


def _holds_names(path: tuple[str, ...]) -> bool:
    return path in NAMES or (len(path) == 3 and path[0] == "upstreams" and path[2] == "routes")


def _subscript(part: str, above: tuple[str, ...]) -> str:
    if _holds_names(above):
        return f'["{part}"]'
    return f"[{part}]" if part.isdecimal() else f'["{part.upper()}"]'
