"""Circuits to test: without jitter, on a clock that is set by hand, fed with strings of outcomes."""

from __future__ import annotations

import random
from typing import Any

from resilient_http.state.circuit import Circuit
from resilient_http.state.diagnosis import CircuitRules
from resilient_http.state.outcome import Outcome

OUTCOMES = {
    "S": Outcome.SUCCESS,
    "E": Outcome.ERROR,
    "F": Outcome.FAILURE,
    "U": Outcome.UNANSWERED,
    "N": Outcome.NEUTRAL,
}


class Steady(random.Random):
    """Randomness without jitter: always the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Clock:
    """Monotonic seconds, set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def circuit_of(clock: Clock | None = None, *, listeners: Any = (), **rules: Any) -> Circuit:
    """A closed circuit without jitter."""
    name = "payments at http://10.0.0.1:8080"
    return Circuit(name, CircuitRules(**rules), rng=Steady(), clock=clock or Clock(), listeners=listeners)


def feed(circuit: Circuit, outcomes: str, *, now: float = 0.0) -> int | None:
    """One attempt after the other, all at one instant. How many it took to open the circuit, or None."""
    for count, letter in enumerate(outcomes, 1):
        permit = circuit.acquire(now)
        assert permit is not None, f"refused before attempt {count}"
        circuit.record(permit, OUTCOMES[letter], now)
        if circuit.current_state == "open":
            return count
    return None


def opened(clock: Clock | None = None, *, now: float = 0.0, **rules: Any) -> Circuit:
    """A circuit that opened by its rule at `now`, so its first probe is due 5 s later."""
    circuit = circuit_of(clock, **rules)
    assert feed(circuit, "F" * 5, now=now) == 5
    return circuit


def probe(circuit: Circuit, letter: str, *, now: float) -> None:
    """One probe and its outcome."""
    permit = circuit.acquire(now)
    assert permit is not None, "no probe was let through"
    assert permit.probe
    circuit.record(permit, OUTCOMES[letter], now)
