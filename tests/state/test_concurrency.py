from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.concurrency import ConcurrencyLimit


def nobody() -> None:
    """Wakes nobody: the caller polls its ticket."""


def test_no_more_permits_than_the_limit():
    limit = ConcurrencyLimit(2, 0)
    assert [limit.admit() for _ in range(3)] == [True, True, False]
    assert limit.in_flight == 2


def test_a_permit_that_came_back_can_be_taken():
    limit = ConcurrencyLimit(1, 0)
    limit.admit()
    limit.release()
    assert limit.in_flight == 0
    assert limit.admit()


def test_the_queue_is_not_entered_when_there_is_a_permit():
    limit = ConcurrencyLimit(1, 1)
    ticket = limit.join_queue(nobody)
    assert ticket.granted
    assert (limit.in_flight, limit.waiting) == (1, 0)


def test_a_full_queue_refuses():
    limit = ConcurrencyLimit(1, 1)
    limit.admit()
    assert limit.join_queue(nobody) is not None
    assert limit.join_queue(nobody) is None
    assert limit.waiting == 1


def test_without_a_queue_nobody_waits():
    limit = ConcurrencyLimit(1, 0)
    limit.admit()
    assert limit.join_queue(nobody) is None


def test_permits_go_to_those_who_have_waited_longest():
    limit, woken = ConcurrencyLimit(1, 9), []
    limit.admit()
    for name in "abc":
        limit.join_queue(lambda name=name: woken.append(name))
    for _ in "abc":
        limit.release()
    assert woken == ["a", "b", "c"]
    assert (limit.in_flight, limit.waiting) == (1, 0)


def test_nobody_overtakes_the_queue():
    limit = ConcurrencyLimit(1, 9)
    limit.admit()
    first = limit.join_queue(nobody)
    limit.release()  # goes to the first in the queue, so nothing is free
    assert first.granted
    assert not limit.admit()


def test_who_leaves_the_queue_is_passed_over():
    limit = ConcurrencyLimit(1, 9)
    limit.admit()
    first, second = limit.join_queue(nobody), limit.join_queue(nobody)
    assert limit.abandon(first)
    limit.release()
    assert not first.granted
    assert second.granted


def test_who_was_granted_a_permit_cannot_leave_without_giving_it_back():
    limit = ConcurrencyLimit(1, 9)
    limit.admit()
    ticket = limit.join_queue(nobody)
    limit.release()
    assert not limit.abandon(ticket)
    limit.release()
    assert limit.in_flight == 0


def test_waking_may_use_the_limit_again():
    limit = ConcurrencyLimit(1, 9)
    limit.admit()
    limit.join_queue(limit.release)  # would hang if it were called under the lock
    limit.release()
    assert limit.in_flight == 0


def test_a_permit_passes_over_those_who_are_gone():
    limit, woken = ConcurrencyLimit(1, 9), []
    limit.admit()
    gone = limit.join_queue(lambda: False)  # its event loop has ended
    limit.join_queue(lambda: woken.append("next"))
    limit.release()
    assert woken == ["next"]
    assert (limit.in_flight, limit.waiting) == (1, 0)
    # Its task is thrown away later, and leaves the queue then: the permit is not its own to give back.
    assert limit.abandon(gone)
    assert limit.in_flight == 1


def test_a_permit_is_free_when_all_who_waited_are_gone():
    limit = ConcurrencyLimit(1, 9)
    limit.admit()
    gone = [limit.join_queue(lambda: False) for _ in range(3)]
    limit.release()
    assert (limit.in_flight, limit.waiting) == (0, 0)
    assert all(limit.abandon(ticket) for ticket in gone)
    assert limit.in_flight == 0


@given(
    limit=st.integers(1, 4),
    queue=st.integers(0, 4),
    steps=st.lists(st.sampled_from(["admit", "join", "release", "abandon"]), max_size=60),
    data=st.data(),
)
def test_permits_and_places_are_never_lost_and_never_invented(limit, queue, steps, data):
    limiter = ConcurrencyLimit(limit, queue)
    held, waiting = 0, []  # tickets, the oldest first
    for step in steps:
        if step == "admit":
            admitted = limiter.admit()
            assert admitted == (held < limit and not waiting)
            held += admitted
        elif step == "join":
            ticket = limiter.join_queue(nobody)
            if held < limit and not waiting:
                assert ticket.granted
                held += 1
            elif len(waiting) < queue:
                assert not ticket.granted
                waiting.append(ticket)
            else:
                assert ticket is None
        elif step == "release" and held:
            limiter.release()
            if waiting:
                assert waiting.pop(0).granted
            else:
                held -= 1
        elif step == "abandon" and waiting:
            assert limiter.abandon(waiting.pop(data.draw(st.integers(0, len(waiting) - 1))))
        assert (limiter.in_flight, limiter.waiting) == (held, len(waiting))
        assert not any(ticket.granted for ticket in waiting)


@pytest.mark.parametrize("free", [0, 1])
def test_a_queue_that_was_left_by_all_lets_the_next_caller_in(free):
    limit = ConcurrencyLimit(1 + free, 9)
    while limit.admit():
        pass
    tickets = [limit.join_queue(nobody) for _ in range(3)]
    for ticket in tickets:
        limit.abandon(ticket)
    limit.release()
    assert limit.admit()
