"""What happened, as frozen records, and the hub that hands them to listeners.

A listener is a plain function of one event. It runs in the thread or task of the call, so it must be quick and must not
block. One that raises is logged and changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from inspect import get_annotations
from typing import Any, TypeVar, dataclass_transform

logger = logging.getLogger("resilient_http.events")

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True)
def record(cls: type[Kind]) -> type[Kind]:
    """The class as a named tuple: made in a quarter of a frozen dataclass's time, and each call may need two."""
    inherited = [name for base in cls.__bases__ for name in getattr(base, "_fields", ())]
    own = get_annotations(cls)
    defaults = [vars(cls)[name] for name in own if name in vars(cls)]
    fields = namedtuple(cls.__name__, [*inherited, *own], defaults=defaults)  # type: ignore[misc]  # noqa: PYI024
    body = {name: value for name, value in vars(cls).items() if name not in {*own, "__dict__", "__weakref__"}}
    bases = tuple(base for base in cls.__bases__ if base is not object)
    return type(cls.__name__, (fields, *bases), {**body, "__slots__": ()})


@record
class Event:
    """Something that happened at an upstream.

    Attributes:
        upstream: Name of the upstream, or the origin of an unnamed one.
    """

    upstream: str

    def as_dict(self: Any) -> dict[str, Any]:
        """Its fields, by name."""
        return dict(self._asdict())

    def __eq__(self: Any, other: object) -> bool:
        return type(self) is type(other) and bool(tuple.__eq__(self, other))  # type: ignore[operator]

    def __ne__(self: Any, other: object) -> bool:
        return not self == other

    def __hash__(self: Any) -> int:
        return hash(tuple(self))


@record
class AttemptFinished(Event):
    """One attempt came to its end. Durations in seconds; `status` is None without an answer."""

    endpoint: str
    number: int
    duration: float
    status: int | None
    error: str | None
    outcome: str


@record
class RetryScheduled(Event):
    """A call will be repeated after `delay` seconds, because of `why`. `number` is the coming attempt."""

    number: int
    delay: float
    why: str


@record
class RetrySuppressed(Event):
    """A failed call was not repeated, because of `why`."""

    number: int
    why: str


@record
class HedgeSent(Event):
    """A call's first attempt took long, so attempt `number` was sent beside it, after `delay` seconds."""

    number: int
    delay: float


@record
class HedgeFinished(Event):
    """The race of a hedge is decided: it `won`, or the first attempt did."""

    number: int
    won: bool


@record
class HedgeSuppressed(Event):
    """A first attempt took long, and no hedge was sent, because of `why`: queued, probe, deadline, budget, threads."""

    why: str


@record
class CircuitOpened(Event):
    """The circuit of an endpoint opened, because of `cause`; the next probe is let through in `retry_in` seconds."""

    endpoint: str
    retry_in: float
    cause: str = ""


@record
class CircuitHalfOpened(Event):
    """The circuit of an endpoint lets probes through."""

    endpoint: str


@record
class CircuitClosed(Event):
    """The circuit of an endpoint closed, because of `cause`: its probes were answered, here or elsewhere."""

    endpoint: str
    cause: str = ""


@record
class LimitChanged(Event):
    """The adaptive concurrency limit became `limit`, because of `why`."""

    limit: int
    why: str


@record
class EndpointPaused(Event):
    """An endpoint asked to be left alone (503, or a header), and is, for `seconds`."""

    endpoint: str
    seconds: float


@record
class EndpointUnhealthy(Event):
    """Health checks say that an endpoint is not well, the last one because of `why`."""

    endpoint: str
    why: str


@record
class EndpointHealthy(Event):
    """Health checks say that an endpoint is well again."""

    endpoint: str


@record
class PanicBegan(Event):
    """So many (`wanted`) of the `total` endpoints are to be left alone as ill, slow or paused that all are used."""

    wanted: int
    total: int


@record
class PanicEnded(Event):
    """Fewer (`wanted`) of the `total` endpoints are to be left alone than that, so they are."""

    wanted: int
    total: int


