"""Scope: what an inbound request hands to its outbound calls.

A scope carries the deadline of the inbound request, word of whether its caller is still there, and the headers that are
to be passed on. It lives in a context variable, so it follows asyncio and trio tasks and stays apart between threads.
Scopes nest, and a nested deadline only ever shortens.
"""

from __future__ import annotations

import math
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


class Cancellation:
    """Word that nobody waits for a request's answer any more; its outbound calls then end with Cancelled. Thread-safe.

    It is requested once, by whoever sees the inbound caller go away, unless it was lifted before. Sync calls look at
    `requested` while they wait; async calls listen().

    Args:
        watch: Called once, by the first call that can be cancelled: begin to look out for the caller's going away.

    Attributes:
        requested: Whether the caller has gone away.
    """

    __slots__ = ("_listeners", "_lock", "_open", "_watch", "requested")

    def __init__(self, watch: Callable[[], object] | None = None) -> None:
        self.requested = False
        self._open: weakref.WeakSet[Any] | None = None
        self._watch = watch
        self._listeners: set[Callable[[], object]] | None = set()
        self._lock = threading.Lock()

    def heed(self) -> None:
        """Have the caller watched from now on."""
        watch = self._watch
        if watch is not None:
            self._watch = None
            watch()

    def request(self) -> None:
        """The caller has gone away. From any thread; a second one changes nothing."""
        with self._lock:
            listeners, self._listeners = self._listeners, None
            if listeners is None:
                return
            self.requested = True
        for listener in listeners:
            listener()

    def lift(self) -> None:
        """Cancel nothing any more: the request has been answered."""
        with self._lock:
            self._listeners = None
            self._watch = None

    def opened(self, body: Any) -> None:
        """Remember the body of a streamed response, for as long as its reader does."""
        with self._lock:
            if self._open is None:
                self._open = weakref.WeakSet()
            self._open.add(body)

    def abandoned(self) -> list[Any]:
        """The streamed bodies that are to be closed: nobody waits for the answer, and perhaps nobody reads them."""
        with self._lock:
            return list(self._open or ()) if self.requested else []

    @contextmanager
    def listening(self, listener: Callable[[], object]) -> Iterator[None]:
        """Have `listener` called, from any thread, when the caller goes away within the with block."""
        with self._lock:
            if self._listeners is not None:
                self._listeners.add(listener)
        if self.requested:
            listener()
        try:
            yield
        finally:
            with self._lock:
                if self._listeners is not None:
                    self._listeners.discard(listener)


@dataclass(frozen=True, slots=True)
class Scope:
    """What the current request hands to its outbound calls.

    Attributes:
        deadline: The instant that bounds every call made in this scope, or None.
        headers: Trace headers of the inbound request (lower-case name, value) that calls pass on.
        detached: Whether detached() took it out of the request's deadline.
        cancellation: Whether the inbound caller is still there, or None where nobody can tell.
        repeated: Whether the inbound request is itself a repeat, as a trusted peer says.
        priority: "sheddable", "default" or "critical" as a trusted peer says, or None.
        chaos: Faults that a signed header of it asks for (state.chaos.Order), or None; not for detached work.
        recording: What records the calls that are made in it, or None; see telemetry/recording.py.
    """

    deadline: Deadline | None = None
    headers: tuple[tuple[str, str], ...] = ()
    detached: bool = False
    cancellation: Cancellation | None = None
    repeated: bool = False
    priority: str | None = None
    chaos: Any = None
    recording: Any = None

    def within(self, here: Scope) -> Scope:
        """This scope where `here` is current: the headers are its own, and the deadline that ends first wins.

        So a client that is bound to its request keeps that request's deadline and trace wherever it is used, deadline()
        shortens it, and detached() takes it out. What is recorded here is recorded.
        """
        own = self
        if here.recording is not None and own.recording is None:
            own = replace(own, recording=here.recording)
        if here.detached:
            return replace(own, deadline=here.deadline, detached=True, cancellation=None, chaos=None)
        if here.deadline is None or (own.deadline is not None and own.deadline.expires <= here.deadline.expires):
            return own
        return replace(own, deadline=here.deadline)

    def with_deadline(self, deadline: Deadline) -> Scope:
        """This scope with another deadline; replace() at a fraction of its cost, for each guarded call makes one."""
        return Scope(
            deadline,
            self.headers,
            self.detached,
            self.cancellation,
            self.repeated,
            self.priority,
            self.chaos,
            self.recording,
        )


