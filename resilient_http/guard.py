"""Guard: deadline, retry, budget, circuit and limit for code that is not HTTP.

A guarded function is called through the same rings as a request. Its port is the client's, but for one thing: to send
is to call the function.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

from resilient_http.call import Attempt, Call
from resilient_http.dispatcher import Dispatcher
from resilient_http.errors import Cancelled, DeadlineExceeded, ResilienceError, SettingsError
from resilient_http.ports.sync import drive
from resilient_http.scope import Deadline, current_scope, enter_scope
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.models import UpstreamSettings
from resilient_http.settings.values import is_async
from resilient_http.state.outcome import Fault
from resilient_http.transport import Host
from resilient_http.upstreams.upstream import Upstream

P = ParamSpec("P")
R = TypeVar("R")

RETURNED = 200  # what a result counts as, where a status is asked for
UNLIMITED = 1_000_000  # permits
_MAKERS: tuple[Any, ...] = (contextmanager, asynccontextmanager)
CONTEXT_MANAGERS = frozenset(make(vars).__code__ for make in _MAKERS)  # the code of what they make of any generator


class GuardHost(Host, Protocol):
    """What a guard needs of a Resilience: what transports do, and its own state."""

    def guarded(self, name: str) -> Upstream:
        """The state of what is guarded by that name."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Puts the policies around functions.

    Args:
        host: The Resilience.
        name: What the functions reach.
        idempotent: Whether calling twice has the effect of calling once.
        ignore: Exceptions that say nothing about what is guarded.
    """

    host: GuardHost
    name: str
    idempotent: bool = False
    ignore: tuple[type[BaseException], ...] = ()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, guarded.

        Raises:
            TypeError: It is a generator, or a context manager made of one: its work is done when nobody guards it any
                more.
        """
        if inspect.isclass(function) or not callable(function):
            message = f"guard({self.name!r}) takes functions, sync or async, not {function!r}"
            raise TypeError(message)
        if _is_lazy(function):
            message = f"guard({self.name!r}) takes functions, sync or async; {_name_of(function)} is a generator"
            raise TypeError(message)
        if is_async(function):
            return self._around_async(function)
        return self._around_sync(function)

    def _around_sync(self, function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            host = self.host
            if not host.enabled:
                return function(*args, **kwargs)
            port = GuardPort(host.sync_port, lambda: function(*args, **kwargs), self.ignore)
            dispatcher, call = self._open(port)
            try:
                result: R = drive(self._run(dispatcher, call)).value
            except BaseException as exc:
                dispatcher.close(call, None, exc)
                raise
            dispatcher.close(call, RETURNED)
            return result

        return guarded

    def _around_async(self, function: Callable[P, Any]) -> Callable[P, Any]:
        @wraps(function)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            host = self.host
            if not host.enabled:
                return await function(*args, **kwargs)
            async_port = host.async_port
            port = GuardPort(async_port, lambda: function(*args, **kwargs), self.ignore)
            dispatcher, call = self._open(port)
            try:
                result = (await async_port.guarded(call, self._run(dispatcher, call))).value
            except BaseException as exc:
                dispatcher.close(call, None, exc)
                raise
            dispatcher.close(call, RETURNED)
            return result

        return guarded

    def _open(self, port: Any) -> tuple[Dispatcher, Call]:
        dispatcher = self.host.dispatcher
        call = dispatcher.open(port, "CALL", streamed=False)
        call.enter(self.name, None, "CALL", repeatable=self.idempotent, replayable=True)
        return dispatcher, call

    def _run(self, dispatcher: Dispatcher, call: Call) -> Coroutine[Any, Any, Any]:
        return dispatcher.pass_through(call, self.host.guarded(self.name).pipeline)


@dataclass(frozen=True, slots=True)
class Returned:
    """What a guarded function gave, as a reply."""

    value: Any
    status_code: ClassVar[int] = RETURNED
    headers: ClassVar[dict[str, str]] = {}


class GuardPort:
    """A port whose endpoint is a function. Waits as the port that it is made with.

    Args:
        port: Sync, async or simulated.
        function: What is called; gives an awaitable where the port is async.
        ignore: Exceptions that say nothing about the endpoint.
    """

    def __init__(self, port: Any, function: Callable[[], Any], ignore: tuple[type[BaseException], ...] = ()) -> None:
        self.rng = port.rng
        self.is_async = port.is_async
        self.now = port.now
        self.wall_now = port.wall_now
        self.sleep = port.sleep
        self.acquire = port.acquire
        self.bounded = port.bounded
        self._function = function
        self._ignore = ignore

    async def send(self, attempt: Attempt) -> Returned:
        """Call the function, within a scope that ends with the attempt."""
        attempt.sent = attempt.entry.sent = True
        try:
            with enter_scope(_scope_of(attempt)):
                value = self._function()
                if self.is_async:
                    left = attempt.expires - self.now()
                    value = await (value if left == math.inf else self.bounded(left, value, lambda: _late(attempt)))
        except BaseException as exc:
            attempt.fault = self.fault_of(exc)
            raise
        attempt.answer(RETURNED)
        return Returned(value)

    def fault_of(self, error: BaseException) -> Fault:
        """What an exception of the function's says about its endpoint."""
        if not isinstance(error, Exception) or isinstance(error, Cancelled):
            return Fault.CANCELLED
        if isinstance(error, self._ignore):
            return Fault.FOREIGN
        if isinstance(error, (TimeoutError, DeadlineExceeded)):
            return Fault.TIMEOUT
        # Refused by a limit of ours, further down: that says nothing about what is guarded.
        return Fault.FOREIGN if isinstance(error, ResilienceError) else Fault.RAISED

    def instrumented(self) -> bool:
        """No: nobody else makes a span for it, and there is nothing to put a trace into."""
        return False

    def readable(self, call: Call, reply: Any) -> Any:
        """What the function gave."""
        return reply.value

    async def set_aside(self, reply: Any, within: float) -> bool:
        """Nothing is held."""
        return True


def upstream_settings(settings: GuardSettings) -> UpstreamSettings:
    """What the state of a guard is made of."""
    raw = settings.model_dump(exclude_unset=True)
    retry = raw.get("retry", {})
    limit = UNLIMITED if settings.concurrency is None else settings.concurrency.limit
    own = {
        "circuit": raw.get("circuit", {}),
        "concurrency": raw.get("concurrency", {}),
        "retry": None if retry is None else {"budget": retry.get("budget", {})},
        "pool": {"max_connections": limit},
        "timeout": {"pool": settings.timeout.queue},
    }
    return UpstreamSettings(**own)


def checked(name: Any, ignore: Any) -> tuple[type[BaseException], ...]:
    """The exceptions to ignore, as a tuple.

    Raises:
        SettingsError: They are no exceptions, or the name is none.
    """
    kinds = ignore if isinstance(ignore, tuple) else (ignore,)
    if not isinstance(name, str):
        message = f'a guard has a name, as in @resilience.guard("inventory-db"), not {name!r:.80}'
        raise SettingsError(message, path="guard", value=name)
    for kind in kinds:
        if not (inspect.isclass(kind) and issubclass(kind, BaseException)):
            message = f"guard({name!r}): ignore is a tuple of exceptions, not {kind!r:.80}"
            raise SettingsError(message, path="guard.ignore", value=ignore)
    return kinds


def _scope_of(attempt: Attempt) -> Any:
    here = current_scope()
    if attempt.expires == math.inf or (here.deadline is not None and here.deadline.expires <= attempt.expires):
        return here
    call = attempt.call
    budget = call.budget if attempt.expires == call.expires else attempt.patience
    return here.with_deadline(Deadline(attempt.expires, budget))


def _late(attempt: Attempt) -> Exception:
    return TimeoutError(f"{attempt.call.upstream}: no result within {attempt.expires - attempt.started:.3g} s")


def _is_lazy(function: Any) -> bool:
    """Whether its work is done only when it has returned, as far as that can be seen."""
    while isinstance(function, partial):
        function = function.func
    called = (function, type(function).__call__)
    return getattr(function, "__code__", None) in CONTEXT_MANAGERS or any(
        inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in called
    )


def _name_of(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))
