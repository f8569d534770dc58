"""Upstream: a service that we call, with its settings and all the state that its calls share."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resilient_http.call import Call
from resilient_http.settings.chaos import ChaosSettings
from resilient_http.settings.limits import ConcurrencySettings
from resilient_http.settings.models import UpstreamSettings
from resilient_http.settings.overrides import frozen, overridden
from resilient_http.state.adaptive_limit import AdaptiveLimit
from resilient_http.state.chaos import Chaos, FaultRules
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.latency import Latency
from resilient_http.state.leased_bucket import LeasedBucket
from resilient_http.state.pauses import Pauses
from resilient_http.state.response_memory import ResponseMemory
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.switches import AS_USUAL, Position
from resilient_http.state.tally import Tally
from resilient_http.state.token_bucket import TokenBucket
from resilient_http.upstreams.discovery import Discovery
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.routes import RouteTable

UNLIMITED_QUEUE = 1_000_000
ENDS = "_ends"  # monotonic seconds, which all processes of a machine share
VARIANTS = 100  # different overrides of calls that are kept composed


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The way of a call to an upstream, as composed for one version of its settings.

    Attributes:
        run: Await it with a Call, get the response.
        repeatable: Methods that may be sent twice.
        makes_key: Whether a call with any other method gets an Idempotency-Key.
        order: The policies of its rings, "call" and "attempt", by name, the outermost first.
    """

    run: Callable[[Call], Awaitable[Any]]
    repeatable: frozenset[str]
    makes_key: bool = False
    order: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an upstream's calls, whatever its settings.

    Attributes:
        latency: Of all endpoints together, where hedges go by it.
        pauses: Routes that are to be left alone.
        repeats, hedges, refusals, rate_decisions, pause_decisions, fallbacks, faults: What was decided, counted.
    """

    latency: Latency = field(default_factory=Latency)
    pauses: Pauses = field(default_factory=lambda: Pauses(secrets.token_bytes(16)))
    repeats: Tally = field(default_factory=Tally)
    hedges: Tally = field(default_factory=Tally)
    refusals: Tally = field(default_factory=Tally)
    rate_decisions: Tally = field(default_factory=Tally)
    pause_decisions: Tally = field(default_factory=Tally)
    fallbacks: Tally = field(default_factory=Tally)
    faults: Tally = field(default_factory=Tally)

    def include(self, other: Record) -> None:
        """What was decided for another one, too."""
        for name in ("repeats", "hedges", "refusals", "rate_decisions", "pause_decisions", "fallbacks", "faults"):
            getattr(self, name).include(getattr(other, name))


Compose = Callable[["Upstream", UpstreamSettings], Pipeline]


class Upstream:
    """One upstream's settings and state. Thread-safe.

    Args:
        name: Its name in the settings, or the origin of an unnamed one.
        settings: Its settings.
        compose: Makes its pipeline.
        nodes: Its nodes.
        enabled: False leaves nothing but the choice of an endpoint.
        discovery: What finds its nodes, or None where the settings name them all.
        position: What an operator has switched.
        before: The same one with other settings: what it knows goes on, under the numbers of these. Its calls under way
            end as they began.

    Attributes:
        named: Whether its name is a logical host.
        record: What is known of its calls, whatever the settings.
        routes: Which route a request belongs to, or None without any.
        endpoints: What attempts choose from: `nodes.endpoints`.
        chaos: What is injected into the calls of each route; None stands for those of no route.
    """

    def __init__(
        self,
        name: str,
        settings: UpstreamSettings,
        compose: Compose,
        nodes: Nodes,
        *,
        enabled: bool = True,
        discovery: Discovery | None = None,
        position: Position = AS_USUAL,
        before: Upstream | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.nodes = nodes
        self.named = nodes.named
        self.enabled = enabled
        self.discovery = discovery
        self.position = position
        self.endpoints = nodes.endpoints
        self.record: Record = Record() if before is None else before.record
        self.budget = self._budget(before)
        self.memory = self._memory(before)
        self.limit = self._limit(before)
        self.observed_limit = self._observed_limit(before)
        self.adaptive = self._adaptive(before)
        self.bucket = self._bucket(before)
        self.chaos = self._chaos(before)
        self.routes = RouteTable(settings.routes) if settings.routes and enabled else None
        self._compose = compose
        self._by_route: dict[str, Pipeline] = {}
        self._variants: dict[Any, Pipeline] = {}
        self._variants_lock = threading.Lock()
        self.pipeline = compose(self, settings)

    def settings_of(self, route: str | None) -> UpstreamSettings:
        """The settings that calls of a route go by; None for those of no route."""
        return self.settings if route is None else self.settings.routed(route)

    def pipeline_of(self, overrides: Any, route: str | None = None) -> Pipeline:
        """The pipeline of a call of a route, with settings of its own; None for neither.

        Raises:
            SettingsError: Its own are wrong.
        """
        if overrides is None:
            return self.pipeline if route is None else self._pipeline_of_route(route)
        try:
            key = route, frozen(overrides)
            known = self._variants.get(key)
        except TypeError:
            key, known = None, None  # something in it cannot be hashed
        if known is None:
            known = self._compose(self, overridden(self.settings_of(route), overrides))
            if key is not None:
                self._keep(key, known)
        return known

    def _pipeline_of_route(self, route: str) -> Pipeline:
        known = self._by_route.get(route)
        if known is None:  # two threads may make one each, which does no harm
            known = self._by_route[route] = self._compose(self, self.settings_of(route))
        return known

    def _keep(self, key: Any, pipeline: Pipeline) -> None:
        with self._variants_lock:
            while len(self._variants) >= VARIANTS:
                del self._variants[next(iter(self._variants))]  # the oldest
            self._variants[key] = pipeline

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able: what its calls go by at the moment."""
        return {
            "endpoints": self.nodes.status(now),
            "discovery": None if self.discovery is None else self.discovery.status(now),
            "switches": self.position.status(now),
            "concurrency": self._concurrency_status(),
            "rate_limit": None if self.bucket is None else self._rate_status(self.bucket, now),
            "pauses": {"routes": self.record.pauses.paused(now), "decisions": self.record.pause_decisions.as_dict()},
            "retry_budget": None if self.budget is None else {"tokens": round(self.budget.tokens(now), 3)},
            "retries": self.record.repeats.as_dict(),
            "hedges": self.record.hedges.as_dict(),
            "fallbacks": self.record.fallbacks.as_dict(),
            "chaos": self._chaos_status(now),
            "stale": None if self.memory is None else self.memory.as_dict(),
            "routes": list(self.settings.routes),
            "pipeline": {ring: list(names) for ring, names in self.pipeline.order.items()},
        }

    def _concurrency_status(self) -> dict[str, Any]:
        limit = self.observed_limit or self.limit
        return {
            "limit": limit.limit,
            "in_flight": limit.in_flight,
            "queued": limit.waiting,
            "queue": limit.queue,
            "usual": None if self.adaptive is None else self.adaptive.usual,
            "decisions": self.record.refusals.as_dict(),
        }

    def _rate_status(self, bucket: TokenBucket | LeasedBucket, now: float) -> dict[str, Any]:
        return {"tokens": round(bucket.tokens(now), 3), "decisions": self.record.rate_decisions.as_dict()}

    def _chaos_status(self, now: float) -> dict[str, Any] | None:
        if not self.chaos:
            return None
        own = self.chaos.get(None)
        routes = {route: each.as_dict(now) for route, each in self.chaos.items() if route and each is not own}
        return {
            **({} if own is None else own.as_dict(now)),
            "routes": routes,
            "injected": self.record.faults.as_dict(),
        }

    def _chaos(self, before: Upstream | None) -> dict[str | None, Chaos]:
        found: dict[str | None, Chaos] = {}
        for route in (None, *self.settings.routes):
            own = self.settings.chaos if route is None else self.settings.routes[route].chaos
            if own is None:
                continue
            if route is not None and own == self.settings.chaos:
                found[route] = found[None]
            else:
                found[route] = _kept_chaos(own, route, before) or _new_chaos(own)
        return found

    def _budget(self, before: Upstream | None) -> RetryBudget | None:
        of_routes = [route.retry for route in self.settings.routes.values()]
        retry = next((each for each in (self.settings.retry, *of_routes) if each is not None), None)
        own = None if retry is None else retry.budget
        return None if own is None else _kept(before and before.budget, RetryBudget, own.ratio, own.floor)

    def _memory(self, before: Upstream | None) -> ResponseMemory | None:
        own = None if self.settings.fallback is None else self.settings.fallback.stale
        if own is None or own.store != "memory":
            return None
        return _kept(before and before.memory, ResponseMemory, own.max_entries, own.max_bytes)

    def _limit(self, before: Upstream | None) -> ConcurrencyLimit:
        # Never more permits than connections: nothing else limits those, and nothing waits for one.
        connections = self.settings.pool.max_connections
        own, known = self.settings.concurrency, None if before is None else before.limit
        if own is None or own.observe:
            return _kept(known, ConcurrencyLimit, connections, UNLIMITED_QUEUE, shed_at=1.0, reserve=0.0)
        return _limit_of(own, connections, known)

    def _observed_limit(self, before: Upstream | None) -> ConcurrencyLimit | None:
        own = self.settings.concurrency
        if own is None or not own.observe:
            return None
        return _limit_of(own, own.limit, None if before is None else before.observed_limit)

    def _adaptive(self, before: Upstream | None) -> AdaptiveLimit | None:
        own = self.settings.concurrency
        if own is None or own.adaptive is None:
            return None
        rules, limit = own.adaptive, self.observed_limit or self.limit
        numbers = {"tolerance": rules.tolerance, "backoff": rules.backoff}
        adaptive = _kept(before and before.adaptive, AdaptiveLimit, rules.min, limit.limit, rules.initial, **numbers)
        limit.resize(adaptive.limit)
        return adaptive

    def _bucket(self, before: Upstream | None) -> TokenBucket | LeasedBucket | None:
        own, known = self.settings.rate_limit, before and before.bucket
        if own is None:
            return None
        if own.shared:
            return _kept(known, LeasedBucket, own.rate, own.kept)
        return _kept(known, TokenBucket, own.rate, own.kept)


