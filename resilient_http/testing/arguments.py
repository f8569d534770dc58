"""Arguments: what a script may be told. A mistake in it is told where it was made, not by a call that goes another way.

Each check raises ValueError, with the argument, its value, and what is allowed.
"""

from __future__ import annotations

import inspect
import json as json_module
import math
import re
from typing import Any

import httpx

from resilient_http.settings.templates import ANY_METHOD, parse_template

TOKEN = re.compile(r"[!#$%&'+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2; without *, which fits nothing here


def check(where: str, value: Any, allowed: str, *, fits: bool) -> None:
    """Refuse it unless it fits.

    Args:
        where: Like "reply(status)".
        value: What was given.
        allowed: What may be.
        fits: Whether it is that.
    """
    if not fits:
        name, _, argument = where.rstrip(")").partition("(")
        message = f"{name}({argument}={value!r}): {allowed}"
        raise ValueError(message)


def check_status(status: Any) -> None:
    """One of HTTP. Source: RFC 9110, section 15."""
    fits = isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599
    check("reply(status)", status, "a status is a whole number, 100 to 599", fits=fits)


def check_body(bodies: dict[str, Any]) -> None:
    """One at most, of its own type.

    Args:
        bodies: By their argument's names, those that were given.
    """
    if len(bodies) > 1:
        message = f"reply({', '.join(f'{name}=' for name in bodies)}): an answer has one body; give one of them"
        raise ValueError(message)
    for name, kind, allowed in (("text", str, "a text"), ("content", (bytes, str), "bytes")):
        if name in bodies:
            check(f"reply({name})", bodies[name], allowed, fits=isinstance(bodies[name], kind))
    if "json" in bodies:
        try:
            json_module.dumps(bodies["json"], allow_nan=False)
        except (TypeError, ValueError, RecursionError) as exc:
            message = f"reply(json={bodies['json']!r}): what JSON has is needed: {exc}"
            raise ValueError(message) from None


def check_headers(headers: Any) -> None:
    """Names and values that are texts."""
    try:
        httpx.Headers(headers)
    except (TypeError, ValueError, AttributeError) as exc:
        message = f"reply(headers={headers!r}): names and values are texts: {exc}"
        raise ValueError(message) from None


def check_times(times: Any) -> None:
    """How often."""
    fits = times is None or (isinstance(times, int) and not isinstance(times, bool) and times >= 1)
    if not fits:
        message = f"times={times!r}: how often it is given, a whole number, at least once; None for from then on"
        raise ValueError(message)


def check_delay(seconds: Any) -> None:
    """How late."""
    fits = isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds < math.inf
    allowed = "finite seconds, 0 or more; an answer later than the attempt waits is a ReadTimeout"
    check("delay(seconds)", seconds, allowed, fits=fits)


def check_error(error: Any) -> None:
    """What can be raised, and is no way to end the process or a task."""
    fits = isinstance(error, Exception) or (inspect.isclass(error) and issubclass(error, Exception))
    check("fail(error)", error, "an exception, or the class of one, like httpx.ConnectError", fits=fits)


def check_function(where: str, function: Any) -> None:
    """A plain one: a coroutine is true, and no response."""
    fits = callable(function) and not inspect.iscoroutinefunction(function)
    check(where, function, "a plain function of the request", fits=fits)


def check_method(method: Any) -> None:
    """One of HTTP, or None."""
    fits = method is None or (isinstance(method, str) and TOKEN.fullmatch(method) is not None)
    check("on(method)", method, 'a method, like "GET"; None for any', fits=fits)


def check_upstream(upstream: Any) -> None:
    """A name, or None. More than one colon is an address of IPv6."""
    fits = upstream is None or (
        isinstance(upstream, str) and upstream != "" and "/" not in upstream and upstream.count(":") != 1
    )
    check("on(upstream)", upstream, "the name of an upstream, or a host, without a scheme or port; None", fits=fits)


def pattern_of(path: Any) -> re.Pattern[str]:
    """What fits the paths that it stands for; it is written as those of routes are."""
    try:
        return re.compile(parse_template(f"{ANY_METHOD} {path}").pattern, re.DOTALL)
    except ValueError as exc:
        message = f"on(path={path!r}): {exc}"
        raise ValueError(message) from None
