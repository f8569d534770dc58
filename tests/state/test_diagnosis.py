"""The diagnosis: rules that are off by default, rules that are switched off, and the classic rules of others."""

from __future__ import annotations

import pytest

from resilient_http.state.circuit import Circuit
from resilient_http.state.diagnosis import Cause, CircuitRules, Diagnosis
from resilient_http.state.outcome import Outcome
from tests.state.circuits import Clock, circuit_of, feed, probe

SLOW = {"slow_after": 1.0, "slow_rate": 0.5, "min_calls": 4}


def slowly(circuit, outcomes, *, now=0.0):
    """As feed(); upper case took two seconds, lower case none. How many it took to open the circuit, or None."""
    for count, letter in enumerate(outcomes, 1):
        permit = circuit.acquire(now)
        outcome = Outcome.SUCCESS if letter in "Ss" else Outcome.FAILURE
        circuit.record(permit, outcome, now, took=2.0 if letter.isupper() else 0.0)
        if circuit.current_state == "open":
            return count
    return None


# Slow calls


def test_it_opens_when_half_of_the_calls_are_slow():
    circuit = circuit_of(**SLOW)
    assert slowly(circuit, "ssSSssS") == 4
    assert circuit.cause is Cause.SLOW


def test_slow_calls_are_nothing_by_default():
    assert slowly(circuit_of(), "S" * 100) is None


def test_it_believes_no_rate_of_slow_calls_before_min_calls():
    assert slowly(circuit_of(**SLOW), "SSS") is None


def test_as_slow_as_the_limit_is_not_slow():
    circuit = circuit_of(**SLOW)
    for _ in range(20):
        circuit.record(circuit.acquire(0.0), Outcome.SUCCESS, 0.0, took=1.0)
    assert circuit.closed


def test_slow_calls_are_forgotten_with_the_window():
    circuit = circuit_of(**SLOW)
    assert slowly(circuit, "sSS", now=0.0) is None
    assert slowly(circuit, "ssS", now=30.1) is None


def test_slow_calls_leave_the_window_by_its_size():
    circuit = circuit_of(**SLOW, window=4)
    assert slowly(circuit, "Ssss" * 20) is None


def test_a_slow_success_ends_a_streak():
    assert slowly(circuit_of(slow_after=1.0), "ffffS" * 3) is None


def test_a_slow_failure_is_slow_too():
    rules = {**SLOW, "failure_rate": None, "streak": None, "quiet_streak": None}
    circuit = circuit_of(**rules)
    assert slowly(circuit, "ssFF") == 4
    assert circuit.cause is Cause.SLOW


def test_slow_probes_open_it_again():
    circuit = circuit_of(**SLOW)
    assert slowly(circuit, "SSSS") == 4
    assert slowly(circuit, "sS", now=5.0) == 2
    assert circuit.retry_in(5.0) == 10.0
    assert circuit.cause is Cause.SLOW
    assert slowly(circuit, "ss", now=15.0) is None
    assert circuit.closed


def test_a_share_of_slow_probes_below_the_rate_closes_it():
    circuit = circuit_of(**{**SLOW, "slow_rate": 1.0})
    assert slowly(circuit, "SSSS") == 4
    assert slowly(circuit, "sS", now=5.0) is None
    assert circuit.closed


# A number of failures within the span, as nginx counts


def test_so_many_failures_within_the_span_open_it_however_many_succeeded():
    circuit = circuit_of(failures=3, window_span=10.0)
    assert feed(circuit, "F" + "S" * 1000, now=0.0) is None
    assert feed(circuit, "F" + "S" * 1000, now=5.0) is None
    assert feed(circuit, "E", now=10.0) == 1
    assert circuit.cause is Cause.FAILURES


def test_failures_further_apart_do_not():
    circuit = circuit_of(failures=3, window_span=10.0)
    assert [feed(circuit, "FS", now=5.5 * number) for number in range(20)] == [None] * 20


def test_a_closed_circuit_has_forgotten_the_failures():
    circuit = circuit_of(failures=2, successes=1, open_for=0.5, calm_after=0.1)
    assert feed(circuit, "FF") == 2
    probe(circuit, "S", now=0.5)
    assert feed(circuit, "FS", now=0.5) is None


# Rules that are switched off


def test_without_a_rate_only_streaks_open_it():
    assert feed(circuit_of(failure_rate=None), "EFS" * 90) is None
    assert feed(circuit_of(failure_rate=None), "FS" * 500) is None
    assert feed(circuit_of(failure_rate=None), "F" * 20) == 5


def test_without_streaks_only_the_rate_opens_it():
    assert feed(circuit_of(streak=None, quiet_streak=None), "F" * 30) == 20
    assert feed(circuit_of(streak=None), "S" * 90 + "F" * 60) == 140
    assert feed(circuit_of(quiet_streak=None), "F" * 19) is None


