"""Resilience: one per process. Settings in; clients, transports, circuits and status out."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import pybreaker

from resilient_http.call import Call
from resilient_http.client import AsyncClient, Client
from resilient_http.engines.backend import load_backend
from resilient_http.errors import SettingsError
from resilient_http.events import Hub, Listener
from resilient_http.guard import Guard, checked, upstream_settings
from resilient_http.inbound import Inbound
from resilient_http.pipeline import compose, compose_guard
from resilient_http.ports.asynchronous import AsyncPort
from resilient_http.ports.sync import SyncPort
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.validation import NAME
from resilient_http.state.circuit import Circuit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.leased_bucket import LeasedBucket, LeaseRules
from resilient_http.telemetry import metrics, tracing
from resilient_http.telemetry.attempt_spans import AttemptTracing
from resilient_http.telemetry.labels import Labels
from resilient_http.telemetry.logs import AttemptDetail, CallLog, EventLog, redact_httpx
from resilient_http.telemetry.metrics import Metering
from resilient_http.transport import AsyncResilientTransport, Dispatcher, ResilientTransport
from resilient_http.upstreams.discovery import Discovery
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.registry import Registry
from resilient_http.upstreams.shared_circuits import SharedCircuits
from resilient_http.upstreams.shared_rates import SharedRates
from resilient_http.upstreams.sharing import Sharing
from resilient_http.upstreams.sources.kinds import make_source, where
from resilient_http.upstreams.upstream import Pipeline, Record, Upstream

SWITCH = "RESILIENT_HTTP_ENABLED"  # an operator's way out, whatever the settings say
OFF = {"false", "0", "no", "off"}
SCOPED = {"scope", "base_url"}  # the options of a client for one inbound request
MODELS = 100  # base_urls of such clients that are remembered


class Resilience:
    """Everything that the outbound calls of one process share: settings, upstreams, connections. Thread-safe.

    Make one per process and keep it; clients from it are cheap. After a fork the child begins anew by itself: it shares
    no connection, and no circuit, with its parent.

    Args:
        settings: A mapping, or Settings(...); validated at once. None is all defaults.
        listeners: Plain functions that are called with each event (see resilient_http.events).
        circuit_listeners: pybreaker listeners, for every circuit.

    Attributes:
        settings: The settings, validated.
        inbound: Reads inbound requests, for frameworks: resilience.inbound.arrive(...).

    Raises:
        SettingsError: A setting is wrong; it names the path and the value.
    """

    def __init__(
        self,
        settings: Mapping[str, Any] | Settings | None = None,
        *,
        listeners: Sequence[Listener] = (),
        circuit_listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
    ) -> None:
        self.settings = _as_settings(settings)
        self._backend = load_backend(self.settings.backend)
        self._hub = Hub(listeners, EventLog(self.settings.logging, time.monotonic))
        self._circuit_listeners = tuple(circuit_listeners)
        tracing.load_provider()
        metrics.load_provider()
        if self.settings.logging.redact_httpx:
            redact_httpx(frozenset(self.settings.telemetry.query))
        self.labels = Labels()
        self._log = CallLog(self.settings.logging)
        self._metering = Metering(self, self._hub) if self.settings.telemetry.metrics else None
        self._models: dict[Any, Any] = {}
        self._end_threads: weakref.finalize[[], Resilience] | None = None
        self._begin()
        if self._metering is not None:
            self._metering.follow()
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
        found = self._guards.get(name)
        return found if found is not None else self._guards.setdefault(name, self._guard(name))

    def circuits(self, upstream: str) -> dict[str, Circuit]:
        """The circuits of an upstream, by endpoint URL; pybreaker circuits that can be opened, closed and disabled.

        Args:
            upstream: A name of the settings, or the origin of an unnamed upstream that has been called; or a guard's.

        Raises:
            KeyError: No such upstream is known; the message lists those that are.
        """
        known = {**self.dispatcher.registry.all(), **self._guards}
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
            "connections": {"sync": self.sync_port.engines.connections()},
            "inbound": self.inbound.status(),
            "shared": None if self._sharing is None else self._sharing.status(now),
            "upstreams": {name: upstream.status(now) for name, upstream in self.dispatcher.registry.all().items()},
            "guards": {name: guard.status(now) for name, guard in sorted(self._guards.items())},
        }

    def close(self) -> None:
        """Close the connections of sync clients. Clients made before may still be used; they connect anew."""
        self.sync_port.close()
        self._log.flush()
        if self._sharing is not None:
            self._sharing.end()
        for discovery in self._discoveries:
            discovery.end()

    async def aclose(self) -> None:
        """Close the connections of this event loop's async clients, and those of sync clients."""
        self.close()
        await self.async_port.aclose()

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
        self.sync_port = SyncPort(self._backend, self._hub)
        self.async_port = AsyncPort(self._backend, self._hub, kind=self.settings.engine)
        self.inbound = Inbound(self.settings.inbound)
        self.enabled = self.settings.enabled and os.environ.get(SWITCH, "").lower() not in OFF
        shared = self.settings.shared if self.enabled else None
        self._sharing = None if shared is None else Sharing(shared, self._hub)
        self._discoveries: list[Discovery] = []
        named = {name: self._upstream(name, own) for name, own in self.settings.upstreams.items()}
        self._guards: dict[str, Upstream] = {}
        for name in self.settings.guards:
            self.guarded(name)
        registry = Registry(named, self._unnamed, self._retire)
        traces = self.settings.telemetry.traces
        self.dispatcher = Dispatcher(self._backend, registry, self._hub, self._log, self._metering, traces=traces)
        if self._sharing is not None:
            self._shared_circuits = SharedCircuits(self._sharing, registry, self._guards)
            self._shared_rates = SharedRates(self._sharing, registry)
            self._sharing.add(self._shared_circuits)
            self._sharing.add(self._shared_rates)
        self._run_while_alive()

    # What metrics read; see telemetry/readings.py

    def upstreams(self) -> list[Upstream]:
        """Every upstream and guard that is known."""
        return [*self.dispatcher.registry.all().values(), *self._guards.values()]

    def departed(self) -> Record:
        """The record of the unnamed upstreams that have been dropped."""
        return self.dispatcher.registry.departed

    def connections_to(self, endpoint: Endpoint) -> int:
        """How many are open, of sync and async clients."""
        return self.sync_port.connections_to(endpoint) + self.async_port.connections_to(endpoint)

    def _run_while_alive(self) -> None:
        # The parent's are dropped as they are: their locks may have been held when the process forked.
        if self._end_threads is not None:
            self._end_threads.detach()
        sharing = () if self._sharing is None else (self._sharing,)
        self._end_threads = weakref.finalize(self, partial(_end_all, sharing, tuple(self._discoveries)))
        self._end_threads.atexit = False

    def _unnamed(self, scheme: str, host: str, port: int) -> Upstream:
        name = Endpoint(scheme, host, port).url
        return self._upstream(name, self.settings.defaults, origin=(scheme, host, port))

    def _upstream(self, name: str, settings: Any, origin: tuple[str, str, int] | None = None) -> Upstream:
        nodes = self._nodes(name, settings, origin)
        discovery = None if origin else self._discovery(name, settings, nodes)
        upstream = Upstream(name, settings, self._compose, nodes, enabled=self.enabled, discovery=discovery)
        upstream.nodes.on_gone = self._retire
        self._share(upstream)
        return upstream

    def _discovery(self, name: str, settings: UpstreamSettings, nodes: Nodes) -> Discovery | None:
        own = settings.discovery
        if own is None:
            return None
        make = partial(make_source, own, self._backend.module)
        discovery = Discovery(name, own, make, where(own), nodes, self._hub)
        self._discoveries.append(discovery)
        return discovery

    def _nodes(self, name: str, settings: UpstreamSettings, origin: tuple[str, str, int] | None) -> Nodes:
        return Nodes(
            name,
            settings,
            self._hub,
            origin=origin,
            zone=self.settings.zone,
            circuits=self.enabled,
            listeners=self._circuit_listeners,
        )

    def _guard(self, name: str) -> Upstream:
        if not NAME.fullmatch(name) or name in self.settings.upstreams:
            taken = (
                "an upstream has that name" if name in self.settings.upstreams else "a lower-case DNS label is needed"
            )
            raise SettingsError(f"guard({name!r}): {taken}", path="guard", value=name)
        settings = self.settings.guards.get(name) or GuardSettings()

        def composed(upstream: Upstream, _: UpstreamSettings) -> Pipeline:
            return self._begins_sharing(compose_guard(upstream, settings, self._hub), upstream.settings)

        own = upstream_settings(settings)
        nodes = self._nodes(name, own, ("guard", name, 0))
        guarded = Upstream(name, own, composed, nodes, enabled=self.enabled)
        self._share(guarded)
        return guarded

    def _compose(self, upstream: Upstream, settings: UpstreamSettings) -> Pipeline:
        query = frozenset(self.settings.telemetry.query)
        detail = AttemptDetail(self.settings.logging, self.settings.telemetry)
        tracer = AttemptTracing(settings.propagate, query, detail, hedges=settings.hedge is not None)
        pipeline = compose(upstream, settings, tracer, self._hub)
        return self._begins_sharing(pipeline, settings)

    def _share(self, upstream: Upstream) -> None:
        if self._sharing is None or not shares(upstream.settings):
            return
        upstream.nodes.on_change = self._sharing.wake
        if isinstance(upstream.bucket, LeasedBucket):
            root = self._sharing.settings
            upstream.bucket.rules = LeaseRules(root.interval, root.expires)
            upstream.bucket.on_need = self._sharing.wake

    def _begins_sharing(self, pipeline: Pipeline, settings: UpstreamSettings) -> Pipeline:
        if self._sharing is None or not shares(settings):
            return pipeline
        return replace(pipeline, run=_beginning(self._sharing, pipeline.run))

    def _retire(self, endpoint: Endpoint) -> None:
        self.sync_port.retire(endpoint)
        self.async_port.retire(endpoint)

    def _client(self, kind: Any, options: dict[str, Any]) -> Any:
        """A client; those that frameworks make, one for each inbound request, are made after a model."""
        base_url = options.get("base_url", "")
        if not options.keys() <= SCOPED or type(base_url) is not str or "@" in base_url:  # credentials are not kept
            return kind(self, **options)
        model = self._models.get((kind, base_url))
        if model is None:
            model = kind(self, base_url=base_url)
            if len(self._models) < MODELS:
                self._models[kind, base_url] = model
        return kind.like(model, self, options.get("scope"))

    def _over_backend(self, name: str, default: Any) -> Any:
        if self._backend.name == "httpx":
            return default
        from resilient_http import over_httpx2  # noqa: PLC0415 - an extra, imported only when used

        return getattr(over_httpx2, name)


