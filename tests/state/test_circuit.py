"""The circuit: its rule row by row, its transitions, its probes, late results, and the switches for people."""

from __future__ import annotations

import random
import threading

import pybreaker
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.circuit import Circuit
from resilient_http.state.diagnosis import CircuitRules
from resilient_http.state.outcome import Outcome
from resilient_http.upstreams.nodes import circuit_rules
from tests.builds import as_it_stands
from tests.state.circuits import Clock, circuit_of, feed, opened, probe

# The rule: half of the newest 100 within 30 s, of at least 20


def test_it_opens_when_half_of_twenty_failed():
    assert feed(circuit_of(), "SF" * 10) == 20


def test_it_does_not_believe_a_rate_of_nineteen():
    assert feed(circuit_of(), "FS" * 9 + "F") is None


def test_it_stays_closed_below_the_half():
    assert feed(circuit_of(), "SFS" * 1000) is None


def test_a_success_never_opens_it():
    circuit = circuit_of()
    assert feed(circuit, "FS" * 10) is None  # half of twenty failed, but the newest is good
    assert feed(circuit, "F") == 1


def test_the_rate_is_that_of_the_newest_hundred():
    # Three of four fail after a hundred good ones: 50 of the newest 100 have failed after 66 more.
    assert feed(circuit_of(), "S" * 100 + "FFFS" * 25) == 166


def test_outcomes_older_than_thirty_seconds_are_forgotten():
    circuit = circuit_of()
    assert feed(circuit, "FS" * 9 + "S", now=0.0) is None
    assert feed(circuit, "FS" * 9 + "F", now=30.1) is None


def test_outcomes_of_thirty_seconds_ago_still_count():
    circuit = circuit_of()
    assert feed(circuit, "FS" * 9, now=0.0) is None
    assert feed(circuit, "SF", now=30.0) == 2


# The rule: ten in a row, or five while fewer than twenty are known


def test_ten_failures_in_a_row_open_a_busy_circuit():
    assert feed(circuit_of(), "S" * 80 + "F" * 20) == 90


def test_nine_in_a_row_do_not():
    assert feed(circuit_of(), "S" * 80 + "FFFFFFFFFS" * 3) is None


@pytest.mark.parametrize("outcome", ["F", "U"])
def test_five_failures_in_a_row_open_a_quiet_circuit(outcome):
    assert feed(circuit_of(), outcome * 20) == 5


def test_four_in_a_row_do_not():
    assert feed(circuit_of(), "FFFFS" * 3) is None


def test_it_is_quiet_with_nineteen_known_and_busy_with_twenty():
    assert feed(circuit_of(), "S" * 14 + "F" * 5) == 19
    assert feed(circuit_of(), "S" * 15 + "F" * 5) is None


def test_it_is_quiet_again_when_the_busy_time_is_thirty_seconds_ago():
    circuit = circuit_of()
    assert feed(circuit, "S" * 100, now=0.0) is None
    assert feed(circuit, "F" * 10, now=31.0) == 5


def test_failures_in_a_row_may_be_far_apart():
    circuit = circuit_of()
    assert [feed(circuit, "F", now=60.0 * minute) for minute in range(5)] == [None, None, None, None, 1]


# The rule: 500 counts for the rate, not for the streak


def test_a_few_500s_in_a_row_do_not_open_a_quiet_circuit():
    assert feed(circuit_of(), "E" * 19) is None


def test_500s_open_it_by_their_rate():
    assert feed(circuit_of(), "E" * 20) == 20
    assert feed(circuit_of(), "S" * 80 + "E" * 100) == 130  # fifty of the newest hundred


def test_a_500_neither_lengthens_nor_breaks_a_streak():
    assert feed(circuit_of(), "FEFEFEFEF") == 9


def test_a_500_does_not_open_it_by_a_streak_that_others_made():
    circuit = circuit_of()
    assert feed(circuit, "S" * 20 + "F" * 9, now=0.0) is None  # too few in a row while it is busy
    assert feed(circuit, "E", now=40.0) is None  # it is quiet now, but the 500 is no failure in a row
    assert feed(circuit, "F", now=40.0) == 1


# What does not count


def test_neutral_outcomes_count_for_nothing():
    circuit = circuit_of()
    assert feed(circuit, "N" * 1000) is None
    assert feed(circuit, "FNNNFNNNFNNNFNNN") is None  # they neither break the streak
    assert feed(circuit, "F") == 1


# Open


