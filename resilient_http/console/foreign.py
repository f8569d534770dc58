"""Foreign: what another process says, made such that it can be shown: it may be of another version, or a stranger.

Laws
    1. It is plain: no text in it, no key either, can command a terminal.
    2. Each upstream and each degraded call is there, with all that is read of it. What is missing, or of another type,
       is told by its path, as `not_understood` of that upstream, that call, or the whole; in its place stands None, "?"
       or nothing. Of other lists, only what is whole is left.
    3. Keys that nobody reads here stay as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from resilient_http.console.plain import plain
from resilient_http.journal import FIELDS

LARGEST = 1e12  # a number beyond is no time and no count
TOLD = 3  # paths that told() names


class _Leaf(NamedTuple):
    kind: type
    unknown: Any  # stands in its place


class _Maybe(NamedTuple):
    of: _Shape  # or None
    added: bool = False  # later than others: an older version lacks it


_Shape: TypeAlias = "_Leaf | _Maybe | dict[str, _Shape] | list[_Shape]"

NUMBER = _Leaf(float, None)
TEXT = _Leaf(str, "?")
FLAG = _Leaf(bool, False)

PROCESS: _Shape = {"process": TEXT, "pid": NUMBER, "host": TEXT, "note": _Maybe(TEXT, added=True)}
TOP: _Shape = {"time": NUMBER, "shown": TEXT, "answered_by": TEXT, "gathered": FLAG, "processes": [PROCESS]}
ROW: _Shape = {
    "traffic": {
        "rate": NUMBER, "success": _Maybe(NUMBER), "p50": _Maybe(NUMBER), "p95": _Maybe(NUMBER), "p99": _Maybe(NUMBER),
    },
    "endpoints": [{"url": TEXT, "circuit": _Maybe({"state": TEXT})}],
    "concurrency": {"in_flight": NUMBER, "limit": NUMBER, "queued": NUMBER},
    "retry_budget": _Maybe({"tokens": NUMBER}),
    "trouble": {"score": NUMBER, "why": [TEXT]},
}  # fmt: skip
ATTEMPT: _Shape = {
    **dict.fromkeys(FIELDS, TEXT),
    **dict.fromkeys(("number", "started", "queued", "duration", "delay"), NUMBER),
    **dict.fromkeys(("hedge", "sent"), FLAG),
    **dict.fromkeys(("error", "fault"), _Maybe(TEXT)),
    "status": _Maybe(NUMBER),
}
CALL: dict[str, _Shape] = {
    "at": NUMBER, "kind": TEXT, "status": _Maybe(NUMBER), "error": _Maybe(TEXT), "took": NUMBER,
    "route": _Maybe(TEXT), "upstream": TEXT, "method": TEXT, "budget": _Maybe(NUMBER), "attempts": [ATTEMPT],
    "notes": [TEXT],
}  # fmt: skip
OF_PROCESS: _Shape = {**CALL, "pid": NUMBER, "host": TEXT}

_MISSING = object()


def understood(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A snapshot of a console that is not this process's alone, or not at all, by the laws above.

    Args:
        snapshot: JSON; "upstreams" in it is an object, and "degraded" a list.
    """
    said: dict[str, Any] = plain(snapshot)
    return {
        **_whole(said, TOP),
        "upstreams": {name: _whole(row, ROW) for name, row in said["upstreams"].items()},
        "degraded": [_whole(call, OF_PROCESS) for call in said["degraded"]],
    }


def is_call(said: Any) -> bool:
    """Whether that is a degraded call, as a process tells its own."""
    return not _whole(said, CALL)["not_understood"]


def told(paths: list[str]) -> str:
    """What was not understood, for a person: "not understood: traffic, endpoints[0].url and 2 more"; "" for nothing."""
    more = f" and {len(paths) - TOLD} more" if len(paths) > TOLD else ""
    return f"not understood: {', '.join(paths[:TOLD])}{more}" if paths else ""


def _whole(said: Any, shape: _Shape) -> dict[str, Any]:
    lacks: list[str] = []
    found: dict[str, Any] = _read(said, shape, "", lacks)
    return {**found, "not_understood": lacks}


def _read(said: Any, shape: _Shape, at: str, lacks: list[str]) -> Any:
    if isinstance(shape, _Maybe):
        return None if said is None or (said is _MISSING and shape.added) else _read(said, shape.of, at, lacks)
    if isinstance(shape, dict) and isinstance(said, dict):
        parts = {key: _read(said.get(key, _MISSING), part, _below(at, key), lacks) for key, part in shape.items()}
        return {**said, **parts}
    if isinstance(shape, list) and isinstance(said, list):
        return _read_each(said, shape[0], at, lacks)
    if isinstance(shape, _Leaf) and _fits(said, shape):
        return said
    lacks.append(at or "all of it")
    return _unknown(shape)


def _read_each(said: list[Any], shape: _Shape, at: str, lacks: list[str]) -> list[Any]:
    kept = []
    for place, each in enumerate(said):
        found: list[str] = []
        value = _read(each, shape, f"{at}[{place}]", found)
        lacks += found
        if not found:
            kept.append(value)
    return kept


def _unknown(shape: _Shape) -> Any:
    if isinstance(shape, dict):
        return {key: _unknown(part) for key, part in shape.items()}
    if isinstance(shape, _Leaf):
        return shape.unknown
    return [] if isinstance(shape, list) else None


def _fits(said: Any, leaf: _Leaf) -> bool:
    if leaf.kind is float:
        # Neither true, which Python counts as 1, nor what JSON has no number for.
        return isinstance(said, (int, float)) and not isinstance(said, bool) and abs(said) <= LARGEST
    return isinstance(said, leaf.kind)


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key
