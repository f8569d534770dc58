"""What a user of pybreaker knows still works: listeners, call(), calling(), the decorator, its exceptions and names."""

from __future__ import annotations

import inspect
import logging
import threading

import pybreaker
import pytest

from resilient_http.state.breaker import FailedAnswer
from resilient_http.state.circuit import Circuit
from resilient_http.state.outcome import Outcome
from tests.state.circuits import Clock, circuit_of, feed, opened, probe


class Told(pybreaker.CircuitBreakerListener):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []

    def state_change(self, cb, old_state, new_state):
        self.all.append(("state_change", old_state.name, new_state.name))

    def success(self, cb):
        self.all.append(("success", cb.name))

    def failure(self, cb, exc):
        self.all.append(("failure", exc))

    @property
    def changes(self):
        return [entry[1:] for entry in self.all if entry[0] == "state_change"]


class Broken(pybreaker.CircuitBreakerListener):
    """Raises whatever it is told."""

    def state_change(self, cb, old_state, new_state):
        raise LookupError(new_state.name)

    def success(self, cb):
        raise LookupError("success")

    def failure(self, cb, exc):
        raise LookupError("failure")


# Listeners


def test_a_listener_hears_of_every_change_once():
    told = Told()
    circuit = opened(listeners=[told])
    probe(circuit, "F", now=5.0)
    probe(circuit, "S", now=15.0)
    probe(circuit, "S", now=15.0)
    assert told.changes == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


def test_a_listener_hears_of_successes_and_failures_but_not_of_what_is_neutral():
    told = Told()
    circuit = circuit_of(listeners=[told])
    feed(circuit, "SN")
    error = ConnectionError("refused")
    circuit.record(circuit.acquire(0.0), Outcome.UNANSWERED, 0.0, error)
    assert told.all == [("success", circuit.name), ("failure", error)]


def test_an_answer_that_counts_as_a_failure_is_told_as_one():
    told = Told()
    feed(circuit_of(listeners=[told]), "FE")
    assert [type(exc) for _, exc in told.all] == [FailedAnswer, FailedAnswer]


def test_a_listener_does_not_hear_of_late_results():
    told = Told()
    circuit = circuit_of(listeners=[told])
    before = circuit.acquire(0.0)
    circuit.open()
    probe_of_then = circuit.acquire(5.0)
    circuit.half_open()
    told.all.clear()
    circuit.record(before, Outcome.SUCCESS, 5.0)
    circuit.record(probe_of_then, Outcome.FAILURE, 5.0)
    assert told.all == []


def test_a_listener_does_not_hear_of_a_change_that_is_none():
    told = Told()
    circuit = circuit_of(listeners=[told])
    circuit.close()
    circuit.disable()
    assert told.all == []


def test_a_listener_hears_nothing_of_a_disabled_circuit():
    told = Told()
    circuit = circuit_of(listeners=[told])
    circuit.disable()
    feed(circuit, "SFSF")
    assert told.all == []


def test_switches_by_hand_are_told_at_once():
    told = Told()
    circuit = circuit_of(listeners=[told])
    for switch, change in [
        (circuit.open, ("closed", "open")),
        (circuit.half_open, ("open", "half-open")),
        (circuit.force_open, ("half-open", "open")),
        (circuit.close, ("open", "closed")),
        (circuit.force_open, ("closed", "open")),
        (circuit.disable, ("open", "closed")),
    ]:
        told.all.clear()
        switch()
        assert told.changes == [change]


def test_a_first_probe_is_told_when_it_is_let_through():
    told = Told()
    circuit = opened(listeners=[told])
    told.all.clear()
    circuit.acquire(5.0)
    assert told.changes == [("open", "half-open")]


def test_a_listener_that_raises_is_logged_and_changes_nothing(caplog):
    told = Told()
    circuit = circuit_of(listeners=[Broken(), told])
    with caplog.at_level(logging.ERROR):
        assert feed(circuit, "S" + "F" * 5) == 6
    assert told.changes == [("closed", "open")]
    assert len(told.all) == 7
    assert [record.exc_info[0] for record in caplog.records] == [LookupError] * 7
    assert "payments" in caplog.text


def test_listeners_come_and_go_while_it_runs():
    told = Told()
    circuit = circuit_of()
    circuit.add_listener(told)
    feed(circuit, "S")
    circuit.remove_listener(told)
    feed(circuit, "S")
    assert len(told.all) == 1


