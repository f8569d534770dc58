"""Nodes: the settings of an upstream become its endpoints; and others take their place while calls are under way."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pybreaker

from resilient_http.events import (
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    EndpointsChanged,
    Hub,
    PanicBegan,
    PanicEnded,
)
from resilient_http.settings.circuit import CircuitSettings
from resilient_http.settings.endpoints import BalanceSettings, EndpointSettings
from resilient_http.settings.models import UpstreamSettings
from resilient_http.state.balancers import MakeBalancer
from resilient_http.state.balancers.ewma import ewma
from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.balancers.ring import Ring
from resilient_http.state.balancers.weighted import Weighted
from resilient_http.state.circuit import Circuit
from resilient_http.state.diagnosis import CircuitRules
from resilient_http.state.ejections import Ejections
from resilient_http.state.endpoint import Endpoint, Link
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.health import Health
from resilient_http.state.outcome import Outcome, OutcomeRules
from resilient_http.state.switches import Switch, What


class Nodes:
    """The endpoints of one upstream. Thread-safe.

    Args:
        upstream: Name of the upstream.
        settings: Its settings.
        hub: Where changes are told.
        origin: Scheme, host and port of an unnamed upstream's one node; None for a named one, whose name is a logical
            host, so that `Host` comes from the endpoint.
        zone: Where this process stands, or None.
        circuits: Whether they have circuits, where the settings say so.
        held: Circuits that an operator holds open or closed.
        listeners: pybreaker listeners for each of those.
        rng: Source of jitter.

    Attributes:
        named: Whether the upstream's name is a logical host.
        zone: Where this process stands, or None.
        endpoints: What attempts choose from.
        on_change: Called after each change of a circuit, or None.
        on_gone: Called with each endpoint that has been replaced, or None.
        on_replaced: Called when there are other endpoints than before, or None.
    """

    on_change: Callable[[], object] | None = None
    on_gone: Callable[[Endpoint], object] | None = None
    on_replaced: Callable[[], object] | None = None

    def __init__(  # noqa: PLR0913 - told apart by name
        self,
        upstream: str,
        settings: UpstreamSettings,
        hub: Hub,
        *,
        origin: tuple[str, str, int] | None = None,
        zone: str | None = None,
        circuits: bool = True,
        held: Sequence[Switch] = (),
        listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
        rng: random.Random | None = None,
    ) -> None:
        self._upstream = upstream
        self._settings = settings
        self._hub = hub
        self._changing = threading.RLock()  # adjust() replaces too
        self.named = origin is None
        self._circuits = circuits
        self.zone = zone
        self._listeners = listeners
        self._rng = rng or random.Random()
        self._held = _held(held)
        self.endpoints = Endpoints(
            [self._make(origin)] if origin else [self._as_told(each) for each in settings.endpoints],
            balancer_of(settings.balance),
            **_choosing(settings, zone),
        )
        self.endpoints.ejections.on_panic = self._tell_panic

    @property
    def scheme(self) -> str:
        """That of all of them; "http" while none is known."""
        members = self.endpoints.members
        return members[0].scheme if members else "http"

    @property
    def _host(self) -> str | None:
        """What they are called together, where that is not the name of each."""
        discovery = self._settings.discovery
        return self._settings.host or (None if discovery is None else discovery.host)

    def is_one(self, origin: str) -> bool:
        """Whether an origin is one of them, or is what they are called: a Location that names it means the upstream."""
        host = self._host
        return any(member.url == origin for member in self.endpoints.members) or (
            host is not None and origin == f"{self.scheme}://{host}"
        )

    def replace(self, found: Sequence[EndpointSettings], now: float, still: Callable[[], bool] = lambda: True) -> bool:
        """These are the nodes from now on. What stays keeps its state, what is gone ends its attempts in peace.

        Args:
            found: Them.
            now: Monotonic seconds.
            still: Whether whoever found them may still say so, asked when nobody else changes anything.

        Returns:
            Whether anything has changed.
        """
        with self._hub.later(), self._changing:
            return still() and self._replace(found, now)

    def _replace(self, found: Sequence[EndpointSettings], now: float) -> bool:
        members = self.endpoints.members
        before = {(member.scheme, member.host, member.port): member for member in members}
        told = {each.origin: (each.weight, each.backup, each.zone) for each in found}
        known = {origin: (member.weight, member.backup, member.zone) for origin, member in before.items()}
        if self.endpoints.known and told == known:
            return False
        after = [self._as_told(each, before.get(each.origin)) for each in found]
        gone = self.endpoints.replace(after, now)
        if self.on_gone is not None:
            for member in gone:
                self.on_gone(member)
        if self.on_replaced is not None:
            self.on_replaced()
        known_before = set(members)
        added = tuple(member.url for member in after if member not in known_before)
        self._hub.announce(EndpointsChanged(self._upstream, added, tuple(member.url for member in gone)))
        return True

    def adjust(self, settings: UpstreamSettings, now: float, *, zone: str | None, circuits: bool = True) -> None:
        """Go by other settings from now on. Endpoints keep what they know; those reached in another way connect anew.

        Args:
            settings: The upstream's.
            now: Monotonic seconds.
            zone: Where this process stands, or None.
            circuits: Whether they have circuits, where the settings say so.
        """
        with self._changing:
            self._adjust(settings, now, zone=zone, circuits=circuits)

    def _adjust(self, settings: UpstreamSettings, now: float, *, zone: str | None, circuits: bool) -> None:
        before, self._settings, self._circuits = self._settings, settings, circuits
        for member in self.endpoints.members:
            self._adjust_circuit(member)
            self._adjust_health(member, now)
            link = self._link(member)
            if link != member.link:
                member.link = link
                if self.on_gone is not None:
                    self.on_gone(member)  # its connections, not itself
        if (before.balance, self.zone) != (settings.balance, zone):
            self.zone = zone
            self.endpoints.adjust(balancer_of(settings.balance), now, **_choosing(settings, zone))
        # Where they are found out, those of the settings are for the time until they are.
        found_out = settings.discovery is not None and (self.endpoints.known or not settings.endpoints)
        if self.named and not found_out and (before.discovery or before.endpoints != settings.endpoints):
            self.replace(settings.endpoints, now)

    def _adjust_circuit(self, member: Endpoint) -> None:
        own = self._settings.circuit
        if own is None or not self._circuits:
            member.circuit = None
            member.outcomes = OutcomeRules()
        elif member.circuit is None:
            self._add_circuit(member, own)
        else:
            member.circuit.adjust(circuit_rules(own))
            member.outcomes = outcome_rules(own)

    def hold(self, circuits: Sequence[Switch]) -> None:
        """These circuits are held open or closed from now on, those of endpoints that are still to come too.

        One that was held open before lets probes through; one that was held closed begins anew.
        """
        before = {member: self._holds(member) for member in self.endpoints.members}
        self._held = _held(circuits)
        for member, held in before.items():
            if member.circuit is not None and held is not self._holds(member):
                self._hold(member, member.circuit, before=held)

    def _holds(self, endpoint: Endpoint) -> bool | None:
        """Whether its circuit is held open (True), closed (False), or not."""
        return self._held.get(endpoint.url, self._held.get(""))

    def _hold(self, endpoint: Endpoint, circuit: Circuit, before: bool | None = None) -> None:
        opens = self._holds(endpoint)
        if opens is not None:
            (circuit.force_open if opens else circuit.force_close)()
        elif before is not None and circuit.mode == ("forced open" if before else "forced closed"):
            (circuit.half_open if before else circuit.close)()

    def status(self, now: float) -> list[dict[str, Any]]:
        """JSON-able: each endpoint as it stands."""
        return [_status(member, self.endpoints.ejections, now) for member in self.endpoints.members]

    def _as_told(self, settings: EndpointSettings, known: Endpoint | None = None) -> Endpoint:
        endpoint = self._make(settings.origin) if known is None else known
        endpoint.weight, endpoint.backup, endpoint.zone = settings.weight, settings.backup, settings.zone
        return endpoint

    def _make(self, origin: tuple[str, str, int]) -> Endpoint:
        endpoint = Endpoint(*origin)
        endpoint.link = self._link(endpoint)
        if self._settings.circuit is not None and self._circuits:
            self._add_circuit(endpoint, self._settings.circuit)
        self._adjust_health(endpoint, 0.0)
        return endpoint

    def _add_circuit(self, endpoint: Endpoint, settings: CircuitSettings) -> None:
        endpoint.outcomes = outcome_rules(settings)
        circuit = Circuit(
            f"{self._upstream} at {endpoint.url}",
            circuit_rules(settings),
            rng=self._rng,
            clock=lambda: time.monotonic(),  # noqa: PLW0108 - whichever `time` is there then
            listeners=self._listeners,
            on_change=partial(self._tell_circuit, endpoint),
        )
        self._hold(endpoint, circuit)
        endpoint.circuit = circuit

    def _adjust_health(self, endpoint: Endpoint, now: float) -> None:
        own = self._settings.health
        if own is None or not (self.named and self._circuits):
            if endpoint.health is not None:
                endpoint.health = None
                self.endpoints.note_health(endpoint, now, healthy=True)
        elif endpoint.health is None:
            endpoint.health = Health(own.healthy_after, own.unhealthy_after)
        else:
            endpoint.health.adjust(own.healthy_after, own.unhealthy_after)

    def _link(self, endpoint: Endpoint) -> Link:
        own, host = self._settings, self._host
        return Link(
            host=(host or endpoint.netloc) if self.named else None,
            server_name=(urlsplit(f"//{host}").hostname if host else endpoint.host) if self.named else None,
            verify=own.tls.verify,
            cert=own.tls.cert,
            http2=own.http2,
            proxy=own.proxy.get_secret_value() if own.proxy else None,
            max_keepalive=own.pool.max_keepalive,
            keepalive_expiry=own.pool.keepalive_expiry,
            max_age=math.inf if own.pool.max_age is None else own.pool.max_age,
        )

    def _tell_circuit(self, endpoint: Endpoint, circuit: Circuit, state: str) -> None:
        if endpoint.circuit is not circuit:  # not in use yet, or no longer
            return
        if self.on_change is not None:
            self.on_change()
        if state == pybreaker.STATE_OPEN:
            self._hub.announce(CircuitOpened(self._upstream, endpoint.url, circuit.rest, circuit.cause.value))
        elif state == pybreaker.STATE_HALF_OPEN:
            self._hub.announce(CircuitHalfOpened(self._upstream, endpoint.url))
        else:
            self._hub.announce(CircuitClosed(self._upstream, endpoint.url, circuit.cause.value))

    def _tell_panic(self, begins: bool, wanted: int, total: int) -> None:
        kind = PanicBegan if begins else PanicEnded
        self._hub.announce(kind(self._upstream, wanted, total))


def _held(circuits: Sequence[Switch]) -> dict[str, bool]:
    """By URL, "" for all: whether they are held open, or closed."""
    return {switch.endpoint or "": switch.what is What.CIRCUIT_OPEN for switch in circuits}


def _choosing(settings: UpstreamSettings, zone: str | None) -> dict[str, Any]:
    own = settings.balance
    return {"zone": zone, "slow_start": own.slow_start or 0.0, "panic": own.panic}


def balancer_of(settings: BalanceSettings) -> MakeBalancer:
    """What picks among endpoints."""
    if settings.by == "ewma":
        return partial(ewma, decay=settings.decay)
    if settings.by == "hash":
        return partial(Ring, bound=settings.bound)
    return Weighted if settings.by == "weighted" else P2C


def circuit_rules(settings: CircuitSettings) -> CircuitRules:
    """The numbers that a circuit goes by."""
    own = settings.model_dump(exclude={"slow_call", "outcomes", "silent", "shared"})
    if settings.slow_call is not None:
        own |= {"slow_after": settings.slow_call.duration, "slow_rate": settings.slow_call.rate}
    return CircuitRules(**own)


def outcome_rules(settings: CircuitSettings) -> OutcomeRules:
    """What attempts count as."""
    statuses = {status: Outcome(outcome) for status, outcome in settings.outcomes.items()}
    silent = {f"silent_{name}": value for name, value in settings.silent.model_dump().items()}
    return OutcomeRules(statuses, **silent)


def _status(member: Endpoint, ejections: Ejections[Endpoint], now: float) -> dict[str, Any]:
    circuit = member.circuit
    status: dict[str, Any] = {
        "url": member.url,
        "weight": member.weight,
        "backup": member.backup,
        "zone": member.zone,
        "in_flight": member.in_flight,
        "load": round(member.load(now), 3),
        "latency": {"p50": member.latency.quantile(0.5), "p95": member.latency.quantile(0.95)},
        "out": member in ejections.out(now),
        "reasons": {
            reason: None if seconds == math.inf else round(seconds, 3)
            for reason, seconds in ejections.reasons(member, now).items()
        },
        "health": None if member.health is None else member.health.status(now),
        "circuit": None,
    }
    if circuit is not None:
        status["circuit"] = {
            "state": circuit.mode,
            "cause": circuit.cause.value,
            "retry_in": circuit.retry_in(now),
            "observed": circuit.observed if circuit.rules.observe else None,
        }
    return status
