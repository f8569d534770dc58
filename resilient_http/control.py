"""Control: the upstreams of one process under its settings, and what goes on beside their calls.

Laws
    1. Settings become upstreams here, and nowhere else: at the start, on first use (unnamed ones, guards), and anew
       when they change.
    2. A change is one step for those who call: the registry has the old upstreams or the new ones. What is under way
       ends on the old; what an upstream knows (circuits, windows, budgets, latency, connections) goes on in the new.
    3. What goes on beside the calls (sharing, discovery, health checks, what is watched) begins with the first call
       that needs it, and ends with end(). A forked child makes a Control of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pybreaker

from resilient_http.call import Call
from resilient_http.dispatcher import Dispatcher
from resilient_http.engines.backend import Backend
from resilient_http.errors import SettingsError
from resilient_http.events import Hub
from resilient_http.guard import upstream_settings
from resilient_http.inbound import Inbound
from resilient_http.pipeline import compose, compose_guard
from resilient_http.ports.asynchronous import AsyncPort
from resilient_http.ports.beats import Beats
from resilient_http.ports.sync import SyncPort
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.misplaced import UNNOTICED
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.validation import NAME
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.leased_bucket import LeasedBucket, LeaseRules
from resilient_http.state.switches import ALL, Named, Slot, Switch
from resilient_http.telemetry.observers import Observers
from resilient_http.telemetry.tracing import untraced
from resilient_http.upstreams.discovery import Discovery
from resilient_http.upstreams.documents.kinds import make_document, where_document
from resilient_http.upstreams.follower import Follower
from resilient_http.upstreams.health import HealthChecks
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.registry import Registry
from resilient_http.upstreams.shared_circuits import SharedCircuits
from resilient_http.upstreams.shared_rates import SharedRates
from resilient_http.upstreams.sharing import Sharing
from resilient_http.upstreams.sources.kinds import goes_on, make_source, where
from resilient_http.upstreams.switching import Switching
from resilient_http.upstreams.upstream import Pipeline, Record, Upstream

SWITCH = "RESILIENT_HTTP_ENABLED"  # an operator's way out, whatever the settings say
OFF = {"false", "0", "no", "off"}


class Control:
    """The upstreams of one process. Thread-safe.

    Args:
        settings: The settings.
        backend: httpx or httpx2.
        hub: Where everything is told.
        observers: Who look on.
        circuit_listeners: pybreaker listeners, for every circuit.
        apply: A bound method, held weakly: acts on a document from afar. None for nobody who does.
        thrown: What an operator has switched.

    Attributes:
        settings: Those in force.
        switching: What an operator switches.
        enabled: Whether the policies are.
        dispatcher: Passes calls through the upstreams.
        guards: What is guarded, by name.
        inbound: Reads inbound requests.
    """

    def __init__(
        self,
        settings: Settings,
        backend: Backend,
        hub: Hub,
        observers: Observers,
        circuit_listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
        *,
        apply: Callable[..., object] | None = None,
        thrown: Mapping[Slot, Switch] | None = None,
    ) -> None:
        self.settings = settings
        self.enabled = _enabled(settings)
        self.sync_port = SyncPort(backend, hub)
        self.async_port = AsyncPort(backend, hub, kind=settings.engine)
        self.inbound = Inbound(settings.inbound, settings.chaos)
        self.guards: dict[str, Upstream] = {}
        self._backend = backend
        self._hub = hub
        self._observers = observers
        self._notice(settings)
        self._listeners = tuple(circuit_listeners)
        self._lock = threading.RLock()  # of changes
        beats = Beats(self.sync_port, self.async_port, untraced())
        self._checks = HealthChecks(hub, beats)
        self._follower = self._make_follower(apply)
        waits = partial(beats.begin, threaded=True, name="switches")
        self.switching = Switching(hub, waits, self._settle, thrown)
        self._sharing = None if settings.shared is None else Sharing(settings.shared, hub)
        self._registry = Registry(self._all_named(settings), settings.unnamed_upstreams, self._unnamed, self._retire)
        self.dispatcher = Dispatcher(backend, self._registry, hub, observers)
        for name in settings.guards:
            self.guarded(name)
        if self._sharing is not None:
            self._sharers = (
                SharedCircuits(self._sharing, self._registry, self.guards),
                SharedRates(self._sharing, self._registry),
            )
            for sharer in self._sharers:
                self._sharing.add(sharer)
        self._checks.watch(self._registry.named.values() if self.enabled else ())
        self.switching.begin()

    def upstreams(self) -> dict[str, Upstream]:
        """Every upstream that is known, by name or origin."""
        return self._registry.all()

    def departed(self) -> Record:
        """What was decided for the unnamed upstreams that have been dropped."""
        return self._registry.departed

    def connections_to(self, endpoint: Endpoint) -> int:
        """How many are open, of sync and async clients."""
        return self.sync_port.connections_to(endpoint) + self.async_port.connections_to(endpoint)

    def guarded(self, name: str) -> Upstream:
        """What is guarded by that name; made on first use.

        Raises:
            SettingsError: The name is an upstream's, or no lower-case DNS label.
        """
        found = self.guards.get(name)
        if found is None:
            with self._lock:  # none comes while settings change, that may have an upstream of that name
                found = self.guards.get(name) or self.guards.setdefault(name, self._guard(name, self.settings))
        return found

    def change(self, settings: Settings) -> None:
        """Go by other settings from now on. They are valid, and differ in nothing that needs a new process.

        Raises:
            SettingsError: An upstream has the name of a guard; then nothing has changed.
        """
        with self._hub.later(), self._lock:
            for name in self.guards.keys() & settings.upstreams.keys():
                message = f"upstreams.{name}: a guard has that name"
                raise SettingsError(message, path=f"upstreams.{name}", value=name)
            if (settings.inbound, settings.chaos) != (self.settings.inbound, self.settings.chaos):
                self.inbound = Inbound(settings.inbound, settings.chaos)
            before = {name: upstream.discovery for name, upstream in self._registry.named.items()}
            self.settings, self.enabled = settings, _enabled(settings)
            self._notice(settings)
            self._registry.limit = settings.unnamed_upstreams
            gone = self._arrange()
        for upstream in gone:
            for member in upstream.endpoints.members:
                member.gone = True
                self._retire(member)
        kept = {upstream.discovery for upstream in self._registry.named.values()}
        for discovery in before.values():
            if discovery is not None and discovery not in kept:
                discovery.retire()

    def _notice(self, settings: Settings) -> None:
        self._observers.misplaced.adjust(settings.misplaced if self.enabled else UNNOTICED)

    def switchable(self, settings: Settings) -> set[str]:
        """The names of what can be switched under these settings."""
        return {ALL, *settings.upstreams, *settings.guards, *self.guards}

    def say(self, switches: Iterable[Named], by: str) -> None:
        """These are the switches from afar, all of them."""
        self.switching.say(switches, by)

    def _settle(self) -> None:
        """Other switches hold."""
        with self._hub.later(), self._lock:
            self._arrange()
        for upstream in (*self.upstreams().values(), *self.guards.values()):
            upstream.nodes.hold(upstream.position.circuits)

    def _arrange(self) -> list[Upstream]:
        """Have the upstreams that the settings, and what is switched, say. The lock is held. Those that are gone."""
        named = self._all_named(self.settings, self._registry.named)
        gone = self._registry.replace(named, self._changed_unnamed)
        for name, guard in list(self.guards.items()):
            self.guards[name] = self._guard(name, self.settings, guard)
        for name in self.settings.guards:
            self.guarded(name)
        self._checks.watch(named.values() if self.enabled else ())
        return gone

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able: everything as it stands."""
        return {
            "connections": {"sync": self.sync_port.engines.connections()},
            "inbound": self.inbound.status(),
            **self.beside(now),
            "upstreams": {name: upstream.status(now) for name, upstream in self.upstreams().items()},
            "guards": {name: guard.status(now) for name, guard in sorted(self.guards.items())},
        }

    def beside(self, now: float) -> dict[str, Any]:
        """JSON-able: how what goes on beside the calls of all upstreams stands."""
        return {
            "shared": None if self._sharing is None else self._sharing.status(now),
            "watch": None if self._follower is None else self._follower.status(now),
        }

    @property
    def sharing(self) -> Sharing | None:
        """What this process shares with others through, if it does."""
        return self._sharing

    def close(self) -> None:
        """Close the connections of sync clients, and end what goes on beside the calls. Another call begins it anew."""
        self._checks.end()
        self.sync_port.close()
        if self._follower is not None:
            self._follower.end()
        self._end_sharing()
        for upstream in self._registry.named.values():
            if upstream.discovery is not None:
                upstream.discovery.end()

    async def aclose(self) -> None:
        """The same, and close the connections of this event loop's async clients."""
        await self._checks.aend()
        self.close()
        await self.async_port.aclose()

    def let_go(self) -> None:
        """Nobody holds the Resilience any more: its threads shall end. The garbage collector calls this: be brief."""
        self._end_sharing()
        self.switching.end()
        if self._follower is not None:
            self._follower.let_go()
        for upstream in self._registry.named.values():
            if upstream.discovery is not None:
                upstream.discovery.let_go()

    def _end_sharing(self) -> None:
        if self._sharing is not None:
            self._sharing.end()

    # Settings become upstreams

    def _all_named(self, settings: Settings, before: dict[str, Upstream] | None = None) -> dict[str, Upstream]:
        known = before or {}
        return {name: self._upstream(name, own, known.get(name)) for name, own in settings.upstreams.items()}

    def _unnamed(self, scheme: str, host: str, port: int) -> Upstream:
        name = Endpoint(scheme, host, port).url
        return self._upstream(name, self.settings.defaults, origin=(scheme, host, port))

    def _changed_unnamed(self, upstream: Upstream) -> Upstream:
        return self._upstream(upstream.name, self.settings.defaults, upstream)

    def _upstream(
        self,
        name: str,
        settings: UpstreamSettings,
        before: Upstream | None = None,
        origin: tuple[str, str, int] | None = None,
    ) -> Upstream:
        if before is not None and self._as_before(before, settings):
            return before
        nodes = self._nodes(name, settings, before, origin)
        discovery = None if not nodes.named else self._discovery(name, settings, nodes, before)
        upstream = Upstream(
            name,
            settings,
            self._compose,
            nodes,
            enabled=self.enabled,
            discovery=discovery,
            position=self.switching.position(name),
            before=before,
        )
        self._share(upstream)
        return upstream

    def _as_before(self, upstream: Upstream, settings: UpstreamSettings) -> bool:
        facts = (upstream.settings, upstream.enabled, upstream.nodes.zone, upstream.position)
        return facts == (settings, self.enabled, self.settings.zone, self.switching.position(upstream.name))

    def _nodes(
        self, name: str, settings: UpstreamSettings, before: Upstream | None, origin: tuple[str, str, int] | None
    ) -> Nodes:
        zone = self.settings.zone
        if before is not None:
            if before.discovery is not None and not goes_on(before.settings.discovery, settings.discovery):
                before.discovery.retire()  # first, or it might replace those that are listed now
            before.nodes.adjust(settings, time.monotonic(), zone=zone, circuits=self.enabled)
            return before.nodes
        nodes = Nodes(
            name,
            settings,
            self._hub,
            origin=origin,
            zone=zone,
            circuits=self.enabled,
            held=self.switching.position(name).circuits,
            listeners=self._listeners,
        )
        nodes.on_gone = self._retire
        return nodes

    def _discovery(
        self, name: str, settings: UpstreamSettings, nodes: Nodes, before: Upstream | None
    ) -> Discovery | None:
        own = settings.discovery
        if own is None:
            return None
        if before is not None and before.discovery is not None and goes_on(before.settings.discovery, own):
            before.discovery.adjust(own)
            return before.discovery
        return Discovery(name, own, partial(make_source, own, self._backend.module), where(own), nodes, self._hub)

    def _guard(self, name: str, root: Settings, before: Upstream | None = None) -> Upstream:
        if not NAME.fullmatch(name) or name in root.upstreams:
            taken = "an upstream has that name" if name in root.upstreams else "a lower-case DNS label is needed"
            raise SettingsError(f"guard({name!r}): {taken}", path="guard", value=name)
        settings = root.guards.get(name) or GuardSettings()
        own = upstream_settings(settings)

        def composed(upstream: Upstream, _: UpstreamSettings) -> Pipeline:
            return self._begins_beside(compose_guard(upstream, settings, self._hub), upstream)

        nodes = self._nodes(name, own, before, ("guard", name, 0))
        position = self.switching.position(name)
        guarded = Upstream(name, own, composed, nodes, enabled=self.enabled, position=position, before=before)
        self._share(guarded)
        return guarded

    def _compose(self, upstream: Upstream, settings: UpstreamSettings) -> Pipeline:
        pipeline = compose(upstream, settings, self._observers.tracer(settings), self._hub)
        return self._begins_beside(pipeline, upstream)

    def _make_follower(self, apply: Callable[..., object] | None) -> Follower | None:
        own = self.settings.watch
        if own is None or apply is None:
            return None
        make = partial(make_document, own, self._backend.module)
        return Follower(own, make, where_document(own), apply, self._hub)

    def _share(self, upstream: Upstream) -> None:
        if self._sharing is None or not shares(upstream.settings):
            return
        upstream.nodes.on_change = self._sharing.wake
        if isinstance(upstream.bucket, LeasedBucket):
            root = self._sharing.settings
            upstream.bucket.rules = LeaseRules(root.interval, root.expires)
            upstream.bucket.on_need = self._sharing.wake

    def _begins_beside(self, pipeline: Pipeline, upstream: Upstream) -> Pipeline:
        """The same, but that the first call begins what goes on beside the calls."""
        sharing, follower = self._sharing, self._follower
        if follower is not None and not _is_off():
            pipeline = replace(pipeline, run=_beginning(lambda _: follower.begin(), pipeline.run))
        if sharing is not None and self.enabled and shares(upstream.settings):
            pipeline = replace(pipeline, run=_beginning(lambda _: sharing.begin(), pipeline.run))
        if upstream.settings.health is not None and upstream.named and self.enabled:
            checks = self._checks
            pipeline = replace(pipeline, run=_beginning(lambda call: checks.begin(call.port), pipeline.run))
        return pipeline

    def _retire(self, endpoint: Endpoint) -> None:
        self.sync_port.retire(endpoint)
        self.async_port.retire(endpoint)


def shares(settings: UpstreamSettings) -> bool:
    """Whether calls to such an upstream need what processes share."""
    circuit, rate_limit = settings.circuit, settings.rate_limit
    return (circuit is not None and circuit.shared is not None) or (rate_limit is not None and rate_limit.shared)


def _enabled(settings: Settings) -> bool:
    return settings.enabled and not _is_off()


def _is_off() -> bool:
    return os.environ.get(SWITCH, "").lower() in OFF


def _beginning(
    begin: Callable[[Call], object], run: Callable[[Call], Awaitable[Any]]
) -> Callable[[Call], Awaitable[Any]]:
    """The same way of a call; the first one begins something."""

    def begin_and_run(call: Call) -> Awaitable[Any]:
        begin(call)
        return run(call)

    return begin_and_run
