"""Decorators: what a view says about its own requests. For views of any kind: sync or async, function, class or method.

    @timeout(2.0)
    def view(request): ...

    @timeout(30.0)
    @ignore_disconnect
    class Report(View): ...

The middleware looks at the view before it runs. Without it, the decorators take effect when the view is called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
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
    """Go on with a view's outbound calls when its caller goes away. Matters for sync views under ASGI."""
    return _telling(RequestState.ignore_disconnect)(view)


def heed(view: Any, state: RequestState) -> None:
    """Do what the decorators of a view say."""
    # as_view() copies what is said of dispatch(); a decorated class of another framework is known to its view.
    for tell in getattr(view, TOLD, ()):
        tell(state)


def _telling(tell: Tell) -> Callable[[V], V]:
    def decorate(view: Any) -> Any:
        if isinstance(view, type):
            return method_decorator(decorate, name="dispatch")(view)

        @functools.wraps(view)
        def told(*args: Any, **kwargs: Any) -> Any:
            state = state_of(next(argument for argument in args if hasattr(argument, "META")))
            tell(state)
            if state.arrival.exhausted:
                raise state.arrival.exceeded()
            return view(*args, **kwargs)

        if iscoroutinefunction(view):
            markcoroutinefunction(told)
        # Innermost first, so that the outermost has the last word, as when they run.
        setattr(told, TOLD, (*getattr(view, TOLD, ()), tell))
        return told

    return decorate
