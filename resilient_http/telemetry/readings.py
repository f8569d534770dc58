"""Readings: what is known already, as values of the instruments that are read when somebody collects.

Of unnamed upstreams what can be added up is added up, as "other"; the rest is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from resilient_http.telemetry.instruments import BY_NAME, CIRCUIT_STATES, COUNTED, GAUGE
from resilient_http.telemetry.labels import OTHER, Labels

Reading = tuple[float, Mapping[str, str]]
"""A value, and its labels beside the upstream's."""

SUPPRESSED = "suppressed: "


class Measured(Protocol):
    """What a Resilience shows of itself."""

    labels: Labels

    def upstreams(self) -> Iterable[Any]:
        """Every upstream and guard that is known."""

    def departed(self) -> Iterable[Any]:
        """The record of the unnamed upstreams that have been dropped, if there is one."""

    def connections_to(self, endpoint: Any) -> int:
        """How many are open."""


def readings(name: str, measured: Measured, now: float) -> dict[tuple[tuple[str, str], ...], float]:
    """The values of an instrument, by labels.

    Args:
        name: Without the prefix.
        measured: Whose.
        now: Monotonic seconds.
    """
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for upstream, value, labels in _all(name, measured, now):
        key = (("upstream", upstream), *labels.items())
        found[key] = found.get(key, 0) + value
    return found


def _all(name: str, measured: Measured, now: float) -> Iterator[tuple[str, float, Mapping[str, str]]]:
    counted = BY_NAME[name].kind == COUNTED
    for upstream in measured.upstreams():
        label = measured.labels.upstream(upstream.name)
        if counted:
            given: Iterable[Reading] = COUNTS[name](upstream.record)
        elif label == OTHER and name not in ADDED_UP:
            continue
        elif name in AT_ENDPOINTS:
            given = _at_endpoints(name, upstream, measured)
        else:
            given = GAUGES[name](upstream, now)
        for value, labels in given:
            yield label, value, labels
    for record in measured.departed() if counted else ():
        for value, labels in COUNTS[name](record):
            yield OTHER, value, labels


def _decisions(tally: Any) -> Iterator[Reading]:
    for what, count in tally.as_dict().items():
        yield count, {"decision": what}


def _reasons(tally: Any) -> Iterator[Reading]:
    for what, count in tally.as_dict().items():
        suppressed = what.startswith(SUPPRESSED)
        decision, reason = ("suppressed", what.removeprefix(SUPPRESSED)) if suppressed else (what, "")
        yield count, {"decision": decision, "reason": reason}


COUNTS: dict[str, Callable[[Any], Iterable[Reading]]] = {
    "retries": lambda record: _reasons(record.repeats),
    "hedges": lambda record: _reasons(record.hedges),
    "concurrency.refusals": lambda record: _decisions(record.refusals),
    "rate_limit.decisions": lambda record: _decisions(record.rate_decisions),
    "pauses.decisions": lambda record: _decisions(record.pause_decisions),
    "fallbacks": lambda record: _decisions(record.fallbacks),
    "chaos.faults": lambda record: _decisions(record.faults),
}


def _states(upstream: Any, now: float) -> Iterator[Reading]:
    out, states = upstream.endpoints.ejections.out(now), {"healthy": 0, "ejected": 0, "open": 0}
    for member in upstream.endpoints.members:
        is_open = member.circuit is not None and _state_of(member.circuit) == CIRCUIT_STATES["open"]
        states["open" if is_open else "ejected" if member in out else "healthy"] += 1
    for state, count in states.items():
        yield count, {"state": state}


def _limit(upstream: Any) -> Any:
    return upstream.observed_limit or upstream.limit


def _age(upstream: Any, now: float) -> Iterator[Reading]:
    age = None if upstream.discovery is None else upstream.discovery.status(now)["age"]
    if age is not None:
        yield age, {}


GAUGES: dict[str, Callable[[Any, float], Iterable[Reading]]] = {
    "endpoints": _states,
    "retry_budget.tokens": lambda upstream, now: () if upstream.budget is None else [(upstream.budget.tokens(now), {})],
    "concurrency.limit": lambda upstream, _: [(_limit(upstream).limit, {})],
    "concurrency.in_flight": lambda upstream, _: [(_limit(upstream).in_flight, {})],
    "concurrency.queued": lambda upstream, _: [(_limit(upstream).waiting, {})],
    "rate_limit.tokens": lambda upstream, now: () if upstream.bucket is None else [(upstream.bucket.tokens(now), {})],
    "discovery.age": _age,
}
AT_ENDPOINTS = frozenset({"circuit.state", "pool.connections"})
ADDED_UP = frozenset({"endpoints", "concurrency.in_flight", "concurrency.queued", "pool.connections"})


def _at_endpoints(name: str, upstream: Any, measured: Measured) -> Iterator[Reading]:
    for member in upstream.endpoints.members:
        labels = {"endpoint": measured.labels.endpoint(upstream.name, member.url)}
        if name == "pool.connections":
            yield measured.connections_to(member), labels
        elif member.circuit is not None and labels["endpoint"] != OTHER:
            yield _state_of(member.circuit), labels


def _state_of(circuit: Any) -> int:
    """In a number; forced is as good as found, and disabled lets all through as closed does."""
    return CIRCUIT_STATES.get(circuit.mode.removeprefix("forced "), 0)


READ = tuple(name for name, row in BY_NAME.items() if row.kind in (COUNTED, GAUGE))
