"""Decorators: what a view says about its own requests. For views of any kind: sync or async, function, class or method.

    @timeout(2.0)
    def view(request): ...

    @timeout(30.0)
    @ignore_disconnect
    class Report(View): ...

The middleware looks at the view before it runs. Without it, the decorators take effect when the view is called.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.utils.decorators import method_decorator

from resilient_http import deadline
from resilient_http_django.clients import RequestState, state_of

V = TypeVar("V", bound=Callable[..., Any])

TOLD = "resilient_http"  # attribute of a decorated view: what is to be done with its request's state

Tell = Callable[[RequestState], None]


def timeout(seconds: float | None) -> Callable[[V], V]:
    """Give a view's requests a budget of their own, in place of `INBOUND.TIMEOUT`; it may be longer or shorter.

    It counts from the arrival of the request. What its caller says in a header holds as with the configured one.

    Args:
        seconds: Float seconds, more than 0; None for no limit of ours.

    Raises:
        ValueError: `seconds` is anything else.
    """
    if seconds is not None:
        deadline(seconds)  # for its checks
        if not seconds:
            message = "timeout(0) would refuse every request; give it seconds, or None for no limit"
            raise ValueError(message)
    return _telling(lambda state: state.arrival.allow(seconds))


def ignore_disconnect(view: V) -> V:
    """Go on with a view and its outbound calls when its caller goes away. Under ASGI; elsewhere nobody can tell.

    An async view, which Django would cancel, runs in a task of its own: what it sets in context variables stays there.
    A streaming response's body is cancelled all the same.
    """
    return _telling(RequestState.ignore_disconnect, run=_to_its_end)(view)


def heed(view: Any, request: HttpRequest) -> None:
    """Do what the decorators of a view say, and then those of the method of a class that is going to answer; once."""
    state = state_of(request)
    # as_view() copies what is said of dispatch(); a decorated class of another framework is known to its view.
    for decorated in (view, _method_of(view, request)):
        for tell in getattr(decorated, TOLD, ()):
            if tell not in state.told:
                state.told.add(tell)
                tell(state)


def _method_of(view: Any, request: HttpRequest) -> Any:
    verb = (request.method or "").lower()
    name = getattr(view, "actions", {}).get(verb, verb)  # of REST framework's ViewSets
    methods = getattr(view, "view_class", None) or getattr(view, "cls", None)
    return getattr(methods, name, None) or (getattr(methods, "get", None) if verb == "head" else None)


def _telling(tell: Tell, run: Callable[[Any], Any] = lambda work: work) -> Callable[[V], V]:
    def decorate(view: Any) -> Any:
        if isinstance(view, type):
            return method_decorator(decorate, name="dispatch")(view)

        @functools.wraps(view)
        def told(*args: Any, **kwargs: Any) -> Any:
            request = _request_of(view, args, kwargs)
            heed(told, request)
            arrival = state_of(request).arrival
            if arrival.exhausted:
                raise arrival.exceeded()
            answer = view(*args, **kwargs)
            return run(answer) if asyncio.iscoroutine(answer) else answer

        if iscoroutinefunction(view):
            markcoroutinefunction(told)
        # Innermost first, so that the outermost has the last word.
        setattr(told, TOLD, (*getattr(view, TOLD, ()), tell))
        return told

    return decorate


async def _to_its_end(work: Coroutine[Any, Any, Any]) -> Any:
    """Go on when Django cancels; a second time is meant."""
    working = asyncio.ensure_future(work)
    with suppress(asyncio.CancelledError):
        return await asyncio.shield(working)
    return await working


def _request_of(view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HttpRequest:
    for argument in (*args, *kwargs.values()):
        if hasattr(argument, "META"):
            request: HttpRequest = argument
            return request
    message = f"{getattr(view, '__qualname__', view)} was called without a request, which its decorator is about"
    raise TypeError(message)
