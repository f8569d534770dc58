"""Explanation: each value of the settings, with where it comes from, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, SecretStr

from resilient_http.settings.origins import LIBRARY, ORIGINS, Origin, origin_at

MASK = "***"


def origin_of(settings: BaseModel, path: str | Sequence[str]) -> Origin:
    """Where a value comes from; see Settings.origin_of()."""
    parts = _resolved(settings, path) if isinstance(path, str) else _checked(settings, tuple(path))
    return origin_at(vars(settings).get(ORIGINS, {}), parts)


def explained(settings: BaseModel, below: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Each value with its path and its origin; see Settings.explained().

    Raises:
        KeyError: There is no such key.
    """
    here: Any = settings
    default = None
    for key in below:
        fields = type(here).model_fields if isinstance(here, BaseModel) else {}
        default = fields[key].default if key in fields else None
        here = _below(here)[key]
    return [
        {"path": ".".join(path), "value": _shown(value), "origin": _told(settings, path, value, default)}
        for path, value, default in leaves(here, tuple(below), default)
    ]


def _told(settings: BaseModel, path: tuple[str, ...], value: Any, default: Any) -> str:
    origin = origin_of(settings, path)
    # As timeout.attempt of a call that is shorter than it would be.
    return "follows from other settings" if origin is LIBRARY and value != default else str(origin)


def leaves(value: Any, path: tuple[str, ...] = (), default: Any = None) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Each value below, with its path and its default."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from leaves(getattr(value, name), (*path, name), field.default)
    elif isinstance(value, Mapping) and any(isinstance(each, BaseModel) for each in value.values()):
        for name, below in value.items():
            yield from leaves(below, (*path, str(name)))
    else:
        yield path, value, default


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return {name: _shown(getattr(value, name)) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        return {str(key): _shown(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str, datetime)):
        return value.isoformat() if isinstance(value, datetime) else value
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}".strip(".")


def _checked(settings: Any, path: tuple[str, ...]) -> tuple[str, ...]:
    here = settings
    for key in path:
        below = _below(here)
        if not below and here is not settings:
            break  # a list, or what is switched off
        if key not in below:
            _unknown(path)
        here = below[key]
    return path


def _resolved(settings: Any, path: str) -> tuple[str, ...]:
    """The parts of a dotted path; a name that has dots in it is recognised."""
    parts: list[str] = []
    here, rest = settings, path
    while rest:
        known = [key for key in _below(here) if rest == key or rest.startswith(f"{key}.")]
        if not known:
            if _below(here):
                _unknown((*parts, rest))
            parts += rest.split(".")  # below a list, or what is switched off
            break
        key = max(known, key=len)
        parts.append(key)
        here, rest = _below(here)[key], rest[len(key) + 1 :]
    return tuple(parts)


def _unknown(path: tuple[str, ...]) -> Any:
    raise KeyError(".".join(path))


def _below(value: Any) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return {str(key): below for key, below in value.items()} if isinstance(value, Mapping) else {}
