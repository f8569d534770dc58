"""Validation: what all settings models share, and how a mistake becomes an error that names its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from resilient_http.errors import SettingsError, SettingsMistake, all_told
from resilient_http.settings.keys import shape_at

TOO_DEEP = "nested too deeply, or it contains itself"
LONGEST = 200  # characters of a value that are shown
LARGEST = 2**63  # as TOML has it
SECRETS = re.compile(r".*@|(?<=\?).+", re.DOTALL)  # credentials, and queries
LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
HOST = re.compile(rf"{LABEL}(\.{LABEL})*\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

Wrong = tuple[tuple[str, ...], str, tuple[str, ...]]
"""A path below the model that is being validated, what is wrong there, and known names."""

SOURCES = (("discovery", "source"), ("watch", "source"))
ALWAYS_ON = ("backoff", "console", "defaults", "inbound", "middleware", "pool", "timeout", "tls")


class Model(BaseModel):
    """Frozen; refuses unknown keys and names the nearest known one.

    Attributes:
        unknown: What is said of an unknown key.
        short: The JSON Schema of what may stand for it, as a URL for an endpoint, or None.
        listed: Whether it is an item, or a value, that layers do not merge: then it has to be whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True)
    unknown: ClassVar[str] = "unknown key"
    short: ClassVar[Mapping[str, Any] | None] = None
    listed: ClassVar[bool] = False


def nearest(key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The known name that may have been meant, or all of them."""
    return one_near(key, known) or known


def one_near(key: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known name that may have been meant, or none."""
    names, meant = tuple(known), key[:LONGEST]
    return tuple(difflib.get_close_matches(meant, names, n=1) or difflib.get_close_matches(meant.lower(), names, n=1))


def mistake_at(*path: str, message: str, known: tuple[str, ...] = ()) -> PydanticCustomError:
    """An error about what stands at `path` below the model that is being validated."""
    return mistakes_at([(path, message, known)])


def mistakes_at(wrong: Iterable[Wrong]) -> PydanticCustomError:
    """One error for several mistakes."""
    told = [{"path": path, "message": message, "known": known} for path, message, known in wrong]
    return PydanticCustomError("at", "something is wrong", {"all": told})


def not_bool(value: Any) -> Any:
    """Refuse true and false where a number is meant, and what has too many digits; Python would take both."""
    if isinstance(value, bool):
        message = "a number is needed, not true or false"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
    if isinstance(value, int) and not -LARGEST <= value < LARGEST:
        message = "a number of at most 64 bits is needed"
        raise ValueError(message)
    return value


def wrong_names(names: Iterable[str], *, what: str = "an upstream's") -> Iterator[Wrong]:
    """Those that cannot stand as a host name in http://NAME/, as mistakes_at() takes them."""
    message = f"{what} name is a lower-case DNS label (a-z, 0-9, -)"
    return (((name,), message, ()) for name in names if not NAME.fullmatch(name))


def split_url(url: str, schemes: Sequence[str], *, like: str) -> SplitResult:
    """The parts of a URL that has a host; its message says nothing of what stood there, which may hold credentials."""
    message = f"{'an origin' if '://' in like else 'a host'} like {like} is needed"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"not a URL; {message}") from None
    whole = url == url.strip() and url.isprintable()  # urlsplit() drops line ends
    if parts.scheme not in schemes or port == 0 or not HOST.fullmatch(parts.hostname or "") or not whole:
        raise ValueError(message)
    return parts


Found = tuple[SettingsMistake, object]
"""A mistake, and the value, without what is secret in it."""


def mistakes_in(error: ValidationError, model: type[Model], below: tuple[str, ...] = ()) -> list[Found]:
    """What pydantic found, each with its value.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        below: Where it stands.
    """
    return _without_inherited([found for details in error.errors() for found in _mistakes(details, model, below)])


def settings_error(found: Sequence[Found]) -> SettingsError:
    """All mistakes in one message; `path` and `value` are the first one's."""
    mistakes = tuple(mistake for mistake, _ in found)
    return SettingsError(all_told(mistakes), path=".".join(mistakes[0].path), value=found[0][1], mistakes=mistakes)