@record
class EndpointsChanged(Event):
    """The upstream has other endpoints than before: URLs of those `added` and of those `removed`.

    Both are empty where only their weights, zones or roles are others.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]


@record
class DiscoveryFailed(Event):
    """Where the nodes are asked for, there is no answer that can be used (`why`), so those that are known stay."""

    why: str


@record
class DiscoveryRestored(Event):
    """Where the nodes are asked for, there is an answer again, after `failed_for` seconds."""

    failed_for: float


@record
class DiscoveryHeld(Event):
    """An answer that takes away too many nodes at once (`missing`, their URLs) waits for another one that says so."""

    missing: tuple[str, ...]


@record
class RoutePaused(Event):
    """An upstream asked (429) to be left alone, and is on that route and with that credential, for `seconds`."""

    seconds: float


@record
class Observed(Event):
    """A policy that is told only to observe would have done something else: `would` says what."""

    policy: str
    would: str


@record
class SharingLost(Event):
    """What processes share is out of reach (`why`), so this one goes on by itself. `upstream` is "": it is all."""

    why: str


@record
class SharingRestored(Event):
    """What processes share can be reached again, after `lost_for` seconds. `upstream` is ""."""

    lost_for: float


@record
class SettingsReloaded(Event):
    """The settings changed while the process runs, as `by` asked. Each of `changes` reads "path: old -> new".

    `upstream` is "": it is all.
    """

    by: str
    changes: tuple[str, ...]


@record
class ReloadRejected(Event):
    """Other settings were offered, by `by`, and `why` they are wrong; all is as it was. `upstream` is ""."""

    by: str
    why: str


@record
class WatchFailed(Event):
    """`where` settings from afar are kept, there is no answer (`why`), so those in force stay. `upstream` is ""."""

    where: str
    why: str


@record
class WatchRestored(Event):
    """`where` settings from afar are kept, there is an answer again, after `failed_for` seconds. `upstream` is ""."""

    where: str
    failed_for: float


@record
class SwitchThrown(Event):
    """`by` has switched something for `seconds`; `what` is like "retries off". `upstream` is "*" for all of them."""

    what: str
    by: str
    seconds: float


@record
class SwitchEnded(Event):
    """What `by` had switched is as usual again; `why` says whether its time is over, or who has lifted it."""

    what: str
    by: str
    why: str


@record
class FallbackUsed(Event):
    """A call that failed, because of `why`, was answered all the same; `kind` is "fixed", "function" or "stale"."""

    kind: str
    why: str


@record
class FaultInjected(Event):
    """Attempt `number` got a fault on purpose, as `by` ("settings" or "header") has it; `fault` says which."""

    endpoint: str
    number: int
    fault: str
    by: str


@record
class Stalled(Event):
    """This process itself was late or out of resources, so an attempt says nothing about the endpoint."""

    endpoint: str
    why: str


@record
class StreamReclaimed(Event):
    """Nobody ended a streamed response, so its permit and its connection were taken back, because of `why`."""

    endpoint: str
    why: str


@record
class CallFinished(Event):
    """A call ended. `duration` in seconds, `attempts` counts the sent ones, `error` names the exception if any.

    `route` is the template of the settings that its last hop fits, as "GET /charges/{id}", or None. `given` is what it
    had left of its deadline when it began and `left` what at its end, negative when it was overrun; both None without a
    deadline. `degraded` is "refused", "deadline", "failed", "fell back" or "retried", or None. `cancelled` says that
    nobody waited for it any more.
    """

    method: str
    duration: float
    attempts: int
    status: int | None
    error: str | None
    route: str | None = None
    given: float | None = None
    left: float | None = None
    degraded: str | None = None
    cancelled: bool = False


Listener = Callable[[Event], None]


class Hub:
    """Hands events to listeners. Thread-safe; `listeners` is empty when nobody listens, so ask before you build.

    Args:
        listeners: The user's.
        told: Hears of what is announced: of what is rare, even where nobody listens. The log is such a one.
    """

    __slots__ = ("_held", "_lock", "listeners", "told")

    def __init__(self, listeners: Sequence[Any] = (), told: Listener | None = None) -> None:
        self.begin_anew()
        self.listeners: tuple[Listener, ...] = tuple(listeners)
        self.told = told
        for listener in listeners:
            _check(listener)

    def begin_anew(self) -> None:
        """In a forked child: whoever held something back there is gone."""
        self._held: dict[int, list[Event]] = {}
        self._lock = threading.Lock()  # of changes of the listeners

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """What this thread emits within is handed on at its end: for who holds locks, which no hook may run under."""
        me = threading.get_ident()
        if me in self._held:
            yield
            return
        held = self._held[me] = []
        try:
            yield
        finally:
            del self._held[me]
            for event in held:
                self.emit(event)

    def add(self, listener: Listener) -> None:
        """One more, from now on; one that listens already does so once."""
        _check(listener)
        with self._lock:
            if listener not in self.listeners:
                self.listeners = (*self.listeners, listener)

    def remove(self, listener: Listener) -> None:
        """One less."""
        with self._lock:
            self.listeners = tuple(each for each in self.listeners if each != listener)

    def announce(self, event: Event) -> None:
        """Hand on what is rare: it need not be asked for first. Never raises an Exception."""
        if self.told is not None:
            try:
                self.told(event)
            except Exception:
                logger.exception("the log failed on %s", type(event).__name__)
        self.emit(event)

    def emit(self, event: Event) -> None:
        """Hand `event` to every listener. Never raises an Exception."""
        if self._held and (held := self._held.get(threading.get_ident())) is not None:
            held.append(event)
            return
        for listener in self.listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %s", type(event).__name__)


def _check(listener: Any) -> None:
    if not callable(listener):
        message = f"a listener is a function of one event, not {listener!r}"
        raise TypeError(message)