# What others do by default


NGINX = {  # max_fails=1 fail_timeout=10s
    "failure_rate": None, "streak": None, "quiet_streak": None, "failures": 1, "window_span": 10.0, "open_for": 10.0,
    "max_open_for": 10.0, "jitter": 0.0, "probes": 1, "successes": 1, "lease": 10.0,
}  # fmt: skip
RESILIENCE4J = {
    "failure_rate": 0.5, "streak": None, "quiet_streak": None, "min_calls": 100, "window": 100, "window_span": 604800.0,
    "slow_after": 60.0, "slow_rate": 1.0, "open_for": 60.0, "max_open_for": 60.0, "jitter": 0.0, "probes": 10,
    "successes": 10,
}  # fmt: skip
CLASSIC = {  # 5 in a row, 10 s, one probe
    "failure_rate": None, "streak": 5, "quiet_streak": 5, "open_for": 10.0, "max_open_for": 10.0, "jitter": 0.0,
    "probes": 1, "successes": 1,
}  # fmt: skip


def test_nginxs_rule():
    circuit = circuit_of(**NGINX)
    assert feed(circuit, "SSSSF" * 5) == 5
    for turn in range(1, 5):  # down for fail_timeout each time, never longer
        assert circuit.acquire(10.0 * turn - 0.1) is None
        probe(circuit, "F", now=10.0 * turn)
    probe(circuit, "S", now=50.0)
    assert circuit.closed


def test_resilience4js_rule():
    circuit = circuit_of(**RESILIENCE4J)
    assert feed(circuit, "SF" * 49 + "S") is None
    assert feed(circuit, "F") == 1
    assert circuit.acquire(59.9) is None
    permits = [circuit.acquire(60.0) for _ in range(11)]
    assert [permit is not None for permit in permits] == [True] * 10 + [False]
    for permit in permits[:10]:
        circuit.record(permit, Outcome.SUCCESS, 60.0)
    assert circuit.closed


def test_five_in_a_row_ten_seconds_one_probe():
    circuit = circuit_of(**CLASSIC)
    assert feed(circuit, "S" * 90 + "FFFFS" + "F" * 5) == 100
    assert circuit.retry_in(0.0) == 10.0
    assert circuit.acquire(10.0) is not None
    assert circuit.acquire(10.0) is None


def test_the_same_outcomes_under_either_rule():
    outcomes = "SSSF" * 50
    opened = {name: feed(circuit_of(**rules), outcomes) for name, rules in (("nginx", NGINX), ("r4j", RESILIENCE4J))}
    assert opened == {"nginx": 4, "r4j": None}


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_the_jitter_is_a_number(jitter):

    rests = []
    for _ in range(200):
        circuit = Circuit(rules=CircuitRules(jitter=jitter), clock=Clock())
        circuit.open()
        rests.append(circuit.rest)
    assert min(rests) >= 5.0 * (1 - jitter)
    assert max(rests) <= 5.0 * (1 + jitter)
    assert max(rests) - min(rests) >= 5.0 * jitter


def test_what_is_cleared_is_forgotten():
    diagnosis = Diagnosis(CircuitRules(failures=3, quiet_streak=3))
    for _ in range(2):
        diagnosis.add(0.0, Outcome.FAILURE)
    diagnosis.clear()
    assert diagnosis.add(0.0, Outcome.FAILURE) is Cause.NONE


# Observing, and switches


def test_an_observing_circuit_refuses_nobody_and_counts_whom_it_would_have():
    circuit = circuit_of(observe=True)
    assert feed(circuit, "F" * 5) == 5
    permits = [circuit.acquire(1.0) for _ in range(3)]
    assert all(permit.refused for permit in permits)
    assert circuit.observed == 3
    for permit in permits:  # would not have been made, so they do not count
        circuit.record(permit, Outcome.SUCCESS, 1.0)
    assert circuit.current_state == "open"
    first, second = circuit.acquire(5.0), circuit.acquire(5.0)
    assert (first.probe, second.probe) == (True, False)
    assert not first.refused
    assert second.refused


def test_what_a_person_forces_open_is_open_though_it_observes():
    circuit = circuit_of(observe=True)
    circuit.force_open()
    assert circuit.acquire(0.0) is None
    assert circuit.observed == 0


def test_a_circuit_that_is_forced_closed_admits_all_counts_and_never_opens():
    circuit = circuit_of()
    circuit.force_close()
    assert feed(circuit, "F" * 100) is None
    assert circuit.mode == "forced closed"
    assert circuit.retry_in(0.0) == 0.0
    circuit.close()
    assert circuit.mode == "closed"
    assert feed(circuit, "F" * 5) == 5
    circuit.force_close()
    assert circuit.closed
