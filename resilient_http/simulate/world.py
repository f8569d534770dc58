"""World: the processes that call an upstream, through its real policies and state, on one virtual clock."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, ClassVar

from resilient_http.call import Attempt, Call
from resilient_http.events import Hub
from resilient_http.pipeline import compose
from resilient_http.policies.telemetry import Untraced
from resilient_http.ports.simulated import Respond, SimulatedPort, SimulatedReply
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.state.outcome import Fault
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.upstream import Upstream

KEYS = 1000  # different values of the header that balance.header goes by


class World:
    """One upstream, as one or more processes call it.

    Args:
        name: The upstream's.
        settings: Its settings, as simulable() gives them.
        respond: What its nodes do.
        zone: Where the processes stand.
        clients: How many they are.
        enabled: False leaves nothing but the choice of an endpoint.
        seed: Of all randomness.
        on_change: Called after each change of a circuit.

    Attributes:
        upstreams: The upstream, once for each process.
    """

    def __init__(
        self,
        name: str,
        settings: UpstreamSettings,
        respond: Respond,
        *,
        zone: str | None = None,
        clients: int = 1,
        enabled: bool = True,
        seed: int = 1,
        on_change: Callable[[], object] | None = None,
    ) -> None:
        self.port = SimulatedPort(respond, seed=seed)
        self.upstreams = tuple(
            _upstream(
                name, settings, random.Random(f"{seed} {number}"), zone=zone, enabled=enabled, on_change=on_change
            )
            for number in range(clients)
        )
        self._key = settings.balance.header if settings.balance.by == "hash" else None

    def open_call(
        self, upstream: Upstream, method: str = "GET", *, budget: float = math.inf, owner: object = None
    ) -> Call:
        """A call that is ready to go through an upstream's pipeline, with so many seconds."""
        port = self.port
        now = port.now()
        call = Call(port, method, started=now, owner=owner)
        if budget < math.inf:
            call.bound(now + budget, budget)
        request = None if self._key is None else KeyedRequest({self._key: str(port.rng.randrange(KEYS))})
        repeatable = method in upstream.pipeline.repeatable or upstream.pipeline.makes_key
        call.enter(upstream.name, request, method, repeatable=repeatable, replayable=True)
        return call


class KeyedRequest:
    """As much of a request as a balancer needs that goes by one of its headers."""

    extensions: ClassVar[dict[str, Any]] = {}

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


def simulable(settings: UpstreamSettings) -> tuple[UpstreamSettings, tuple[str, ...]]:
    """The settings without what is code of the user's, or another process's; and what that was."""
    changes: dict[str, Any] = {}
    if settings.discovery is not None:
        changes |= {"discovery": None, "endpoints": nodes_of(settings)}
    if settings.health is not None:
        changes["health"] = None
    if settings.middleware.call or settings.middleware.attempt:
        changes["middleware"] = type(settings.middleware)()
    if settings.chaos is not None or any(route.chaos is not None for route in settings.routes.values()):
        calm = {name: route.model_copy(update={"chaos": None}) for name, route in settings.routes.items()}
        changes |= {"chaos": None, "routes": calm}
    if settings.fallback is not None and settings.fallback.response is None:
        changes["fallback"] = None
    if settings.retry is not None and settings.retry.classify is not None:
        changes["retry"] = settings.retry.model_copy(update={"classify": None})
    if settings.balance.key is not None:
        changes["balance"] = type(settings.balance)()
    if settings.circuit is not None and settings.circuit.shared is not None:
        changes["circuit"] = settings.circuit.model_copy(update={"shared": None})
    if settings.rate_limit is not None and settings.rate_limit.shared:
        changes["rate_limit"] = settings.rate_limit.model_copy(update={"shared": False})
    told = {
        "discovery": "discovery (three nodes stand in for those that it finds)", "endpoints": "", "health": "health",
        "middleware": "middleware", "fallback": "fallback", "retry": "retry.classify", "balance": "balance.key",
        "circuit": "circuit.shared", "rate_limit": "rate_limit.shared", "chaos": "chaos", "routes": "",
    }  # fmt: skip
    return settings.model_copy(update=changes), tuple(told[name] for name in changes if told[name])


def nodes_of(settings: UpstreamSettings) -> tuple[EndpointSettings, ...]:
    """Its endpoints; three that stand in for them where those are still to be found."""
    scheme = "http" if settings.discovery is None else settings.discovery.scheme
    return settings.endpoints or tuple(EndpointSettings(url=f"{scheme}://node-{number}") for number in (1, 2, 3))


def within_limits(
    attempt: Attempt, delay: float, answer: SimulatedReply | Fault
) -> tuple[float, SimulatedReply | Fault]:
    """What an attempt sees of an answer that comes after `delay` seconds: its sockets wait no longer than they may."""
    phases = attempt.phases
    if answer is Fault.UNREACHABLE:
        connect = phases.get("connect")
        return (delay if connect is None else min(delay, connect)), answer
    read = phases.get("read")
    return (delay, answer) if read is None or delay <= read else (read, Fault.TIMEOUT)


def upstream_of(settings: Settings, name: str | None) -> tuple[str, UpstreamSettings]:
    """An upstream by its name; the only one without.

    Raises:
        KeyError: There is none of that name, or not one alone.
    """
    known = ", ".join(settings.upstreams) or "none"
    if name is None and len(settings.upstreams) == 1:
        name = next(iter(settings.upstreams))
    if name is None or name not in settings.upstreams:
        which = f"no upstream {name!r}" if name else "which upstream? say it with --upstream"
        message = f"{which}; known: {known}"
        raise KeyError(message)
    return name, settings.upstreams[name]


def _upstream(
    name: str, settings: UpstreamSettings, rng: random.Random, *, zone: str | None, enabled: bool,
    on_change: Callable[[], object] | None,
) -> Upstream:  # fmt: skip
    hub = Hub()
    nodes = Nodes(name, settings, hub, zone=zone, circuits=enabled, rng=rng)
    nodes.on_change = on_change
    return Upstream(
        name, settings, lambda upstream, own: compose(upstream, own, Untraced(), hub), nodes, enabled=enabled
    )