def _mistakes(details: Any, model: type[Model], below: tuple[str, ...]) -> list[Found]:
    if details["type"] != "at":
        return [_mistake(details, model, below)]
    # Each a (path, message, known) of its own.
    return [_mistake(details | {"ctx": each}, model, below) for each in details["ctx"]["all"]]


def _mistake(details: Any, model: type[Model], below: tuple[str, ...]) -> Found:
    here = tuple(part for part in map(str, details["loc"]) if not _is_branch(part))
    path = below + here
    known: tuple[str, ...] = ()
    value, message = details.get("input"), details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        shape = shape_at(model, here[:-1])
        above = model if shape is None or shape.model is None else shape.model
        message, known = getattr(above, "unknown", "unknown key"), nearest(path[-1], tuple(above.model_fields))
    if details["type"] == "tuple_type":
        message = "a list is needed"
    if details["type"] == "dict_type":
        message = "a mapping is needed"
    if details["type"] == "model_type":
        message = "null switches it off" if value is False and path[-1] not in ALWAYS_ON else "a mapping is needed"
    if details["type"] == "at":
        deeper, message, known = details["ctx"]["path"], details["ctx"]["message"], details["ctx"]["known"]
        path += deeper
        for key in deeper:
            value = value.get(key) if isinstance(value, Mapping) else None
    if _is_secret(path, message) or (path[-2:] in SOURCES and not isinstance(value, str)):
        value = None
    value = _without_secrets(value, path)
    hidden = value is None or isinstance(value, (Mapping, list, tuple))
    return SettingsMistake(path, message if hidden else f"{message} (got {_written(value)})", known), value


def _is_secret(path: tuple[str, ...], message: str) -> bool:
    """Whether what stands there may be one: below a misspelt key of discovery's, say, too."""
    if path[-1:] in (("password",), ("token",), ("proxy",), ("redis",)) or path == ("watch", "http", "url"):
        return True
    if path == ("chaos", "key"):
        return True
    if "headers" in path and {"health", "watch"} & {*path}:
        return True
    return message in ("unknown key", "a mapping is needed") and _is_secretive(path)


def _is_secretive(path: tuple[str, ...]) -> bool:
    """Whether it is in a section that holds passwords and tokens."""
    return path[:1] in (("console",), ("shared",), ("watch",)) or bool({"chaos", "discovery", "health"} & {*path})


def _without_secrets(value: Any, path: tuple[str, ...]) -> Any:
    """The same, without credentials and queries; None for a mapping or list that may hold others."""
    if isinstance(value, str):
        return SECRETS.sub(_masked, value)
    if isinstance(value, (Mapping, list, tuple)) and (_is_secretive(path) or SECRETS.search(_written(value, None))):
        return None
    return value


def _written(value: Any, longest: int | None = LONGEST) -> str:
    """As Python writes it, but not at any length."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an object of the user's, or a number of very many digits
        return f"<{type(value).__name__}>"
    return text if longest is None or len(text) <= longest else f"{text[:longest]}..."


def _masked(secret: re.Match[str]) -> str:
    return "***@" if secret[0].endswith("@") else "***"


def _without_inherited(found: list[Found]) -> list[Found]:
    """A mistake in the defaults is one in every upstream, and in its routes; it is told once, where it was made."""
    told = {mistake.path for mistake, _ in found}
    return [(mistake, value) for mistake, value in found if told.isdisjoint(_inherited_from(mistake.path))]


def _inherited_from(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths that what stands at this one may have been inherited from."""
    if path[:1] == ("upstreams",):
        yield ("defaults", *path[2:])
    of_upstream = 1 if path[:1] == ("defaults",) else 2
    if path[of_upstream : of_upstream + 1] == ("routes",):
        above = (*path[:of_upstream], *path[of_upstream + 2 :])
        yield above
        yield ("defaults", *above[of_upstream:])


def _is_branch(part: str) -> bool:
    """Pydantic names the branch of a union in the path; a user did not write it."""
    return part in {"bool", "str"} or "[" in part
