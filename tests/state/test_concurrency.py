from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
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


# Priorities


def test_sheddable_callers_are_refused_from_a_share_of_the_limit_on_and_never_wait():
    limit = ConcurrencyLimit(4, 9, shed_at=0.75)
    assert [limit.admit("sheddable") for _ in range(4)] == [True, True, True, False]
    assert limit.join_queue(nobody, "sheddable") is None
    assert limit.admit()


def test_sheddable_callers_are_refused_while_anybody_waits():
    limit = ConcurrencyLimit(4, 9, shed_at=1.0, reserve=0.5)
    while limit.admit():
        pass
    limit.join_queue(nobody)
    assert limit.in_flight == 2
    assert not limit.admit("sheddable")
    assert limit.admit("critical")


def test_one_sheddable_caller_gets_in_however_small_the_limit():
    limit = ConcurrencyLimit(1, 9, shed_at=0.0)
    assert limit.admit("sheddable")


def test_critical_callers_go_before_the_others_in_the_queue():
    limit, woken = ConcurrencyLimit(1, 9), []
    limit.admit()
    for name, priority in [("a", "default"), ("b", "default"), ("c", "critical"), ("d", "critical")]:
        limit.join_queue(lambda name=name: woken.append(name), priority)
    for _ in range(4):
        limit.release()
    assert woken == ["c", "d", "a", "b"]


def test_default_callers_have_their_turn_after_four_critical_ones():
    limit, woken = ConcurrencyLimit(1, 99), []
    limit.admit()
    for number in range(10):
        limit.join_queue(lambda number=number: woken.append(f"c{number}"), "critical")
    for number in range(3):
        limit.join_queue(lambda number=number: woken.append(f"d{number}"))
    for _ in range(13):
        limit.release()
    assert woken == ["c0", "c1", "c2", "c3", "d0", "c4", "c5", "c6", "c7", "d1", "c8", "c9", "d2"]


def test_the_reserve_is_for_critical_callers():
    limit = ConcurrencyLimit(4, 9, reserve=0.5)
    assert [limit.admit() for _ in range(3)] == [True, True, False]
    waiting = limit.join_queue(nobody)
    assert [limit.admit("critical") for _ in range(3)] == [True, True, False]
    limit.release("critical")
    assert not waiting.granted  # it was one of the reserve
    limit.release("critical")
    limit.release()
    assert waiting.granted


@pytest.mark.parametrize("reserve", [0.0, 0.1, 0.5])
@given(seed=st.integers(0, 1000), slow=st.sampled_from([1, 20]))
@settings(max_examples=8, deadline=None)
def test_a_fifth_of_the_grants_is_for_others_while_critical_callers_queue_whatever_the_reserve(reserve, seed, slow):
    """Permits come back at random; those of others `slow` times more seldom."""
    limit, rng = ConcurrencyLimit(10, 100, reserve=reserve), random.Random(seed)
    held, granted = [], Counter()
    waiting = [(limit.join_queue(nobody, priority), priority) for priority in ["critical", "default"] * 30]
    for _ in range(1000):
        while ready := next((one for one in waiting if one[0].granted), None):
            waiting.remove(ready)
            held.append(ready[1])
            granted[ready[1]] += 1
        assert len(held) == limit.in_flight == 10  # none lies idle
        assert held.count("default") <= 10 - int(10 * reserve)
        back = rng.choices(range(10), [1 if each == "critical" else 1 / slow for each in held])[0]
        priority = held.pop(back)
        limit.release(priority)
        waiting.append((limit.join_queue(nobody, priority), priority))
    share = granted["default"] / granted.total()
    assert share == pytest.approx(0.2, abs=0.02) if slow == 1 else 0 < share <= 0.22


def test_critical_callers_that_never_queue_do_not_keep_the_others_waiting_for_ever():
    limit = ConcurrencyLimit(4, 9, reserve=0.5)
    for _ in range(3):
        limit.admit("critical")
    waiting = limit.join_queue(nobody)
    for _ in range(4):
        assert not waiting.granted
        assert limit.admit("critical")
        limit.release("critical")
    assert waiting.granted
    assert limit.in_flight == 4


def test_a_critical_caller_finds_a_place_in_a_queue_that_is_full_of_others():
    limit = ConcurrencyLimit(1, 1)
    limit.admit()
    assert limit.join_queue(nobody) is not None
    assert limit.join_queue(nobody) is None
    assert limit.join_queue(nobody, "critical") is not None
    assert limit.join_queue(nobody, "critical") is None


# A limit that changes


def test_a_higher_limit_lets_those_who_wait_in():
    limit, woken = ConcurrencyLimit(1, 9), []
    limit.admit()
    for name in "abc":
        limit.join_queue(lambda name=name: woken.append(name))
    limit.resize(3)
    assert woken == ["a", "b"]
    assert (limit.in_flight, limit.waiting) == (3, 1)


def test_a_lower_limit_takes_nothing_away_and_gives_nothing_out_until_it_is_kept():
    limit = ConcurrencyLimit(3, 9)
    for _ in range(3):
        limit.admit()
    ticket = limit.join_queue(nobody)
    limit.resize(1)
    limit.release()
    limit.release()
    assert not ticket.granted
    limit.release()
    assert ticket.granted
    assert limit.in_flight == 1


def test_an_overrun_is_given_back_like_a_permit():
    limit = ConcurrencyLimit(1, 9)
    limit.admit()
    limit.overrun()
    assert limit.in_flight == 2
    limit.release()
    assert not limit.admit()
    limit.release()
    assert limit.admit()


@given(
    steps=st.lists(
        st.sampled_from(["admit", "join", "release", "abandon", "resize"]).flatmap(
            lambda step: st.tuples(
                st.just(step), st.sampled_from(["sheddable", "default", "critical"]), st.integers(1, 5)
            )
        ),
        max_size=80,
    )
)
def test_whatever_happens_nobody_waits_for_a_permit_that_is_free(steps):
    limiter = ConcurrencyLimit(3, 3, reserve=0.34)
    held, waiting = [], []
    for step, priority, number in steps:
        if step == "admit":
            held += [priority] * limiter.admit(priority)
        elif step == "join":
            ticket = limiter.join_queue(nobody, priority)
            if ticket is not None:
                waiting.append((ticket, priority))
        elif step == "release" and held:
            limiter.release(held.pop(number % len(held)))
        elif step == "abandon" and waiting:
            assert limiter.abandon(waiting.pop(number % len(waiting))[0])
        elif step == "resize":
            limiter.resize(number)
        held += [priority for ticket, priority in waiting if ticket.granted]
        waiting = [(ticket, priority) for ticket, priority in waiting if not ticket.granted]
        assert (limiter.in_flight, limiter.waiting) == (len(held), len(waiting))
        if any(priority == "critical" for _, priority in waiting):
            assert len(held) >= limiter.limit
        elif waiting:
            assert len(held) >= limiter.limit - int(limiter.limit * 0.34)