def test_a_listener_runs_without_the_lock():
    free = []

    class Looks(pybreaker.CircuitBreakerListener):
        def _look(self, circuit):
            def elsewhere():
                free.append(circuit._lock.acquire(timeout=1.0))
                circuit._lock.release()

            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()

        def state_change(self, cb, old_state, new_state):
            self._look(cb)

        def success(self, cb):
            self._look(cb)

        def failure(self, cb, exc):
            self._look(cb)

    circuit = circuit_of(listeners=[Looks()], quiet_streak=1, successes=1)
    feed(circuit, "SF")
    probe(circuit, "S", now=5.0)
    circuit.force_open()
    assert free == [True] * 7


def test_a_listener_may_switch_the_circuit_and_all_hear_of_it_in_order():
    class Contrary(pybreaker.CircuitBreakerListener):
        def state_change(self, cb, old_state, new_state):
            if new_state.name == "open":
                cb.close()

    told, after = Told(), []
    circuit = Circuit(
        listeners=[Contrary(), told],
        clock=Clock(),
        on_change=lambda changed, state: after.append((changed.name, state)),
    )
    feed(circuit, "F" * 5)
    assert circuit.current_state == "closed"
    assert told.changes == [("closed", "open"), ("open", "closed")]
    assert after == [("", "open"), ("", "closed")]


# Calls


def test_call_returns_what_the_function_returns():
    assert circuit_of().call(lambda a, *, b: (a, b), 1, b=2) == (1, 2)


def test_calls_that_fail_open_it_and_then_it_refuses():
    circuit = circuit_of()
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            circuit.call(lambda: 1 / 0)
    with pytest.raises(pybreaker.CircuitBreakerError, match=r"payments at http://10\.0\.0\.1:8080 is open"):
        circuit.call(lambda: pytest.fail("it was called"))


def test_a_call_that_succeeds_after_the_rest_is_a_probe():
    clock = Clock()
    circuit = opened(clock)
    clock.now = 5.0
    for _ in range(2):
        circuit.call(int)
    assert circuit.current_state == "closed"


def test_the_decorator_works():
    circuit = circuit_of(quiet_streak=1)

    @circuit
    def fragile():
        raise KeyError("gone")

    with pytest.raises(KeyError):
        fragile()
    with pytest.raises(pybreaker.CircuitBreakerError):
        fragile()


def test_a_with_block_counts_and_is_refused_when_open():
    circuit = circuit_of(quiet_streak=1)
    with circuit.calling():
        pass
    with pytest.raises(OSError, match="reset"), circuit.calling():
        raise OSError("reset")
    entered = []
    with pytest.raises(pybreaker.CircuitBreakerError), circuit.calling():
        entered.append(True)
    assert entered == []


def test_an_excluded_exception_is_a_success():
    told = Told()
    circuit = circuit_of(quiet_streak=1, listeners=[told])
    circuit.add_excluded_exception(KeyError)
    with pytest.raises(KeyError), circuit.calling():
        raise KeyError("not found")
    assert circuit.current_state == "closed"
    assert told.all == [("success", circuit.name)]


@pytest.mark.parametrize("cancelled", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_a_cancelled_call_says_nothing(cancelled):
    clock = Clock()
    circuit = opened(clock)
    clock.now = 5.0
    for _ in range(3):
        with pytest.raises(cancelled), circuit.calling():
            raise cancelled
    assert circuit.current_state == "half-open"


# Names


def test_states_are_told_in_pybreakers_words():
    clock = Clock()
    circuit = circuit_of(clock)
    assert circuit.current_state == circuit.state.name == pybreaker.STATE_CLOSED
    circuit.open()
    assert circuit.current_state == circuit.state.name == pybreaker.STATE_OPEN
    clock.now = 5.0
    circuit.acquire(5.0)
    assert circuit.current_state == circuit.state.name == pybreaker.STATE_HALF_OPEN


def test_pybreaker_still_has_the_private_names_that_the_circuit_stands_on():
    breaker = pybreaker.CircuitBreaker()
    # Taken again by the thread that has it: open(), half_open() and close() take it under ours.
    with breaker._lock, breaker._lock:
        pass
    assert breaker._listeners == []
    parameters = inspect.signature(pybreaker.CircuitBreaker._create_new_state).parameters
    assert list(parameters) == ["self", "new_state", "prev_state", "notify"]


def test_pybreaker_still_makes_every_change_of_state_through_the_method_that_the_circuit_overrides():
    made = []

    class Watched(pybreaker.CircuitBreaker):
        def _create_new_state(self, new_state, prev_state=None, notify=False):
            made.append((new_state, prev_state and prev_state.name, notify))
            return super()._create_new_state(new_state, prev_state, notify)

    breaker = Watched()
    breaker.open()
    breaker.half_open()
    breaker.close()
    assert made == [
        ("closed", None, False),
        ("open", "closed", True),
        ("half-open", "open", True),
        ("closed", "half-open", True),
    ]