def test_an_open_circuit_refuses_and_says_for_how_long():
    circuit = opened(now=100.0)
    assert circuit.acquire(100.0) is None
    assert circuit.retry_in(100.0) == 5.0
    assert circuit.acquire(104.9) is None
    assert circuit.retry_in(104.0) == 1.0
    assert not circuit.admits(104.9)
    assert not circuit.closed


def test_a_closed_circuit_admits():
    circuit = circuit_of()
    assert circuit.closed
    assert circuit.admits(0.0)
    assert circuit.retry_in(0.0) == 0.0


def test_a_probe_is_let_through_when_the_rest_is_over():
    circuit = opened(now=100.0)
    assert circuit.admits(105.0)
    assert circuit.retry_in(105.0) == 0.0
    assert circuit.current_state == "open"  # asking changes nothing
    assert circuit.acquire(105.0) is not None
    assert circuit.current_state == "half-open"


def test_it_rests_five_seconds_and_twice_as_long_after_each_failed_probe_up_to_a_minute():
    circuit, now, rests = opened(), 0.0, []
    for _ in range(7):
        rests.append(circuit.rest)
        assert circuit.retry_in(now) == circuit.rest
        now += circuit.rest
        probe(circuit, "U", now=now)
    assert rests == [5, 10, 20, 40, 60, 60, 60]


def reopened(*, closed_for: float) -> Circuit:
    """A circuit that rested 5 s, then 10 s, was closed for so long, and opened again."""
    circuit = opened()
    probe(circuit, "F", now=5.0)
    probe(circuit, "S", now=15.0)
    probe(circuit, "S", now=15.0)
    assert circuit.current_state == "closed"
    assert feed(circuit, "F" * 5, now=15.0 + closed_for) == 5
    return circuit


def test_it_goes_on_doubling_when_it_reopens_within_a_minute():
    assert reopened(closed_for=59.9).rest == 20


def test_it_begins_anew_after_a_minute_closed():
    assert reopened(closed_for=60.0).rest == 5


@given(st.integers(0, 10**6))
def test_the_rest_is_jittered_by_a_fifth(seed):
    circuit = Circuit(rng=random.Random(seed), clock=Clock())
    feed(circuit, "F" * 5)
    assert 4.0 <= circuit.rest <= 6.0
    assert circuit.retry_in(0.0) == circuit.rest


def test_processes_do_not_probe_in_step():
    rests = set()
    for seed in range(100):
        circuit = Circuit(rng=random.Random(seed), clock=Clock())
        feed(circuit, "F" * 5)
        rests.add(circuit.rest)
    assert len(rests) == 100
    assert max(rests) - min(rests) > 1.8


# Half open


def test_of_twenty_callers_at_half_open_one_gets_through():
    circuit = opened()
    assert sum(circuit.acquire(5.0) is not None for _ in range(20)) == 1


def test_two_good_probes_close_it():
    circuit = opened()
    probe(circuit, "S", now=5.0)
    assert circuit.current_state == "half-open"
    probe(circuit, "S", now=5.0)
    assert circuit.current_state == "closed"
    assert all(circuit.acquire(5.0) is not None for _ in range(20))


@pytest.mark.parametrize("outcome", ["E", "F", "U"])
def test_a_failed_probe_opens_it_again(outcome):
    circuit = opened()
    probe(circuit, "S", now=5.0)
    probe(circuit, outcome, now=5.0)
    assert circuit.current_state == "open"
    assert circuit.retry_in(5.0) == 10.0


def test_good_probes_of_an_earlier_time_do_not_count():
    circuit = opened()
    probe(circuit, "S", now=5.0)
    probe(circuit, "F", now=5.0)
    probe(circuit, "S", now=15.0)
    assert circuit.current_state == "half-open"


def test_a_neutral_probe_gives_its_lease_back_at_once():
    circuit = opened()
    for _ in range(100):
        probe(circuit, "N", now=5.0)
    assert circuit.current_state == "half-open"
    probe(circuit, "S", now=5.0)
    probe(circuit, "N", now=5.0)
    probe(circuit, "S", now=5.0)
    assert circuit.current_state == "closed"


def test_a_probe_that_never_reports_blocks_nobody_after_its_lease():
    circuit = opened()
    assert circuit.acquire(5.0) is not None
    assert circuit.retry_in(8.0) == 7.0
    assert circuit.acquire(14.9) is None
    assert circuit.retry_in(15.0) == 0.0
    assert circuit.acquire(15.0) is not None
    assert circuit.acquire(15.0) is None