def _end_all(sharing: Sequence[Sharing], discoveries: Sequence[Discovery]) -> None:
    """Nobody holds the Resilience any more: its threads shall end. The garbage collector calls this, so it is brief."""
    for each in sharing:
        each.end()
    for discovery in discoveries:
        discovery.let_go()


def shares(settings: UpstreamSettings) -> bool:
    """Whether calls to such an upstream need what processes share."""
    circuit, rate_limit = settings.circuit, settings.rate_limit
    return (circuit is not None and circuit.shared is not None) or (rate_limit is not None and rate_limit.shared)


def _beginning(sharing: Sharing, run: Callable[[Call], Awaitable[Any]]) -> Callable[[Call], Awaitable[Any]]:
    """The same way of a call; the first one begins the sharing."""

    def run_sharing(call: Call) -> Awaitable[Any]:
        sharing.begin()
        return run(call)

    return run_sharing


def _as_settings(settings: Any) -> Settings:
    if isinstance(settings, Settings):
        return settings
    if settings is None:
        return Settings()
    if not isinstance(settings, Mapping):
        message = f"settings are a mapping or Settings(...), not {type(settings).__name__}"
        raise SettingsError(message, value=settings)
    return Settings(**{str(key): value for key, value in settings.items()})


_alive: weakref.WeakSet[Resilience] = weakref.WeakSet()


def _after_fork() -> None:
    for resilience in list(_alive):
        resilience._begin()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_after_fork)
