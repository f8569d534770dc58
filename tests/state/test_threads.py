"""State under real threads: 32 of them at one circuit, limit, budget or endpoints.

The one file of this folder with real threads; none of its tests waits for longer than the calls that it makes. CPython
hardly ever switches threads in the middle of a short method, so a missing lock would go unseen for years. Here each
thread gives way at random between any two instructions of the state machines, and what can go wrong does.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pybreaker
import pytest

from resilient_http.call import Attempt, Call
from resilient_http.ports.simulated import SimulatedPort
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.latency import Latency
from resilient_http.state.leased_bucket import Answer, LeasedBucket, LeaseRules
from resilient_http.state.outcome import Outcome
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.token_bucket import TokenBucket
from tests.state.circuits import circuit_of, feed, probe

THREADS = 32


def giving_way(frame: FrameType, event: str, arg: object) -> Any:
    """A trace function: between any two instructions of the state machines, one time in ten another thread runs."""
    name = frame.f_code.co_filename
    if "/resilient_http/state/" not in name and not name.endswith("/resilient_http/call.py"):
        return None
    frame.f_trace_opcodes = True
    if event == "opcode" and random.random() < 0.1:
        time.sleep(0)
    return giving_way


def in_threads(work: Callable[[int], object], threads: int = THREADS) -> float:
    """Run work(number) in so many threads at once. Seconds that it took; raises what any of them raised."""
    errors: list[BaseException] = []
    together = threading.Barrier(threads + 1)

    def run(number: int) -> None:
        together.wait()
        sys.settrace(giving_way)
        try:
            work(number)
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread of the test
            errors.append(exc)
        finally:
            sys.settrace(None)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    together.wait()
    started = time.monotonic()
    for thread in running:
        thread.join()
    took = time.monotonic() - started
    if errors:
        raise errors[0]
    return took


class Peak:
    """How many are inside at once, and how many were at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = self.most = self.entered = 0

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.entered += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.now -= 1


# Circuit


@pytest.mark.parametrize("call", ["call", "calling"])
def test_eight_slow_calls_through_one_circuit_run_side_by_side(call):
    circuit = circuit_of()

    def one(_: int) -> None:
        if call == "call":
            circuit.call(time.sleep, 0.2)
        else:
            with circuit.calling():
                time.sleep(0.2)

    assert in_threads(one, threads=8) < 0.4


def test_no_thread_probes_without_the_right_that_another_process_has():
    circuit = circuit_of(successes=10**9)
    circuit.half_open()
    circuit.close()
    feed(circuit, "F" * 5)
    circuit.guide(100.0, float("-inf"))
    probed = []

    def caller(number: int) -> None:
        for turn in range(30):
            if number == 0:  # the thread that shares: grants the right until 10.0, again and again
                circuit.guide(100.0, 10.0)
            elif circuit.acquire(10.0 + turn) is not None:
                probed.append(turn)

    in_threads(caller)

    assert probed == []
    assert circuit.acquire(9.9) is not None


@pytest.mark.parametrize("probes", [1, 3])
def test_never_more_probes_than_allowed(probes):
    circuit = circuit_of(probes=probes, successes=10**9, lease=1e9)
    circuit.half_open()
    peak = Peak()

    def caller(number: int) -> None:
        rng = random.Random(number)
        for _ in range(30):
            permit = circuit.acquire(0.0)
            if permit is None:
                continue
            with peak:
                time.sleep(0)
            circuit.record(permit, rng.choice([Outcome.SUCCESS, Outcome.NEUTRAL]), 0.0)

    in_threads(caller)
    assert peak.entered >= 8
    assert peak.most <= probes
    assert circuit.current_state == "half-open"
    # No lease was lost on the way.
    assert [circuit.acquire(0.0) is not None for _ in range(probes + 1)] == [True] * probes + [False]


def test_one_of_32_callers_gets_the_first_probe():
    for _ in range(8):
        circuit = circuit_of()
        feed(circuit, "F" * 5)
        admitted = []

        def caller(_: int, circuit=circuit, admitted=admitted) -> None:
            if circuit.acquire(5.0) is not None:
                admitted.append(True)

        in_threads(caller)
        assert len(admitted) == 1


