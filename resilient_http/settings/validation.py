"""Validation: what all settings models share, and how a mistake becomes an error that names its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from resilient_http.errors import SettingsError, SettingsMistake

SECRETS = re.compile(r"[^\s'\"]*@|(?<=\?)[^\s'\"]+")  # credentials, and queries
LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

SOURCES = (("discovery", "source"), ("watch", "source"))
ALWAYS_ON = ("backoff", "defaults", "inbound", "middleware", "pool", "timeout", "tls")


class Model(BaseModel):
    """Frozen; refuses unknown keys and names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        for key in raw:
            if key not in cls.model_fields:
                raise mistake_at(str(key), message="unknown key", known=nearest(str(key), tuple(cls.model_fields)))
        return raw


def nearest(key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The known name that may have been meant, or all of them."""
    return tuple(difflib.get_close_matches(key, known, n=1)) or known


def mistake_at(*path: str, message: str, known: tuple[str, ...] = ()) -> PydanticCustomError:
    """An error about what stands at `path` below the model that is being validated."""
    return PydanticCustomError("at", "{message}", {"path": path, "message": message, "known": known})


def not_bool(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python would take them for 1 and 0."""
    if isinstance(value, bool):
        message = "a number is needed, not true or false"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
    return value


def check_name(name: str, *, what: str = "an upstream's") -> None:
    """Refuse what cannot stand as a host name in http://NAME/."""
    if not NAME.fullmatch(name):
        raise mistake_at(name, message=f"{what} name is a lower-case DNS label (a-z, 0-9, -)")


def split_url(url: str, schemes: Sequence[str], *, like: str) -> SplitResult:
    """The parts of a URL that has a host; its message says nothing of what stood there, which may hold credentials."""
    message = f"{'an origin' if '://' in like else 'a host'} like {like} is needed"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"not a URL; {message}") from None
    if parts.scheme not in schemes or port == 0 or not HOST.fullmatch(parts.hostname or "") or url != url.strip():
        raise ValueError(message)
    return parts


def settings_error(error: ValidationError, below: tuple[str, ...] = ()) -> SettingsError:
    """All mistakes in one message; `path` and `value` are the first one's.

    Args:
        error: What pydantic found.
        below: Where the model stands that was validated.
    """
    found = _without_inherited([_mistake(details, below) for details in error.errors()])
    mistakes = tuple(mistake for mistake, _ in found)
    text = "\n".join(map(str, mistakes))
    return SettingsError(text, path=".".join(mistakes[0].path), value=found[0][1], mistakes=mistakes)


def _mistake(details: Any, below: tuple[str, ...]) -> tuple[SettingsMistake, object]:
    path = below + tuple(part for part in map(str, details["loc"]) if not _is_branch(part))
    value, message, known = details.get("input"), details["msg"].removeprefix("Value error, "), ()
    if details["type"] == "tuple_type":
        message = "a list is needed"
    if details["type"] == "model_type":
        message = "null switches it off" if value is False and path[-1] not in ALWAYS_ON else "a mapping is needed"
    if details["type"] == "at":
        deeper, known = details["ctx"]["path"], details["ctx"]["known"]
        path += deeper
        for key in deeper:
            value = value.get(key) if isinstance(value, Mapping) else None
    if _is_secret(path, message) or (path[-2:] in SOURCES and not isinstance(value, str)):
        value = None
    hidden = value is None or isinstance(value, (Mapping, list, tuple)) or "proxy" in path or "redis" in path
    shown = (
        ""
        if hidden
        else f" (got {SECRETS.sub(lambda found: '***@' if found[0].endswith('@') else '***', repr(value))})"
    )
    return SettingsMistake(path, f"{message}{shown}", known), value


def _is_secret(path: tuple[str, ...], message: str) -> bool:
    """Whether what stands there may be one: below a misspelt key of discovery's, say, too."""
    if path[-1:] in (("password",), ("token",)) or path == ("watch", "http", "url"):
        return True
    if "headers" in path and {"health", "watch"} & {*path}:
        return True
    return message == "unknown key" and bool({"discovery", "health", "watch"} & {*path})


def _masked(secret: re.Match[str]) -> str:
    return "***@" if secret[0].endswith("@") else "***"


def _without_inherited(found: list[tuple[SettingsMistake, object]]) -> list[tuple[SettingsMistake, object]]:
    """A mistake in the defaults is a mistake in every upstream; it is told once, where it was made."""
    below = {mistake.path[1:] for mistake, _ in found if mistake.path[:1] == ("defaults",)}
    return [
        (mistake, value)
        for mistake, value in found
        if mistake.path[:1] != ("upstreams",) or mistake.path[2:] not in below
    ]


def _is_branch(part: str) -> bool:
    """Pydantic names the branch of a union in the path; a user did not write it."""
    return part in {"bool", "str"} or "[" in part
