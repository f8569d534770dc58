"""Validation: what all settings models share, and how a mistake becomes an error that names its path."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from resilient_http.errors import SettingsError

CREDENTIALS = re.compile(r"://[^/@\s]*@")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


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
                near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                known = f"did you mean {near[0]}?" if near else f"known: {', '.join(cls.model_fields)}"
                raise mistake_at(str(key), f"unknown key; {known}")
        return raw


def mistake_at(path: str, message: str) -> PydanticCustomError:
    """An error about what stands at `path` below the model that is being validated."""
    return PydanticCustomError("at", "{message}", {"path": path, "message": message})


def not_bool(value: Any) -> Any:
    """Refuse true and false where a number is meant; Python would take them for 1 and 0."""
    if isinstance(value, bool):
        message = "a number is needed, not true or false"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
    return value


def check_name(name: str) -> None:
    """Refuse what cannot stand as a host name in http://NAME/."""
    if not NAME.fullmatch(name):
        raise mistake_at(name, "an upstream's name is a lower-case DNS label (a-z, 0-9, -)")


def settings_error(error: ValidationError) -> SettingsError:
    """All mistakes in one message; `path` and `value` are the first one's."""
    found = [_mistake(details) for details in error.errors()]
    text = "\n".join(f"{path or 'settings'}: {message}{shown}" for path, _, message, shown in found)
    path, value, *_ = found[0]
    return SettingsError(text, path=path, value=value)


def _mistake(details: Any) -> tuple[str, object, str, str]:
    location = [part for part in map(str, details["loc"]) if not _is_branch(part)]
    value, message = details.get("input"), details["msg"].removeprefix("Value error, ")
    if details["type"] == "at":
        below = details["ctx"]["path"]
        location.append(below)
        value = value.get(below) if isinstance(value, Mapping) else None
    path = ".".join(location)
    hidden = value is None or isinstance(value, (Mapping, list, tuple)) or "proxy" in path
    return path, value, message, "" if hidden else f" (got {CREDENTIALS.sub('://***@', repr(value))})"


def _is_branch(part: str) -> bool:
    """Pydantic names the branch of a union in the path; a user did not write it."""
    return part in {"bool", "str"} or "[" in part