def test_anything_at_once_breaks_nothing_and_is_told_in_order():
    changes, failures, told = [], [], []

    class Listener(pybreaker.CircuitBreakerListener):
        def state_change(self, cb, old_state, new_state):
            changes.append((old_state.name, new_state.name))

        def success(self, cb):
            told.append("success")

        def failure(self, cb, exc):
            failures.append(exc)

    circuit = circuit_of(listeners=[Listener()], open_for=0.001, max_open_for=0.001, successes=1, lease=0.01)
    instant = [0.0]

    def caller(number: int) -> None:
        rng = random.Random(number)
        for _ in range(30):
            now = instant[0] = instant[0] + 0.0001
            permit = circuit.acquire(now)
            if permit is not None:
                circuit.record(permit, rng.choice(list(Outcome)), now)
            if rng.random() < 0.05:
                rng.choice([circuit.open, circuit.half_open, circuit.close])()

    in_threads(caller)
    assert len(changes) > 10
    assert [old for old, _ in changes[1:]] == [new for _, new in changes[:-1]]
    assert told
    assert failures
    circuit.half_open()
    probe(circuit, "S", now=instant[0])
    assert circuit.mode == "closed"
    assert feed(circuit, "F" * 5) == 5


def test_no_failure_is_lost_in_the_count():
    # Half of them open it: 16 threads of 10 failures and 16 of 10 successes make exactly 50 % of 320, in any order.
    circuit = circuit_of(window=320, min_calls=320, streak=10**6, quiet_streak=10**6)
    permits = [circuit.acquire(0.0) for _ in range(320)]

    def caller(number: int) -> None:
        for permit in permits[number::THREADS]:
            circuit.record(permit, Outcome.SUCCESS if number % 2 else Outcome.FAILURE, 0.0)

    in_threads(caller)
    if circuit.closed:  # the very last one was a success, and a success never opens it
        feed(circuit, "F")
    assert circuit.current_state == "open"


# Limit


def test_never_more_permits_than_the_limit_and_none_is_lost():
    limit, peak = ConcurrencyLimit(5, 10), Peak()

    def caller(number: int) -> None:
        rng = random.Random(number)
        for _ in range(30):
            if not limit.admit():
                granted = threading.Event()
                ticket = limit.join_queue(granted.set)
                if ticket is None:
                    continue
                if not ticket.granted:
                    granted.wait(0.0 if rng.random() < 0.3 else 1.0)
                if not ticket.granted and limit.abandon(ticket):
                    continue
            with peak:
                time.sleep(0)
            limit.release()

    in_threads(caller)
    assert peak.entered >= 8
    assert peak.most <= 5
    assert (limit.in_flight, limit.waiting) == (0, 0)


def test_threads_are_served_in_the_order_in_which_they_came():
    limit, served = ConcurrencyLimit(1, THREADS), []
    limit.admit()

    def caller(number: int) -> None:
        while limit.waiting != number:  # each comes after the one before it
            time.sleep(0)
        granted = threading.Event()
        limit.join_queue(granted.set)
        granted.wait(5.0)
        served.append(number)
        limit.release()

    def first(number: int) -> None:
        if number < THREADS:
            caller(number)
        else:
            while limit.waiting != THREADS:
                time.sleep(0)
            limit.release()

    in_threads(first, threads=THREADS + 1)
    assert served == list(range(THREADS))
    assert limit.in_flight == 0


# Budget


def test_no_token_is_spent_twice():
    budget = RetryBudget(0.5, 0.0)
    while budget.withdraw(10.0):
        pass
    for _ in range(400):
        budget.deposit(10.0)
    taken = []

    def caller(_: int) -> None:
        taken.append(sum(budget.withdraw(10.0) for _ in range(20)))

    in_threads(caller)
    assert sum(taken) == 200


def test_no_deposit_and_no_refund_is_lost():
    budget = RetryBudget(0.5, 0.0)
    while budget.withdraw(10.0):
        pass

    def caller(number: int) -> None:
        for _ in range(20):
            budget.deposit(10.0)

    in_threads(caller)
    assert budget.tokens(10.0) == THREADS * 10

    def unlucky(number: int) -> None:
        for _ in range(5):
            if budget.withdraw(10.0):
                budget.refund()

    in_threads(unlucky)
    assert budget.tokens(10.0) == THREADS * 10


