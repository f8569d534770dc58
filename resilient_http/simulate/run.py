"""Run: settings against a scenario, call by call, on the virtual clock; what is kept of it does not grow with it."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from resilient_http.call import Attempt
from resilient_http.errors import DeadlineExceeded, Refused
from resilient_http.inbound import Inbound
from resilient_http.ports.simulated import SimulatedFailure, SimulatedReply
from resilient_http.semantics import write_timeout
from resilient_http.settings.inbound import InboundSettings
from resilient_http.settings.models import Settings
from resilient_http.simulate.node import Node, NodeReply
from resilient_http.simulate.result import Result
from resilient_http.simulate.scenario import Scenario, Step, steps_of
from resilient_http.simulate.slice import EXCEEDED, FAILED, FALLBACK, GOOD, LATE, REFUSED, Figures, Slice
from resilient_http.simulate.world import World, simulable, upstream_of, within_limits
from resilient_http.state.outcome import Fault
from resilient_http.upstreams.upstream import Upstream

SLICES = 240  # about so many of a run, however long it is
SHORTEST = 0.5  # seconds of a slice
NEVER = 1e9  # seconds: what waits so long was never answered
DRAINED = 120.0  # seconds after the last phase in which calls may still end

Progress = Callable[[float], object]
"""Told now and then which share of the run is over."""


def simulate(
    settings: Settings,
    scenario: Scenario,
    *,
    upstream: str | None = None,
    seed: int = 1,
    progress: Progress | None = None,
) -> Result:
    """What becomes of the calls to an upstream. The same arguments give the same result, to the last digit.

    Args:
        settings: Settings.
        scenario: What happens to it.
        upstream: Its name; None where there is but one.
        seed: Of all randomness. Arrivals do not depend on the settings, so that two can be compared.
        progress: Told how far it is.

    Raises:
        KeyError: There is no such upstream; the message lists those that are.
        SettingsError: The scenario names nodes that it has not.
    """
    return _Run(settings, scenario, upstream, seed).result(progress)


class _Run:
    def __init__(self, settings: Settings, scenario: Scenario, upstream: str | None, seed: int) -> None:
        self._name, raw = upstream_of(settings, upstream)
        own, self._left_out = simulable(raw)
        self._scenario, self._seed = scenario, seed
        self._steps = steps_of(scenario, own)
        self._inbound = settings.inbound
        self._tells = own.deadline_header is not None
        self._nodes = {
            endpoint.url: Node(
                [step.begin for step in self._steps],
                [step.nodes[place] for step in self._steps],
                random.Random(f"{seed} node {place}"),
            )
            for place, endpoint in enumerate(own.endpoints)
        }
        self._by_url = {url: node.take for url, node in self._nodes.items()}
        self._world = World(
            self._name, own, self._respond, zone=settings.zone, clients=scenario.clients, enabled=settings.enabled,
            seed=seed, on_change=self._note_circuits,
        )  # fmt: skip
        self._circuits = [
            member.circuit
            for each in self._world.upstreams
            for member in each.endpoints.members
            if member.circuit is not None
        ]
        self._slice = Slice(0.0, 0.0)
        self._not_closed, self._noted_at = 0, 0.0

    def result(self, progress: Progress | None) -> Result:
        phases = [self._phase(step, progress) for step in self._steps]
        self._world.port.run(until=self._steps[-1].end + DRAINED)
        slices = [one for phase in phases for one in phase]
        named = list(zip(self._steps, phases, strict=True))
        return Result(
            upstream=self._name,
            title=self._scenario.title,
            seed=self._seed,
            clients=self._scenario.clients,
            nodes=tuple(self._nodes),
            left_out=self._left_out,
            phases=tuple(Figures.of(step.name, own) for step, own in named),
            total=Figures.of("all", slices),
            series=tuple(Figures.of(step.name, [one]) for step, own in named for one in own),
            decisions=self._decisions(),
        )

    def _phase(self, step: Step, progress: Progress | None) -> list[Slice]:
        port, arrivals = self._world.port, self._arrivals(step)
        made = _caller(self._inbound, step.deadline)
        slices, next_call = [], next(arrivals)
        for begin, end in _slices(step, self._steps[-1].end):
            self._slice = current = Slice(begin, end)
            slices.append(current)
            while next_call is not None and next_call[0] < end:
                at, upstream, method = next_call
                current.made += 1
                port.start(self._call(upstream, method, current, *made), at=at)
                next_call = next(arrivals, None)
            port.run(until=end)
            self._note_circuits(end)
            self._look(current)
            if progress is not None:
                progress(end / self._steps[-1].end)
        return slices

    def _arrivals(self, step: Step) -> Iterator[tuple[float, Upstream, str] | None]:
        """When the calls of a phase are made, by whom, and how; of no phase more than is asked for."""
        rng = random.Random(f"{self._seed} {step.begin}")
        upstreams, clients = self._world.upstreams, self._scenario.clients
        at, gap, number = step.begin, 1.0 / step.rate, 0
        while True:
            at += gap if step.constant else rng.expovariate(step.rate)
            if at >= step.end:
                yield None
                return
            number += 1
            client = (
                upstreams[0]
                if clients == 1
                else upstreams[number % clients if step.constant else rng.randrange(clients)]
            )
            yield at, client, "POST" if step.writes and rng.random() < step.writes else "GET"

    async def _call(self, upstream: Upstream, method: str, made_in: Slice, deadline: float, budget: float) -> None:
        world = self._world
        call = world.open_call(upstream, method, budget=budget, owner=made_in)
        kind, reply = FAILED, None
        try:
            reply = await upstream.pipeline.run(call)
        except Refused:
            kind = REFUSED
        except DeadlineExceeded:
            kind = EXCEEDED
        except SimulatedFailure:
            pass
        took = world.port.now() - call.started
        if reply is not None and reply.status_code < 400:
            if took > deadline:
                kind = LATE
            elif isinstance(reply, NodeReply):
                kind = GOOD
                made_in.useful += reply.work
            else:
                kind = FALLBACK
        made_in.kinds[kind] += 1
        made_in.waited.add(min(deadline, took))

    def _respond(self, attempt: Attempt, now: float) -> tuple[float, SimulatedReply | Fault]:
        told = attempt.expires if self._tells else math.inf
        delay, reply, work = self._by_url[attempt.chosen.url](now, told)
        made_in: Any = attempt.call.owner  # the slice
        if reply is not Fault.UNREACHABLE:
            made_in.sent += 1
            made_in.work += work
        delay, answer = within_limits(attempt, delay, reply)
        return (NEVER if delay == math.inf else delay), answer

    def _note_circuits(self, now: float | None = None) -> None:
        """A circuit has changed: what was till now counts."""
        if not self._circuits:
            return
        now = self._world.port.now() if now is None else now
        self._slice.opened += self._not_closed * (now - self._noted_at) / len(self._circuits)
        self._noted_at = now
        self._not_closed = sum(not circuit.closed for circuit in self._circuits)

    def _look(self, current: Slice) -> None:
        upstreams, now = self._world.upstreams, current.end
        current.in_flight = sum(upstream.limit.in_flight for upstream in upstreams)
        current.waiting = sum(node.waiting(now) for node in self._nodes.values())
        tokens = [upstream.budget.tokens(now) for upstream in upstreams if upstream.budget is not None]
        current.tokens = sum(tokens) / len(tokens) if tokens else None

    def _decisions(self) -> dict[str, dict[str, int]]:
        found: dict[str, Counter[str]] = {"retries": Counter(), "hedges": Counter(), "refusals": Counter()}
        for upstream in self._world.upstreams:
            found["retries"].update(upstream.record.repeats.as_dict())
            found["hedges"].update(upstream.record.hedges.as_dict())
            found["refusals"].update(upstream.record.refusals.as_dict())
        return {name: dict(sorted(counts.items())) for name, counts in found.items()}


def _caller(inbound: InboundSettings, deadline: float | None) -> tuple[float, float]:
    """How long a caller waits, and what a call for it is given: what the inbound settings make of that."""
    headers = {}
    if deadline is not None and inbound.deadline_headers:
        known = inbound.deadline_headers[0]
        headers[known.name] = write_timeout(deadline, known.unit)
    granted = Inbound(inbound).arrive(headers.get, None).scope.deadline
    return math.inf if deadline is None else deadline, math.inf if granted is None else granted.budget


def _slices(step: Step, duration: float) -> Iterator[tuple[float, float]]:
    seconds = step.end - step.begin
    count = max(1, min(round(SLICES * seconds / duration), int(seconds / SHORTEST)))
    edges = [step.begin + seconds * number / count for number in range(count)]
    yield from zip(edges, [*edges[1:], step.end], strict=True)
