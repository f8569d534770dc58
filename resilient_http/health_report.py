"""Health report: how the upstreams are doing, for the health route of a service. Made of status() alone.

    ok         calls go through as usual
    degraded   they go through to a part of the endpoints, or not as usual: `why` says how
    down       no endpoint is called: all circuits are open, or no node is known

Laws
    1. The service is down when an upstream that is `required` is; else what others do is "degraded" at most. By default
       none is required: a service whose upstream is down is still the one that can answer best.
    2. A circuit that would let a probe through now is not open: were a service taken out of its load balancer for it,
       no call would come that could close it.
    3. Only what the settings name counts, upstreams and guards; any other host that is called does not.
    4. `why` names no address. Those are told with `details` alone.
    5. What is not as usual is found here alone, by findings(); the live page sorts upstreams by the same (see
       console/trouble.py), and by what else a person may want to look at, which takes no service out of anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from resilient_http.errors import SettingsError, suggestion
from resilient_http.settings.validation import nearest

Verdict = Literal["ok", "degraded", "down"]
Kind = Literal["open", "doubtful", "left alone", "undiscovered", "switched", "full"]

OPEN = ("open", "forced open")
SLOW = "slow calls"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as usual with an upstream.

    Attributes:
        kind: What.
        text: It, in a few words, without an address.
        share: Of the endpoints that it keeps calls from; 0 to 1.
        where: The address that it is about, or "".
    """

    kind: Kind
    text: str
    share: float = 0.0
    where: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """How one upstream, or guard, is doing.

    Attributes:
        verdict: "ok", "degraded" or "down".
        why: What is not as usual, each in a few words.
        endpoints: URL of each endpoint to the state of its circuit, None without one.
    """

    verdict: Verdict
    why: tuple[str, ...]
    endpoints: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How a service's upstreams are doing.

    Attributes:
        verdict: "ok", "degraded" or "down": of the service.
        upstreams: By name, guards too.
    """

    verdict: Verdict
    upstreams: Mapping[str, UpstreamHealth]

    @property
    def status_code(self) -> int:
        """What a health route answers with: 503 when the service is down, else 200."""
        return 503 if self.verdict == "down" else 200

    def as_dict(self, *, details: bool = False) -> dict[str, Any]:
        """JSON-able.

        Args:
            details: Whether endpoints are told, with their addresses.
        """
        return {
            "status": self.verdict,
            "upstreams": {
                name: {"status": each.verdict, "why": list(each.why)}
                | ({"endpoints": dict(each.endpoints)} if details else {})
                for name, each in self.upstreams.items()
            },
        }

    def __str__(self) -> str:
        """One line: "degraded: payments is down (all of 2 circuits are open)"."""
        told = [f"{name} is {each.verdict} ({'; '.join(each.why)})" for name, each in self._unwell()]
        return f"{self.verdict}: {', '.join(told)}" if told else self.verdict

    def _unwell(self) -> Iterator[tuple[str, UpstreamHealth]]:
        return ((name, each) for name, each in self.upstreams.items() if each.verdict != "ok")


def report_of(status: Mapping[str, Any], required: Iterable[str] = ()) -> HealthReport:
    """The health report of what status() says.

    Args:
        status: What `Resilience.status()` gave.
        required: Names of upstreams and guards without which the service is down.

    Raises:
        SettingsError: One of them is a text instead of names, or no such name is known.
    """
    all_of = {**status["upstreams"], **status["guards"]}
    found = {name: _health_of(each) for name, each in all_of.items() if "://" not in name}
    needed = checked_names(required)
    for name in needed:
        if name not in found:
            message = f"required: no upstream {name!r}{suggestion(nearest(name, tuple(found)))}"
            raise SettingsError(message, path="required", value=name)
    if any(found[name].verdict == "down" for name in needed):
        return HealthReport("down", found)
    return HealthReport("ok" if all(each.verdict == "ok" for each in found.values()) else "degraded", found)


def checked_names(required: Iterable[str]) -> tuple[str, ...]:
    """The names, as a tuple.

    Raises:
        SettingsError: It is a text: "payments" would be eight names.
    """
    if isinstance(required, str):
        message = f"required takes names, as [{required!r}], not a text"
        raise SettingsError(message, path="required", value=required)
    return tuple(required)


def findings(upstream: Mapping[str, Any]) -> Iterator[Finding]:
    """What is not as usual with an upstream.

    Args:
        upstream: As status() says it, or as the live page does.
    """
    endpoints: list[Mapping[str, Any]] = upstream["endpoints"]
    total = len(endpoints)
    circuits = [each["circuit"] for each in endpoints]
    opened = sum(map(_is_open, circuits))
    doubtful = sum(map(_is_doubtful, circuits)) - opened
    if opened:
        yield Finding("open", f"{opened} of {total} circuits open", opened / total)
    if doubtful:
        yield Finding("doubtful", f"{doubtful} of {total} circuits not closed yet", doubtful / total)
    reasons = {reason for each in endpoints for reason in each["reasons"]}
    if reasons:
        count = sum(bool(each["reasons"]) for each in endpoints)
        text = f"{count} of {total} endpoints to be left alone ({', '.join(sorted(reasons))})"
        yield Finding("left alone", text, count / total)
    asked = upstream["discovery"]
    if asked is not None and asked["failing"]:
        # Before anybody has asked for nodes, that there are none says nothing.
        yield Finding("undiscovered", f"discovery fails, {total} endpoints known", float(not endpoints), asked["where"])
    for switch in upstream["switches"]:
        what, _, where = switch["what"].partition(" at ")
        yield Finding("switched", f"switched: {what}", where=where)
    limit = upstream["concurrency"]
    if limit["in_flight"] >= limit["limit"] and limit["queued"] >= limit["queue"]:
        yield Finding("full", f"full: {limit['in_flight']} calls under way, {limit['queued']} in the queue")


def _health_of(upstream: Mapping[str, Any]) -> UpstreamHealth:
    found = tuple(findings(upstream))
    shown = {
        each["url"]: None if each["circuit"] is None else each["circuit"]["state"] for each in upstream["endpoints"]
    }
    down = any(each.kind in ("open", "undiscovered") and each.share == 1.0 for each in found)
    return UpstreamHealth("down" if down else "degraded" if found else "ok", tuple(each.text for each in found), shown)


def _is_open(circuit: Mapping[str, Any] | None) -> bool:
    """Whether no call gets through it. One that opened on slow answers is used when there is nothing else."""
    if circuit is None or not _is_doubtful(circuit):
        return False
    return circuit["state"] in OPEN and circuit["retry_in"] != 0.0 and circuit["cause"] != SLOW


def _is_doubtful(circuit: Mapping[str, Any] | None) -> bool:
    if circuit is None or (circuit["observed"] is not None and not circuit["state"].startswith("forced")):
        return False
    return circuit["state"] in (*OPEN, "half-open")
