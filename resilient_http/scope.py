"""Scope: what an inbound request hands to its outbound calls.

A scope carries the deadline of the inbound request and the headers that are to be passed on. It lives in a context
variable, so it follows asyncio and trio tasks and stays apart between threads. Scopes nest, and a nested deadline only
ever shortens.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any


@dataclass(slots=True)
class Deadline:
    """An instant after which no work of a request may run. Everything that shares it sees it lifted.

    Attributes:
        expires: The instant, in monotonic seconds.
        budget: Seconds that were granted when the deadline was set; what error messages name.
    """

    expires: float
    budget: float

    @classmethod
    def after(cls, seconds: float, *, now: float) -> Deadline:
        """The deadline `seconds` from `now`; both float seconds."""
        return cls(now + seconds, seconds)

    def left(self, now: float) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.expires - now)

    def lift(self) -> None:
        """Bound nothing any more: the request has been answered, and what still runs for it is background work."""
        self.expires = math.inf


@dataclass(frozen=True, slots=True)
class Scope:
    """What the current request hands to its outbound calls.

    Attributes:
        deadline: The instant that bounds every call made in this scope, or None.
        headers: Trace headers of the inbound request (lower-case name, value) that calls pass on.
        detached: Whether detached() took it out of the request's deadline.
    """

    deadline: Deadline | None = None
    headers: tuple[tuple[str, str], ...] = ()
    detached: bool = False

    def within(self, here: Scope) -> Scope:
        """This scope where `here` is current: the headers are its own, and the deadline that ends first wins.

        So a client that is bound to its request keeps that request's deadline and trace wherever it is used, deadline()
        shortens it, and detached() takes it out.
        """
        if here.detached:
            return replace(self, deadline=here.deadline, detached=True)
        if here.deadline is None or (self.deadline is not None and self.deadline.expires <= here.deadline.expires):
            return self
        return replace(self, deadline=here.deadline)


EMPTY = Scope()
LONGEST = 1e9  # seconds; some thirty years
_current: ContextVar[Scope] = ContextVar("resilient_http.scope", default=EMPTY)


def current_scope() -> Scope:
    """The scope that outbound calls made here would take."""
    return _current.get()


class _Entered:
    """Context manager that makes one scope current; used by deadline(), detached() and the frameworks."""

    __slots__ = ("_token", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._token: Token[Scope] | None = None

    def __enter__(self) -> Scope:
        if self._token is not None:
            message = "deadline() and detached() are for one with block each; call them again for another"
            raise RuntimeError(message)
        self._token = _current.set(self.scope)
        return self.scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)


def enter_scope(scope: Scope) -> _Entered:
    """Make `scope` current for a with block. For frameworks; code in a request uses deadline()."""
    return _Entered(scope)


def deadline(seconds: float) -> _Entered:
    """Bound every outbound call in the with block by one deadline, `seconds` from now.

    A nested deadline only ever shortens; the one that ends first wins.

    Args:
        seconds: Float seconds, 0 or more. 0 refuses every call.

    Raises:
        ValueError: `seconds` is negative, NaN or not a number.
    """
    own = Deadline.after(_checked(seconds), now=time.monotonic())
    outer = _current.get()
    if outer.deadline is not None and outer.deadline.expires <= own.expires:
        own = outer.deadline
    return _Entered(replace(outer, deadline=own))


def detached(seconds: float | None = None) -> _Entered:
    """Take the with block out of the request's deadline, for work that must not be cut with it.

    Trace headers are kept, so the work stays in the request's trace.

    Args:
        seconds: A deadline of its own in float seconds, or None for none (each call still has `timeout.total`).
    """
    own = None if seconds is None else Deadline.after(_checked(seconds), now=time.monotonic())
    return _Entered(replace(_current.get(), deadline=own, detached=True))


def _checked(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
        message = f"a deadline takes finite seconds, 0 or more, not {seconds!r:.50}"
        raise ValueError(message)
    return float(seconds)