def test_a_good_probe_that_reports_after_its_lease_still_counts():
    circuit = opened()
    late = circuit.acquire(5.0)
    other = circuit.acquire(15.0)
    circuit.record(late, Outcome.SUCCESS, 16.0)
    assert circuit.current_state == "half-open"
    assert circuit.acquire(16.0) is None  # the other one's lease is untouched
    circuit.record(other, Outcome.SUCCESS, 17.0)
    assert circuit.current_state == "closed"


def test_a_failed_probe_that_reports_after_its_lease_still_opens_it():
    circuit = opened()
    late = circuit.acquire(5.0)
    other = circuit.acquire(15.0)
    circuit.record(late, Outcome.FAILURE, 16.0)
    assert circuit.retry_in(16.0) == 10.0
    circuit.record(other, Outcome.SUCCESS, 17.0)
    assert circuit.retry_in(17.0) == 9.0


def test_a_neutral_probe_that_reports_after_its_lease_frees_nobody_elses():
    circuit = opened()
    late = circuit.acquire(5.0)
    assert circuit.acquire(15.0) is not None
    circuit.record(late, Outcome.NEUTRAL, 16.0)
    assert circuit.acquire(16.0) is None


def test_an_endpoint_slower_than_the_lease_is_closed_all_the_same():
    circuit, now = opened(), 5.0
    for _ in range(2):
        slow = circuit.acquire(now)
        now += 30.0
        circuit.record(slow, Outcome.SUCCESS, now)
    assert circuit.current_state == "closed"


def test_as_many_probes_as_the_rules_say():
    circuit = opened(probes=3, successes=3)
    permits = [circuit.acquire(5.0) for _ in range(5)]
    assert [permit is not None for permit in permits] == [True, True, True, False, False]
    for permit in permits[:3]:
        assert circuit.current_state == "half-open"
        circuit.record(permit, Outcome.SUCCESS, 5.0)
    assert circuit.current_state == "closed"


# Late results


def test_a_late_success_does_not_close_an_open_circuit():
    circuit = circuit_of()
    late = circuit.acquire(0.0)
    feed(circuit, "F" * 5)
    circuit.record(late, Outcome.SUCCESS, 0.0)
    assert circuit.current_state == "open"


def test_successes_of_before_it_was_closed_by_hand_are_forgotten():
    circuit = circuit_of()
    feed(circuit, "SSSSS")
    circuit.close()
    assert max(circuit.evidence()) == float("-inf")
    feed(circuit, "S")
    assert circuit.evidence() == (0.0, float("-inf"))


def test_a_late_failure_does_not_make_the_rest_longer():
    circuit = circuit_of()
    late = [circuit.acquire(0.0) for _ in range(10)]
    feed(circuit, "F" * 5)
    for permit in late:
        circuit.record(permit, Outcome.FAILURE, 4.0)
    assert circuit.retry_in(4.0) == 1.0


def test_late_results_do_not_decide_for_a_probe():
    circuit = circuit_of()
    late = [circuit.acquire(0.0) for _ in range(20)]
    feed(circuit, "F" * 5)
    assert circuit.acquire(5.0) is not None
    for permit in late[:10]:
        circuit.record(permit, Outcome.FAILURE, 5.0)
    for permit in late[10:]:
        circuit.record(permit, Outcome.SUCCESS, 5.0)
    assert circuit.current_state == "half-open"
    assert circuit.acquire(5.0) is None


def test_late_failures_do_not_reopen_a_circuit_that_closed():
    circuit = circuit_of()
    late = [circuit.acquire(0.0) for _ in range(50)]
    feed(circuit, "F" * 5)
    probe(circuit, "S", now=5.0)
    probe(circuit, "S", now=5.0)
    for permit in late:
        circuit.record(permit, Outcome.FAILURE, 5.0)
    assert circuit.current_state == "closed"


def test_a_probe_of_an_earlier_half_open_time_has_no_say_in_a_later_one():
    circuit = opened(probes=2)
    late, failing = circuit.acquire(5.0), circuit.acquire(5.0)
    circuit.record(failing, Outcome.FAILURE, 5.0)
    assert circuit.acquire(15.0) is not None
    circuit.record(late, Outcome.FAILURE, 15.0)
    assert circuit.current_state == "half-open"


def test_what_was_counted_before_it_opened_is_forgotten_when_it_closes():
    circuit = circuit_of()
    assert feed(circuit, "SF" * 10) == 20
    probe(circuit, "S", now=5.0)
    probe(circuit, "S", now=5.0)
    assert feed(circuit, "FFFF", now=5.0) is None
    assert feed(circuit, "F", now=5.0) == 1


# By hand


