"""The circuit against a naive reference that keeps everything and computes the laws anew at each step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.state.circuits import OUTCOMES, Clock, circuit_of


class Reference:
    """What a circuit should do, as slowly and plainly as possible."""

    def __init__(self, probes: int, successes: int, failures: int | None, slow_rate: float | None) -> None:
        self.max_probes, self.successes = probes, successes
        self.failures, self.slow_rate = failures, slow_rate
        self.mode = "closed"
        self.period = 0  # counts the changes: results of an earlier period are late
        self.outcomes: list[tuple[float, str, bool]] = []  # of this closed period
        self.probes: dict[int, float] = {}  # ticket -> end of its lease
        self.good = self.slow = 0
        self.tickets = 0
        self.rest = 5.0
        self.opens_at = 0.0
        self.closed_at: float | None = None

    def change(self, mode: str) -> None:
        self.mode = mode
        self.period += 1
        self.outcomes, self.probes, self.good, self.slow = [], {}, 0, 0

    def close(self, now: float, mode: str = "closed") -> None:
        self.change(mode)
        self.closed_at = now

    def trip(self, now: float, mode: str = "open") -> None:
        if self.mode in ("closed", "forced closed", "disabled") and (
            self.closed_at is None or now - self.closed_at >= 60
        ):
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

    def record(self, ticket: int, period: int, outcome: str, slow: bool, now: float) -> None:
        if period != self.period or self.mode == "disabled":
            return
        if self.mode == "half-open":
            self.probes.pop(ticket, None)
            if outcome == "N":
                return
            self.good += 1
            self.slow += slow
            if outcome != "S":
                self.trip(now)
            elif self.good == self.successes:
                self.trip(now) if self.too_slow(self.slow, self.good) else self.close(now)
        elif outcome != "N":
            self.outcomes.append((now, outcome, slow))
            if self.mode == "closed" and (outcome != "S" or slow) and self.failing(now):
                self.trip(now)

    def failing(self, now: float) -> bool:
        newest = self.outcomes[-1][1]
        window = [(outcome, slow) for at, outcome, slow in self.outcomes[-100:] if at >= now - 30.0]
        bad = sum(outcome != "S" for outcome, _ in window)
        if len(window) >= 20 and self.too_slow(sum(slow for _, slow in window), len(window)):
            return True
        if newest == "S":
            return False
        if len(window) >= 20 and 2 * bad >= len(window):
            return True
        lately = sum(outcome != "S" for at, outcome, _ in self.outcomes if at >= now - 30.0)
        if self.failures is not None and lately >= self.failures:
            return True
        streak = "".join(outcome for _, outcome, _ in self.outcomes if outcome != "E").rpartition("S")[2]
        return newest != "E" and len(streak) >= (10 if len(window) >= 20 else 5)

    def too_slow(self, slow: int, known: int) -> bool:
        return self.slow_rate is not None and slow > 0 and slow >= self.slow_rate * known

    def retry_in(self, now: float) -> float | None:
        if self.mode == "forced open":
            return None
        if self.mode == "open":
            return max(0.0, self.opens_at - now)
        live = [end for end in self.probes.values() if end > now]
        return min(live) - now if len(live) == self.max_probes else 0.0


class CircuitMachine(RuleBasedStateMachine):
    """Any order of attempts, results, waits and switches."""

    @initialize(
        probes=st.integers(1, 3),
        successes=st.integers(1, 3),
        failures=st.sampled_from([None, None, 4, 7]),
        slow_rate=st.sampled_from([None, None, 0.5, 1.0]),
    )
    def begin(self, probes, successes, failures, slow_rate):
        self.clock = Clock()
        slow = {} if slow_rate is None else {"slow_after": 1.0, "slow_rate": slow_rate}
        self.circuit = circuit_of(self.clock, probes=probes, successes=successes, failures=failures, **slow)
        self.reference = Reference(probes, successes, failures, slow_rate)
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
    @rule(which=st.integers(0, 10**6), outcome=st.sampled_from("SEFUN"), slow=st.booleans())
    def record(self, which, outcome, slow):
        permit, ticket = self.under_way.pop(which % len(self.under_way))
        self.circuit.record(permit, OUTCOMES[outcome], self.clock.now, took=1.5 if slow else 1.0)
        self.reference.record(*ticket, outcome, slow, self.clock.now)

    @rule(
        outcomes=st.text("SSFFFFEN", min_size=1, max_size=25),
        slow=st.booleans(),
        pause=st.sampled_from([0.0, 0.25, 2.0]),
    )
    def attempts(self, outcomes, slow, pause):
        for outcome in outcomes:
            self.acquire()
            if self.under_way:
                self.record(len(self.under_way) - 1, outcome, slow)
            self.clock.now += pause
            self.agree()

    @rule(switch=st.sampled_from(["open", "half_open", "close", "force_open", "force_close", "disable"]))
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
            case "force_close":
                reference.close(now, "forced closed")
            case "disable":
                reference.close(now, "disabled")

    @invariant()
    def agree(self):
        now, circuit, reference = self.clock.now, self.circuit, self.reference
        assert circuit.mode == reference.mode
        assert circuit.retry_in(now) == reference.retry_in(now)
        assert circuit.admits(now) == (reference.retry_in(now) == 0)
        assert circuit.closed == (reference.mode in ("closed", "forced closed", "disabled"))


CircuitMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCircuitMachine = CircuitMachine.TestCase
