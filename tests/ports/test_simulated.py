"""The simulated port: a virtual clock, any number of calls, the same run from the same seed."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.ports.simulated import SimulatedFailure, SimulatedPort, SimulatedReply
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.outcome import Fault
from tests.simulation.world import cancel


def never(attempt, now):
    raise AssertionError("nothing is sent here")


def port_that_answers(delay: float, answer: SimulatedReply | Fault) -> SimulatedPort:
    return SimulatedPort(lambda attempt, now: (delay, answer))


def attempt_on(port: SimulatedPort, *, expires: float = math.inf) -> Attempt:
    attempt = Attempt(Call(port, "GET", started=port.now()), port.now())
    attempt.expires = expires
    return attempt


def test_the_clock_jumps_from_one_event_to_the_next():
    port, seen = SimulatedPort(never), []

    async def sleeper(name, *naps):
        for nap in naps:
            await port.sleep(nap)
            seen.append((port.now(), name))

    port.spawn(sleeper("a", 10.0, 10.0))
    port.spawn(sleeper("b", 1000.0))
    port.spawn(sleeper("c", 1.0), at=14.0)
    port.run()
    assert seen == [(10.0, "a"), (15.0, "c"), (20.0, "a"), (1000.0, "b")]
    assert port.now() == port.wall_now() == 1000.0


def test_what_happens_at_one_instant_happens_in_the_order_in_which_it_was_planned():
    port, seen = SimulatedPort(never), []

    async def note(name):
        seen.append(name)

    for name in "abcdef":
        port.spawn(note(name), at=1.0)
    port.run()
    assert seen == list("abcdef")


def test_sleeping_no_time_or_less_lets_others_run_and_takes_no_time():
    port, seen = SimulatedPort(never), []

    async def nap(name, seconds):
        await port.sleep(seconds)
        seen.append((name, port.now()))

    port.spawn(nap("a", -5.0))
    port.spawn(nap("b", 0.0))
    port.run()
    assert seen == [("a", 0.0), ("b", 0.0)]


def test_a_run_can_stop_at_an_instant_and_go_on():
    port, seen = SimulatedPort(never), []

    async def ticking():
        for _ in range(4):
            await port.sleep(1.0)
            seen.append(port.now())

    port.spawn(ticking())
    port.run(until=1.0)
    assert seen == [1.0]
    port.run(until=2.5)
    assert seen == [1.0, 2.0]
    port.run()
    assert seen == [1.0, 2.0, 3.0, 4.0]


def test_what_a_call_raises_is_raised_by_the_run():
    port = SimulatedPort(never)

    async def breaks():
        raise LookupError("here")

    port.spawn(breaks())
    with pytest.raises(LookupError, match="here"):
        port.run()


def test_an_answer_comes_after_its_time():
    port = port_that_answers(0.25, SimulatedReply(503, {"retry-after": "1"}))
    attempt = attempt_on(port)

    async def send():
        reply = await port.send(attempt)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")

    port.spawn(send())
    port.run()
    assert port.now() == 0.25
    assert attempt.sent
    assert attempt.status == 503


@pytest.mark.parametrize(("fault", "sent"), [(Fault.BROKEN, True), (Fault.TIMEOUT, True), (Fault.UNREACHABLE, False)])
def test_a_fault_is_raised_and_tells_whether_the_request_was_sent(fault, sent):
    port = port_that_answers(0.25, fault)
    attempt = attempt_on(port)

    async def send():
        with pytest.raises(SimulatedFailure, match=fault.value):
            await port.send(attempt)

    port.spawn(send())
    port.run()
    assert (attempt.fault, attempt.sent, attempt.status) == (fault, sent, None)


def test_an_attempt_never_outlives_its_deadline():
    port = port_that_answers(math.inf, SimulatedReply())
    attempt = attempt_on(port, expires=0.5)

    async def send():
        with pytest.raises(SimulatedFailure):
            await port.send(attempt)

    port.spawn(send())
    port.run()
    assert port.now() == 0.5
    assert attempt.fault is Fault.TIMEOUT


def test_an_attempt_that_would_wait_for_ever_is_a_mistake_of_the_test():
    port = port_that_answers(math.inf, SimulatedReply())

    async def send():
        await port.send(attempt_on(port))

    port.spawn(send())
    with pytest.raises(RuntimeError, match="deadline"):
        port.run()


# Queueing


def queued(port, limit, wait, admissions, name=None):
    async def caller():
        admissions.append((name or port.now(), await port.acquire(limit, wait), port.now()))

    return caller()


def test_a_permit_wakes_the_caller_that_has_waited_longest_at_once():
    port, limit, admissions = SimulatedPort(never), ConcurrencyLimit(1, 5), []
    limit.admit()
    port.spawn(queued(port, limit, 9.0, admissions, "first"), at=0.0)
    port.spawn(queued(port, limit, 9.0, admissions, "second"), at=1.0)

    async def holder():
        for _ in range(2):
            await port.sleep(2.0)
            limit.release()

    port.spawn(holder())
    port.run()
    assert admissions == [("first", "granted", 2.0), ("second", "granted", 4.0)]


def test_a_caller_that_waited_long_enough_gives_up_and_leaves_the_queue():
    port, limit, admissions = SimulatedPort(never), ConcurrencyLimit(1, 5), []
    limit.admit()
    port.spawn(queued(port, limit, 0.5, admissions, "patient"))
    port.run()
    assert admissions == [("patient", "too late", 0.5)]
    assert limit.waiting == 0


def test_a_full_queue_is_told_at_once():
    port, limit, admissions = SimulatedPort(never), ConcurrencyLimit(1, 0), []
    limit.admit()
    port.spawn(queued(port, limit, 0.5, admissions, "late"))
    port.run()
    assert admissions == [("late", "queue full", 0.0)]


def test_a_free_permit_is_taken_without_waiting():
    port, limit, admissions = SimulatedPort(never), ConcurrencyLimit(1, 5), []
    port.spawn(queued(port, limit, 0.5, admissions, "only"))
    port.run()
    assert admissions == [("only", "granted", 0.0)]
    assert limit.in_flight == 1


@pytest.mark.parametrize("granted", [False, True])
def test_a_caller_that_is_cancelled_in_the_queue_leaves_no_permit_behind(granted):
    port, limit = SimulatedPort(never), ConcurrencyLimit(1, 5)
    limit.admit()
    caller = queued(port, limit, 9.0, [])
    port.spawn(caller)
    port.run(until=1.0)
    assert limit.waiting == 1
    if granted:
        limit.release()
    cancel(caller)
    assert limit.waiting == 0
    if not granted:
        limit.release()
    assert limit.in_flight == 0


def test_a_call_is_started_at_its_instant_after_all_that_comes_before():
    port, seen = SimulatedPort(never), []

    async def sleeper(seconds):
        seen.append(("begins", port.now()))
        await port.sleep(seconds)
        seen.append(("ends", port.now()))

    port.start(sleeper(1.0), at=0.5)
    port.start(sleeper(0.1), at=1.5)
    assert seen == [("begins", 0.5), ("ends", 1.5), ("begins", 1.5)]
    port.run()
    assert seen[-1] == ("ends", 1.6)


# Randomness


def test_the_same_seed_draws_the_same_numbers():
    one, same, other = (SimulatedPort(never, seed=seed) for seed in (7, 7, 8))
    draws = [[port.rng.random() for _ in range(5)] for port in (one, same, other)]
    assert draws[0] == draws[1] != draws[2]


def test_a_simulated_reply_can_always_be_kept():
    port = SimulatedPort(never)

    async def keep():
        assert await port.set_aside(SimulatedReply(503), 0.5)

    port.spawn(keep())
    port.run()
    assert not port.instrumented()