# Endpoints and latency


def test_nothing_stays_in_flight_at_any_endpoint():
    members = [Endpoint("http", f"n{i}", 80, circuit=circuit_of(open_for=0.003, max_open_for=0.003)) for i in range(3)]
    endpoints, peak = Endpoints(members), [0]

    def caller(number: int) -> None:
        rng = random.Random(number)
        for i in range(15):
            now = i * 0.001
            choice = endpoints.choose(now, rng)
            if choice is None:
                continue
            member, permit = choice
            peak[0] = max(peak[0], member.in_flight)
            time.sleep(0)
            outcome = rng.choice(list(Outcome))
            if outcome is Outcome.UNANSWERED:
                outcome = member.judge_cut(rng.random(), 3.0)
            member.settle(permit, outcome, now, answered=0.01 if outcome is Outcome.SUCCESS else None)

    in_threads(caller)
    assert peak[0] > 1
    assert [member.in_flight for member in members] == [0, 0, 0]


def test_no_attempt_that_was_cut_short_is_lost_in_the_count():
    endpoint, neutral = Endpoint("http", "n1", 80, circuit=circuit_of()), []

    def caller(_: int) -> None:
        neutral.append(sum(endpoint.judge_cut(0.3, 3.0) is Outcome.NEUTRAL for _ in range(10)))

    in_threads(caller)
    assert sum(neutral) == 9


def test_no_duration_is_lost_and_quantiles_can_be_asked_meanwhile():
    latency = Latency()

    def caller(number: int) -> None:
        for _ in range(10):
            latency.record(0.01 if number % 4 else 1.0)
            latency.quantile(0.5)

    in_threads(caller)
    # 320 durations, a quarter of them long: were more than a handful lost, these would tip.
    assert latency.quantile(0.749) == pytest.approx(0.01, rel=0.1)
    assert latency.quantile(0.751) == pytest.approx(1.0, rel=0.1)


def test_permits_of_all_priorities_under_a_limit_that_changes_are_neither_lost_nor_invented():
    limit, together = ConcurrencyLimit(4, 100, reserve=0.25), Peak()

    def work(number: int) -> None:
        priority = ("sheddable", "default", "critical")[number % 3]
        for turn in range(6):
            if number == 0:
                limit.resize(2 + turn % 3)
            if not limit.admit(priority):
                granted = threading.Event()
                ticket = limit.join_queue(granted.set, priority)
                if ticket is None:
                    continue
                if not ticket.granted:
                    granted.wait(10.0)
                    assert ticket.granted
            with together:
                pass
            limit.release(priority)

    in_threads(work)
    assert (limit.in_flight, limit.waiting) == (0, 0)
    assert together.most <= 4


def test_a_bucket_gives_no_more_tokens_than_it_holds():
    bucket = TokenBucket(rate=1e-9, burst=50)
    taken = []
    in_threads(lambda _: taken.extend(bucket.reserve(1.0) == 0.0 for _ in range(5)))
    assert sum(taken) == 50


def test_a_bucket_that_leases_meanwhile_gives_no_more_than_it_was_granted():
    bucket, taken = LeasedBucket(1e-9, 50.0, LeaseRules(interval=1e6, expires=1e9)), []

    def work(number):
        if number == 0:
            for _ in range(10):
                ask = bucket.ask(1.0)
                bucket.answer(ask, Answer(5), 1.0)
        else:
            taken.extend(bucket.reserve(1.0) == 0.0 for _ in range(5))

    bucket.answer(bucket.ask(1.0), Answer(0), 1.0)
    in_threads(work)
    while bucket.reserve(1.0) == 0.0:
        taken.append(True)
    assert sum(taken) <= 50


def test_an_attempt_that_many_threads_end_is_ended_once():
    for _ in range(20):
        attempt = Attempt(Call(SimulatedPort(None), "GET", started=0.0), 0.0)
        ends = []
        attempt.at_end(lambda attempt, now, ends=ends: ends.append(now))
        in_threads(lambda number, attempt=attempt: attempt.end(float(number)), threads=4)
        assert len(ends) == 1
