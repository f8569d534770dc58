"""Upstream: a service that we call, with its settings and all the state that its calls share."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from resilient_http.call import Call
from resilient_http.settings.limits import ConcurrencySettings
from resilient_http.settings.models import UpstreamSettings
from resilient_http.settings.overrides import frozen, overridden
from resilient_http.state.adaptive_limit import AdaptiveLimit
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.latency import Latency
from resilient_http.state.leased_bucket import LeasedBucket
from resilient_http.state.pauses import Pauses
from resilient_http.state.response_memory import ResponseMemory
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.tally import Tally
from resilient_http.state.token_bucket import TokenBucket
from resilient_http.upstreams.discovery import Discovery
from resilient_http.upstreams.nodes import Nodes

UNLIMITED_QUEUE = 1_000_000
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

    Attributes:
        named: Whether its name is a logical host.
        endpoints: What attempts choose from: `nodes.endpoints`.
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
    ) -> None:
        self.name = name
        self.settings = settings
        self.nodes = nodes
        self.named = nodes.named
        self.enabled = enabled
        self.discovery = discovery
        self.endpoints = nodes.endpoints
        self.budget: RetryBudget | None = None
        if settings.retry is not None and settings.retry.budget is not None:
            self.budget = RetryBudget(settings.retry.budget.ratio, settings.retry.budget.floor)
        self.repeats, self.hedges = Tally(), Tally()
        self.latency = Latency()  # of all endpoints together, where hedges go by it
        self.refusals, self.rate_decisions, self.pause_decisions = Tally(), Tally(), Tally()
        self.fallbacks = Tally()
        self.memory: ResponseMemory | None = None
        stale = None if settings.fallback is None else settings.fallback.stale
        if stale is not None and stale.store == "memory":
            self.memory = ResponseMemory(stale.max_entries, stale.max_bytes)
        self.limit = self._limit()
        self.observed_limit = self._observed_limit()
        self.adaptive = self._adaptive()
        self.bucket = self._bucket()
        self.pauses = Pauses(secrets.token_bytes(16))
        self._compose = compose
        self._variants: dict[Any, Pipeline] = {}
        self._variants_lock = threading.Lock()
        self.pipeline = compose(self, settings)

    def pipeline_of(self, overrides: Any) -> Pipeline:
        """The pipeline of a call with settings of its own; None for none.

        Raises:
            SettingsError: They are wrong.
        """
        if overrides is None:
            return self.pipeline
        try:
            key = frozen(overrides)
            known = self._variants.get(key)
        except TypeError:
            key, known = None, None  # something in it cannot be hashed
        if known is None:
            known = self._compose(self, overridden(self.settings, overrides))
            if key is not None:
                self._keep(key, known)
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
            "concurrency": self._concurrency_status(),
            "rate_limit": None if self.bucket is None else self._rate_status(self.bucket, now),
            "pauses": {"routes": self.pauses.paused(now), "decisions": self.pause_decisions.as_dict()},
            "retry_budget": None if self.budget is None else {"tokens": round(self.budget.tokens(now), 3)},
            "retries": self.repeats.as_dict(),
            "hedges": self.hedges.as_dict(),
            "fallbacks": self.fallbacks.as_dict(),
            "stale": None if self.memory is None else self.memory.as_dict(),
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
            "decisions": self.refusals.as_dict(),
        }

    def _rate_status(self, bucket: TokenBucket | LeasedBucket, now: float) -> dict[str, Any]:
        return {"tokens": round(bucket.tokens(now), 3), "decisions": self.rate_decisions.as_dict()}

    def _limit(self) -> ConcurrencyLimit:
        # Never more permits than connections: nothing else limits those, and nothing waits for one.
        connections = self.settings.pool.max_connections
        own = self.settings.concurrency
        if own is None or own.observe:
            return ConcurrencyLimit(connections, UNLIMITED_QUEUE, shed_at=1.0)
        return _limit_of(own, connections)

    def _observed_limit(self) -> ConcurrencyLimit | None:
        own = self.settings.concurrency
        return _limit_of(own, own.limit) if own is not None and own.observe else None

    def _adaptive(self) -> AdaptiveLimit | None:
        own = self.settings.concurrency
        if own is None or own.adaptive is None:
            return None
        rules, limit = own.adaptive, self.observed_limit or self.limit
        adaptive = AdaptiveLimit(
            rules.min, limit.limit, rules.initial, tolerance=rules.tolerance, backoff=rules.backoff
        )
        limit.resize(adaptive.limit)
        return adaptive

    def _bucket(self) -> TokenBucket | LeasedBucket | None:
        own = self.settings.rate_limit
        if own is None:
            return None
        return LeasedBucket(own.rate, own.kept) if own.shared else TokenBucket(own.rate, own.kept)


def _limit_of(own: ConcurrencySettings, most: int) -> ConcurrencyLimit:
    return ConcurrencyLimit(min(own.limit, most), own.queue, shed_at=own.shed_at, reserve=own.reserve)
