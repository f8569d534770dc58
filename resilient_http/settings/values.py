"""Values: the kinds of number, name and function that settings are made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from resilient_http.settings.keys import PER_SECOND, SECONDS, SHARE
from resilient_http.settings.validation import not_bool

WEEK = 604_800  # seconds: the longest of them
Seconds = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=WEEK, allow_inf_nan=False), SECONDS]
Ratio = Annotated[float, BeforeValidator(not_bool), Field(ge=0, le=1, allow_inf_nan=False), SHARE]
PositiveRatio = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1, allow_inf_nan=False), SHARE]
Rate = Annotated[float, BeforeValidator(not_bool), Field(ge=0, allow_inf_nan=False), PER_SECOND]
Count = Annotated[int, BeforeValidator(not_bool), Field(ge=1)]
Size = Annotated[int, BeforeValidator(not_bool), Field(ge=0)]
FRAMING = frozenset({
    "connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "max-forwards",
    "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
})  # fmt: skip
"""Fields that frame or route a message. Source: RFC 9110, sections 6.4, 6.5, 7.2, 7.6 and 10.1; RFC 9112, section 6."""

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _is_header_name(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        message = "the name of a header is needed, like x-request-timeout"
        raise ValueError(message)
    return name.lower()


def _is_our_own(name: str) -> str:
    if name in FRAMING:
        message = f"{name} frames or routes a message; a header of its own is needed, like x-attempt"
        raise ValueError(message)
    return name


def _is_header_value(value: str) -> str:
    if not value.isascii() or not value.isprintable() or value != value.strip():
        message = "the value of a header is needed, one line of printable ASCII"
        raise ValueError(message)
    return value


def _is_secret_value(value: SecretStr) -> SecretStr:
    _is_header_value(value.get_secret_value())
    return value


HeaderValue = Annotated[str, AfterValidator(_is_header_value)]  # RFC 9110, section 5.5
SecretValue = Annotated[SecretStr, AfterValidator(_is_secret_value)]
"""The value of a header that is shown nowhere."""

HeaderName = Annotated[str, AfterValidator(_is_header_name)]  # RFC 9110, section 5.6.2
OwnHeaderName = Annotated[HeaderName, AfterValidator(_is_our_own)]
"""The name of a header that we may give a value of our own."""


def _imported(value: Any) -> Any:
    """What a dotted path names; anything else as it is.

    Source of the notation: entry points, `package.module:name`, and Django's `package.module.name`.
    """
    if not isinstance(value, str):
        return value
    module, _, name = value.partition(":") if ":" in value else value.rpartition(".")
    if not module or not name:
        message = "a dotted path like shop.policies.is_busy is needed"
        raise ValueError(message)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as exc:
        message = f"cannot be imported: {exc}"
        raise ValueError(message) from None
    return found


Imported = Annotated[Any, BeforeValidator(lambda value: value if value == "memory" else _imported(value))]
"""An object, or its dotted path; "memory" stands for itself."""


def _takes(function: Any, *arguments: str) -> bool:
    """Whether it can be called with so many; True where it has no signature to see, as some builtins."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def is_async(function: Any) -> bool:
    """Whether it is an async function, or an object with an async `__call__`."""
    if inspect.iscoroutinefunction(function):
        return True
    return callable(function) and inspect.iscoroutinefunction(type(function).__call__)


def _is_middleware(function: Any) -> Any:
    if not is_async(function):
        kind = f"the class {function.__name__}: give an instance" if inspect.isclass(function) else _kind(function)
        message = f"an async function of (call, proceed) or (attempt, proceed) is needed, not {kind}"
        raise ValueError(message)
    if not _takes(function, "call", "proceed"):
        message = "middleware takes two arguments, (call, proceed) or (attempt, proceed)"
        raise ValueError(message)
    return function


def _kind(function: Any) -> str:
    return "a plain function" if inspect.isfunction(function) else type(function).__name__


def _is_plain(function: Any) -> Any:
    if not callable(function):
        message = f"a function is needed, not {type(function).__name__}"
        raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
    if inspect.iscoroutinefunction(function):
        message = "a plain function is needed, not an async one: sync clients call it too"
        raise ValueError(message)
    return function


def _is_plain_of(*arguments: str) -> Callable[[Any], Any]:
    def check(function: Any) -> Any:
        if not _takes(_is_plain(function), *arguments):
            message = f"a function of ({', '.join(arguments)}) is needed, and it cannot be called so"
            raise ValueError(message)
        return function

    return check


# The last of them runs first.
Classify = Annotated[Callable[..., Any], BeforeValidator(_is_plain_of("outcome")), BeforeValidator(_imported)]
"""A plain function of a response or an exception, or its dotted path."""

KeyFunction = Annotated[Callable[..., Any], BeforeValidator(_is_plain_of("request")), BeforeValidator(_imported)]
"""A plain function of a request, or its dotted path."""

HealthCheck = Annotated[Callable[..., Any], BeforeValidator(_is_plain_of("response")), BeforeValidator(_imported)]
"""A plain function of a response, or its dotted path."""

FallbackFunction = Annotated[
    Callable[..., Any], BeforeValidator(_is_plain_of("call", "failure")), BeforeValidator(_imported)
]
"""A plain function of a call and its failure, or its dotted path."""

Middleware = Annotated[Callable[..., Any], BeforeValidator(_is_middleware), BeforeValidator(_imported)]
"""An async function, or an object with an async `__call__`, or its dotted path."""
