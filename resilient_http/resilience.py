"""Resilience: one per process. Settings in; clients, transports, circuits and status out."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pybreaker

from resilient_http.client import AsyncClient, Client
from resilient_http.compiled import keep_modules
from resilient_http.control import Control
from resilient_http.engines.backend import load_backend
from resilient_http.events import Hub, Listener
from resilient_http.guard import Guard, checked
from resilient_http.health_report import HealthReport, report_of
from resilient_http.inbound import Inbound
from resilient_http.misplaced import InTransaction
from resilient_http.settings.changes import Change
from resilient_http.settings.models import Settings
from resilient_http.settings.switches import name_of
from resilient_http.state.circuit import Circuit
from resilient_http.telemetry.observers import Observers
from resilient_http.transport import AsyncResilientTransport, ResilientTransport
from resilient_http.upstreams.reloads import Reloads, as_settings
from resilient_http.upstreams.switchboard import Switchboard
from resilient_http.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from resilient_http.console.console import Console

SCOPED = {"scope", "base_url"}  # the options of a client for one inbound request
# What can also be set once it is there.
SETTABLE = {"auth", "cookies", "follow_redirects", "headers", "max_redirects", "params", "timeout"}
LIGHT = SCOPED | SETTABLE
MODELS = 100  # base_urls of such clients that are remembered


class Resilience:
    """Everything that the outbound calls of one process share: settings, upstreams, connections. Thread-safe.

    Make one per process and keep it; clients from it are cheap. After a fork the child begins anew by itself: it shares
    no connection, and no circuit, with its parent.

    Args:
        settings: A mapping, Settings(...), or the path of a file, over which the environment goes; see load_settings().
            Validated at once. None is all defaults.
        listeners: Plain functions that are called with each event (see resilient_http.events).
        circuit_listeners: pybreaker listeners, for every circuit.
        in_transaction: For frameworks: tells whether a database transaction is open where a call is made; see
            `misplaced.in_transaction`. It gives who has opened it ("" where unknown) and which one, or None.

    Raises:
        SettingsError: A setting is wrong; it names the path and the value.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | Settings | str | os.PathLike[str] | None = None,
        *,
        listeners: Sequence[Listener] = (),
        circuit_listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
        in_transaction: InTransaction | None = None,
    ) -> None:
        own = as_settings(settings)
        self._backend = load_backend(own.backend)
        self._hub = Hub(listeners)
        self._reloads = Reloads(own, self._hub)
        self._circuit_listeners = tuple(circuit_listeners)
        self._observers = Observers(self.settings, self._hub, in_transaction)
        self._models: dict[Any, Any] = {}
        self._known: Control | None = None  # that of before a fork
        self._console: Console | None = None
        self._end_threads: weakref.finalize[[], Resilience] | None = None
        self._begin()
        _alive.add(self)

    def client(self, **options: Any) -> Client:
        """A sync client: an `httpx.Client` with httpx's own arguments, but those that settings rule.

        Args:
            options: As httpx.Client. `transport=` becomes the engine. `timeout=` narrows the phases, and never widens
                the deadline. `proxy`, `verify`, `cert`, `http1`, `http2` and `limits` are refused: they are settings.
                Beyond httpx's, `scope=` (a Scope) binds the client to one inbound request wherever it is used; without
                it each call takes the scope it is made in.
        """
        client: Client = self._client(self._over_backend("Client", Client), options)
        return client

    def async_client(self, **options: Any) -> AsyncClient:
        """An async client: an `httpx.AsyncClient`. Options as client()."""
        client: AsyncClient = self._client(self._over_backend("AsyncClient", AsyncClient), options)
        return client

    def transport(self, engine: Any = None) -> ResilientTransport:
        """A transport for code that brings its own `httpx.Client`.

        Args:
            engine: A transport to send everything through, or None for the shared engines.
        """
        kind: type[ResilientTransport] = self._over_backend("ResilientTransport", ResilientTransport)
        return kind(self, engine)

    def async_transport(self, engine: Any = None) -> AsyncResilientTransport:
        """A transport for code that brings its own `httpx.AsyncClient`. Arguments as transport()."""
        kind: type[AsyncResilientTransport] = self._over_backend("AsyncResilientTransport", AsyncResilientTransport)
        return kind(self, engine)

    def guard(
        self, name: str, *, idempotent: bool = False, ignore: type[BaseException] | tuple[type[BaseException], ...] = ()
    ) -> Guard:
        """A decorator: deadline, retry, budget, circuit and limit for a function that is not HTTP, sync or async.

        The function keeps to the deadline of the inbound request: an async one is cut, a sync one can ask
        `resilient_http.remaining()`. What it raises passes through as it is, with the call's journal attached.

        Args:
            name: What it reaches, as "inventory-db". Its settings are `guards.NAME`; without, those of GuardSettings.
                Functions of one name share circuit, budget and limit.
            idempotent: Whether calling it twice has the effect of calling it once. It is repeated only then.
            ignore: Exceptions that say nothing about what it reaches: neither repeated, nor counted by the circuit.

        Raises:
            SettingsError: An argument is wrong.
            TypeError: (of the decorator) What it decorates is no function, or a generator.
        """
        kinds = checked(name, ignore)
        self.guarded(name)
        return Guard(self, name, idempotent, kinds)

    def guarded(self, name: str) -> Upstream:
        """The state of what is guarded by that name; see guard().

        Raises:
            SettingsError: The name is an upstream's, or no lower-case DNS label.
        """
        return self._control.guarded(name)

    def circuits(self, upstream: str) -> dict[str, Circuit]:
        """The circuits of an upstream, by endpoint URL; pybreaker circuits that can be opened, closed and disabled.

        Args:
            upstream: A name of the settings, or the origin of an unnamed upstream that has been called; or a guard's.

        Raises:
            KeyError: No such upstream is known; the message lists those that are.
        """
        known = {**self._control.upstreams(), **self._control.guards}
        if upstream not in known:
            message = f"no upstream {upstream!r}; known: {', '.join(known) or 'none'}"
            raise KeyError(message)
        return {
            member.url: member.circuit for member in known[upstream].endpoints.members if member.circuit is not None
        }

    def status(self) -> dict[str, Any]:
        """JSON-able: every upstream, endpoint, circuit, budget and limit as it stands."""
        now = time.monotonic()
        return {
            "enabled": self.enabled,
            "backend": self.settings.backend,
            "engine": self.settings.engine,
            "pid": os.getpid(),
            "reloads": self._reloads.tally.as_dict(),
            **self._control.status(now),
        }

    def health(self, *, required: Iterable[str] = ()) -> HealthReport:
        """How the upstreams are doing, for a health route: each, and the service, is ok, degraded or down.

        Args:
            required: Names of upstreams and guards without which the service is down. By default it never is.

        Raises:
            SettingsError: `required` names what is not in the settings.
        """
        return report_of(self.status(), required)

    def close(self) -> None:
        """Close the connections of sync clients. Clients made before may still be used; they connect anew."""
        self._control.close()
        self._observers.log.flush()

    async def aclose(self) -> None:
        """Close the connections of this event loop's async clients, and those of sync clients."""
        await self._control.aclose()
        self._observers.log.flush()

    def reload(
        self, settings: Mapping[str, Any] | Settings | str | os.PathLike[str], *, by: str = ""
    ) -> tuple[Change, ...]:
        """Go by other settings from now on: all of them or none. Thread-safe; calls under way end as they began.

        What an upstream knows goes on (circuits, windows, budgets, latency, connections), also where a number of its
        policies has changed. Nodes that are gone end their calls in peace; upstreams that are gone are ordinary hosts.
        It is told as SettingsReloaded, or as ReloadRejected, and counted in status().

        Args:
            settings: As for Resilience(...): all of them, not a part. A document that is watched stays laid over them.
            by: Who asks for it, for the event.

        Returns:
            What has changed; empty when nothing has.

        Raises:
            SettingsError: A setting is wrong, or needs a new process (`backend`, `engine`, `shared`, `watch`,
                `telemetry`, `logging`). All is as it was.
        """
        return self._reloads.by_hand(settings, by)

    def switch(self, upstream: str) -> Switchboard:
        """The kill switches of an upstream, for an incident: each in force at once, in this process, and for a time.

        Args:
            upstream: A name of the settings, the origin of an unnamed one, or a guard's name; "*" for all of them.

        Raises:
            KeyError: There is no such name; the message lists those that are.
        """
        known = self._control.switchable(self.settings)
        name = name_of(upstream, known)
        if name is None:
            message = f"no upstream {upstream!r}; known: {', '.join(sorted(known))}"
            raise KeyError(message)
        return Switchboard(name, self._control.switching)

    def add_listener(self, listener: Listener) -> None:
        """Have a plain function called with each event from now on; one that listens already is called once."""
        self._hub.add(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Have it called no more. One that does not listen is none."""
        self._hub.remove(listener)

    @property
    def console(self) -> Console:
        """What the live page shows, and what can be done there. Nothing of it runs before it is first asked for."""
        if self._console is None:
            from resilient_http.console.console import Console  # noqa: PLC0415 - imported only when used

            with self._console_lock:
                if self._console is None:
                    made = Console(self, self.settings, self._hub, self._observers)
                    made.begin(self._control)
                    self._console = made
        return self._console

    @property
    def settings(self) -> Settings:
        """The settings in force, validated."""
        return self._reloads.settings

    @property
    def enabled(self) -> bool:
        """Whether the policies are in force."""
        return self._control.enabled

    @property
    def inbound(self) -> Inbound:
        """Reads inbound requests, for frameworks: resilience.inbound.arrive(...)."""
        return self._control.inbound

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Resilience {', '.join(self.settings.upstreams) or 'without named upstreams'}>"

    def _begin(self) -> None:
        """State and connections of this process; in a forked child the parent's are dropped, not closed."""
        # The parent's threads are dropped as they are: their locks may have been held when the process forked.
        if self._end_threads is not None:
            self._end_threads.detach()
        self._hub.begin_anew()
        self._console_lock = threading.Lock()
        thrown = None if self._known is None else self._known.switching.thrown
        self._control = self._known = Control(
            self.settings,
            self._backend,
            self._hub,
            self._observers,
            self._circuit_listeners,
            apply=self._reloads.from_afar,
            thrown=thrown,
        )
        self._reloads.begin(self._control)
        self._observers.look_at(self._control)
        self.dispatcher = self._control.dispatcher
        self.sync_port, self.async_port = self._control.sync_port, self._control.async_port
        if self._console is not None:
            self._console.begin(self._control)
        self._end_threads = weakref.finalize(self, self._control.let_go)
        self._end_threads.atexit = False
        for act in _told:
            act(self)

    def _client(self, kind: Any, options: dict[str, Any]) -> Any:
        """A client; those that are made for each inbound request are made after a model."""
        base_url = options.get("base_url", "")
        if not options.keys() <= LIGHT or type(base_url) is not str or "@" in base_url:  # credentials are not kept
            return kind(self, **options)
        model = self._models.get((kind, base_url))
        if model is None:
            model = kind(self, base_url=base_url)
            if len(self._models) < MODELS:
                self._models[kind, base_url] = model
        client = kind.like(model, self, options.get("scope"))
        for name in options.keys() & SETTABLE:
            setattr(client, name, options[name])
        return client

    def _over_backend(self, name: str, default: Any) -> Any:
        if self._backend.name == "httpx":
            return default
        from resilient_http import over_httpx2  # noqa: PLC0415 - an extra, imported only when used

        return getattr(over_httpx2, name)


_alive: weakref.WeakSet[Resilience] = weakref.WeakSet()
_told: list[Callable[[Resilience], object]] = []


@contextlib.contextmanager
def each_resilience(act: Callable[[Resilience], object]) -> Iterator[None]:
    """Have something done with each Resilience that there is, and with each that begins within; for tests."""
    _told.append(act)
    try:
        for resilience in list(_alive):
            act(resilience)
        yield
    finally:
        _told.remove(act)


def _after_fork() -> None:
    for resilience in list(_alive):
        resilience._begin()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_after_fork)
keep_modules()  # all are loaded by now