def test_opened_by_hand_it_probes_after_its_rest():
    clock = Clock()
    circuit = circuit_of(clock)
    clock.now = 100.0
    assert circuit.open()  # as pybreaker's does
    assert circuit.mode == "open"
    assert circuit.acquire(104.9) is None
    probe(circuit, "S", now=105.0)


def test_half_opened_by_hand_it_probes_at_once():
    circuit = opened()
    circuit.half_open()
    assert circuit.mode == "half-open"
    assert [circuit.acquire(0.0) is not None for _ in range(3)] == [True, False, False]


def test_closed_by_hand_it_admits_and_has_forgotten():
    circuit = circuit_of()
    assert feed(circuit, "SF" * 10) == 20
    circuit.close()
    assert circuit.mode == "closed"
    assert feed(circuit, "FFFF") is None


def test_forced_open_it_lets_nobody_through_until_it_is_closed():
    circuit = circuit_of()
    circuit.force_open()
    assert circuit.mode == "forced open"
    assert circuit.current_state == "open"
    assert circuit.acquire(1e9) is None
    assert circuit.retry_in(1e9) is None
    assert not circuit.admits(1e9)
    circuit.close()
    assert circuit.mode == "closed"
    assert circuit.acquire(0.0) is not None


def test_forced_open_while_it_is_probing_it_does_not_listen_to_the_probe():
    circuit = opened()
    under_way = circuit.acquire(5.0)
    circuit.force_open()
    circuit.record(under_way, Outcome.SUCCESS, 5.0)
    assert circuit.mode == "forced open"


def test_disabled_it_admits_all_and_counts_nothing():
    circuit = opened()
    circuit.disable()
    assert circuit.mode == "disabled"
    assert circuit.closed
    assert feed(circuit, "F" * 1000) is None
    circuit.close()
    assert circuit.mode == "closed"
    assert feed(circuit, "F" * 4) is None
    assert feed(circuit, "F") == 1


def test_what_was_admitted_while_disabled_does_not_count_afterwards():
    circuit = circuit_of()
    circuit.disable()
    permits = [circuit.acquire(0.0) for _ in range(50)]
    circuit.close()
    for permit in permits:
        circuit.record(permit, Outcome.FAILURE, 0.0)
    assert circuit.mode == "closed"
    assert feed(circuit, "F" * 4) is None


def test_a_forced_open_circuit_can_be_disabled_and_the_other_way_round():
    circuit = circuit_of()
    circuit.force_open()
    circuit.disable()
    assert circuit.mode == "disabled"
    assert circuit.acquire(0.0) is not None
    circuit.force_open()
    assert circuit.mode == "forced open"
    assert circuit.acquire(0.0) is None


def test_its_rules_can_be_changed():
    circuit = circuit_of(quiet_streak=2, open_for=1.0, successes=1)
    assert feed(circuit, "FF") == 2
    probe(circuit, "S", now=1.0)
    assert circuit.current_state == "closed"


def test_the_defaults_are_those_of_the_settings():
    from resilient_http.settings.circuit import CircuitSettings

    assert circuit_rules(CircuitSettings()) == CircuitRules()


def test_successes_that_come_while_another_thread_has_the_lock_count_when_it_is_free():
    circuit = Circuit(rules=CircuitRules(min_calls=4, quiet_streak=None, streak=None))
    held, free = threading.Event(), threading.Event()

    def hold():
        with circuit._lock:
            held.set()
            free.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    for second in range(3):
        circuit.record(circuit.acquire(0.0), Outcome.SUCCESS, float(second))  # waits for nobody
    free.set()
    holder.join()
    circuit.record(circuit.acquire(3.0), Outcome.FAILURE, 3.0)

    assert circuit.closed  # one of four; alone it would be all of one
    for second in (4.0, 5.0):
        circuit.record(circuit.acquire(second), Outcome.FAILURE, second)
    assert not circuit.closed  # three of six


# What is read without the lock


@as_it_stands
def test_the_seconds_to_the_next_probe_are_right_when_another_thread_closes_it_meanwhile():
    circuit = opened()

    class Instant(float):
        """Compared, and at once another thread has closed the circuit."""

        def __lt__(self, other):
            circuit.close()
            return float(self) < other

    assert circuit.retry_in(Instant(1.0)) == 4.0
    assert circuit.closed


def test_a_refusal_tells_what_is_still_to_be_told():
    heard = []

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb, old_state, new_state):
            heard.append(new_state.name)

    circuit = circuit_of(listeners=[Listener()])
    circuit.open()
    circuit.state = "half-open"  # pybreaker's own way
    circuit.acquire(0.0)
    assert heard == ["open", "half-open"]