EMPTY = Scope()
LONGEST = 1e9  # seconds; some thirty years
ELSEWHERE = (
    "deadline() or detached() was left in another thread or task than it was entered in, so it had no effect on what "
    "ran between; in a FastAPI dependency that yields, use `async def`"
)
_current: ContextVar[Scope] = ContextVar("resilient_http.scope", default=EMPTY)


def current_scope() -> Scope:
    """The scope that outbound calls made here would take."""
    return _current.get()


class _Entered:
    """Context manager that makes a scope current; used by deadline(), detached() and the frameworks.

    Args:
        derive: Makes that scope of the one that is current where the with block begins.
    """

    __slots__ = ("_derive", "_token")

    def __init__(self, derive: Callable[[Scope], Scope]) -> None:
        self._derive = derive
        self._token: Token[Scope] | None = None

    def __enter__(self) -> Scope:
        if self._token is not None:
            message = "deadline() and detached() are for one with block each; call them again for another"
            raise RuntimeError(message)
        scope = self._derive(_current.get())
        self._token = _current.set(scope)
        return scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            try:
                _current.reset(self._token)
            except ValueError:
                # Entered elsewhere, where it ended long ago. What the block raises matters more than this.
                warnings.warn(ELSEWHERE, RuntimeWarning, stacklevel=2)


def enter_scope(scope: Scope) -> _Entered:
    """Make `scope` current for a with block. For frameworks; code in a request uses deadline()."""
    return _Entered(lambda _: scope)


def deadline(seconds: float) -> _Entered:
    """Bound every outbound call in the with block by one deadline, `seconds` from its beginning.

    A nested deadline only ever shortens; the one that ends first wins.

    Args:
        seconds: Float seconds, 0 or more. 0 refuses every call.

    Raises:
        ValueError: `seconds` is negative, NaN or not a number.
    """
    seconds = checked_seconds(seconds)

    def shortened(outer: Scope) -> Scope:
        own = Deadline.after(seconds, now=time.monotonic())
        if outer.deadline is not None and outer.deadline.expires <= own.expires:
            return outer
        return replace(outer, deadline=own)

    return _Entered(shortened)


def detached(seconds: float | None = None) -> _Entered:
    """Take the with block out of the request's deadline and cancellation, for work that must not be cut with it.

    Trace headers are kept, so the work stays in the request's trace.

    Args:
        seconds: A deadline of its own in float seconds, or None for none (each call still has `timeout.total`).
    """
    seconds = None if seconds is None else checked_seconds(seconds)

    def on_its_own(outer: Scope) -> Scope:
        own = None if seconds is None else Deadline.after(seconds, now=time.monotonic())
        return replace(outer, deadline=own, detached=True, cancellation=None, chaos=None)

    return _Entered(on_its_own)


def remaining() -> float | None:
    """Seconds left of the deadline that bounds work done here, never negative; None without a deadline.

    For code that waits for something else than this library's clients, as a database's own timeout.
    """
    deadline = current_scope().deadline
    if deadline is None or deadline.expires == math.inf:
        return None
    return deadline.left(time.monotonic())


def checked_seconds(seconds: Any) -> float:
    """The same as float.

    Raises:
        ValueError: It is negative, NaN, beyond all reason or not a number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
        hint = "; did you forget the seconds, as in @timeout(2.0)?" if callable(seconds) else ""
        message = f"a deadline takes finite seconds, 0 or more, not {seconds!r:.50}{hint}"
        raise ValueError(message)
    return float(seconds)