def _new_chaos(own: ChaosSettings) -> Chaos:
    # It stays with what was read, so that a forked worker does not begin it anew. No field, so it is not compared.
    ends = vars(own).setdefault(ENDS, time.monotonic() + own.left(time.time()))
    return Chaos(FaultRules(**own.rules()), ends, seed=own.seed, orders=own.by_header)


def _kept_chaos(own: ChaosSettings, route: str | None, before: Upstream | None) -> Chaos | None:
    """What was there before under the same settings: a reload of something else does not make it last longer."""
    if before is None or (route is not None and route not in before.settings.routes):
        return None
    known = before.settings.chaos if route is None else before.settings.routes[route].chaos
    return before.chaos.get(route) if known == own else None


def _limit_of(own: ConcurrencySettings, most: int, known: ConcurrencyLimit | None) -> ConcurrencyLimit:
    numbers = {"shed_at": own.shed_at, "reserve": own.reserve}
    return _kept(known, ConcurrencyLimit, min(own.limit, most), own.queue, **numbers)


def _kept(known: Any, kind: type[State], *numbers: Any, **more: Any) -> State:
    """What is known, with other numbers; or a new one, where nothing of the kind is."""
    if not isinstance(known, kind):
        return kind(*numbers, **more)
    known.adjust(*numbers, **more)  # type: ignore[attr-defined]
    return known
