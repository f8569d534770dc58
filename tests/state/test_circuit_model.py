"""The circuit against a naive reference that keeps everything and computes the laws anew at each step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.state.circuits import OUTCOMES, Clock, circuit_of


class Reference:
    """What a circuit should do, as slowly and plainly as possible."""

    def __init__(self, probes: int, successes: int) -> None:
        self.max_probes, self.successes = probes, successes
        self.mode = "closed"
        self.period = 0  # counts the changes: results of an earlier period are late
        self.outcomes: list[tuple[float, str]] = []  # of this closed period
        self.probes: dict[int, float] = {}  # ticket -> end of its lease
        self.good = 0
        self.tickets = 0
        self.rest = 5.0
        self.opens_at = 0.0
        self.closed_at: float | None = None

    def change(self, mode: str) -> None:
        self.mode = mode
        self.period += 1
        self.outcomes, self.probes, self.good = [], {}, 0

    def close(self, now: float, mode: str = "closed") -> None:
        self.change(mode)
        self.closed_at = now

    def trip(self, now: float, mode: str = "open") -> None:
        if self.mode in ("closed", "disabled") and (self.closed_at is None or now - self.closed_at >= 60):
            self.rest = 5.0
        self.opens_at = now + self.rest
        self.rest = min(60.0, 2 * self.rest)
        self.change(mode)

    def acquire(self, now: float) -> tuple[int, int] | None:
        """A ticket and its period, or None."""
        if self.mode == "forced open" or (self.mode == "open" and now < self.opens_at):
            return None
        if self.mode == "open":
            self.change("half-open")
        self.tickets += 1
        if self.mode == "half-open":
            self.probes = {ticket: end for ticket, end in self.probes.items() if end > now}
            if len(self.probes) == self.max_probes:
                return None
            self.probes[self.tickets] = now + 10.0
        return self.tickets, self.period

    def record(self, ticket: int, period: int, outcome: str, now: float) -> None:
        if period != self.period or self.mode == "disabled":
            return
        if self.mode == "half-open":
            self.probes.pop(ticket, None)
            if outcome == "N":
                return
            self.good += 1
            if outcome != "S":
                self.trip(now)
            elif self.good == self.successes:
                self.close(now)
        elif outcome != "N":
            self.outcomes.append((now, outcome))
            if outcome != "S" and self.failing(now):
                self.trip(now)

    def failing(self, now: float) -> bool:
        window = [outcome for at, outcome in self.outcomes[-100:] if at >= now - 30.0]
        if len(window) >= 20 and 2 * sum(outcome != "S" for outcome in window) >= len(window):
            return True
        streak = "".join(outcome for _, outcome in self.outcomes if outcome != "E").rpartition("S")[2]
        return self.outcomes[-1][1] != "E" and len(streak) >= (10 if len(window) >= 20 else 5)

    def retry_in(self, now: float) -> float | None:
        if self.mode == "forced open":
            return None
        if self.mode == "open":
            return max(0.0, self.opens_at - now)
        live = [end for end in self.probes.values() if end > now]
        return min(live) - now if len(live) == self.max_probes else 0.0


class CircuitMachine(RuleBasedStateMachine):
    """Any order of attempts, results, waits and switches."""

    @initialize(probes=st.integers(1, 3), successes=st.integers(1, 3))
    def begin(self, probes, successes):
        self.clock = Clock()
        self.circuit = circuit_of(self.clock, probes=probes, successes=successes)
        self.reference = Reference(probes, successes)
        self.under_way = []

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 4.75, 5.0, 9.75, 10.0, 29.75, 30.0, 60.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @rule()
    def acquire(self):
        permit, ticket = self.circuit.acquire(self.clock.now), self.reference.acquire(self.clock.now)
        assert (permit is None) == (ticket is None)
        if permit is not None:
            self.under_way.append((permit, ticket))

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 10**6), outcome=st.sampled_from("SEFUN"))
    def record(self, which, outcome):
        permit, ticket = self.under_way.pop(which % len(self.under_way))
        self.circuit.record(permit, OUTCOMES[outcome], self.clock.now)
        self.reference.record(*ticket, outcome, self.clock.now)

    @rule(outcomes=st.text("SSFFFFEN", min_size=1, max_size=25), pause=st.sampled_from([0.0, 0.25, 2.0]))
    def attempts(self, outcomes, pause):
        for outcome in outcomes:
            self.acquire()
            if self.under_way:
                self.record(len(self.under_way) - 1, outcome)
            self.clock.now += pause
            self.agree()

    @rule(switch=st.sampled_from(["open", "half_open", "close", "force_open", "disable"]))
    def switch(self, switch):
        getattr(self.circuit, switch)()
        reference, now = self.reference, self.clock.now
        match switch:
            case "open":
                reference.trip(now)
            case "half_open":
                reference.change("half-open")
            case "close":
                reference.close(now)
            case "force_open":
                reference.trip(now, "forced open")
            case "disable":
                reference.close(now, "disabled")

    @invariant()
    def agree(self):
        now, circuit, reference = self.clock.now, self.circuit, self.reference
        assert circuit.mode == reference.mode
        assert circuit.retry_in(now) == reference.retry_in(now)
        assert circuit.admits(now) == (reference.retry_in(now) == 0)
        assert circuit.closed == (reference.mode in ("closed", "disabled"))


CircuitMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCircuitMachine = CircuitMachine.TestCase
