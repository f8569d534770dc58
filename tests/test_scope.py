"""The scope: deadlines nest and only ever shorten, and nobody sees another's."""

from __future__ import annotations

import contextlib
import contextvars
import math
import threading
import time

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.scope import EMPTY, Deadline, Scope, current_scope, deadline, detached, enter_scope


def left() -> float:
    """Seconds that the current scope leaves; infinity without a deadline."""
    own = current_scope().deadline
    return math.inf if own is None else own.left(time.monotonic())


def test_outside_a_request_there_is_no_scope():
    assert current_scope() is EMPTY
    assert (EMPTY.deadline, EMPTY.headers, EMPTY.detached) == (None, (), False)


def test_a_deadline_holds_in_its_block_and_not_after_it():
    with deadline(5.0) as scope:
        assert current_scope() is scope
        assert scope.deadline.budget == 5.0
        assert 4.9 < left() <= 5.0
    assert current_scope() is EMPTY


def test_a_deadline_ends_when_its_block_raises():
    with pytest.raises(LookupError), deadline(5.0):
        raise LookupError
    assert current_scope() is EMPTY


def test_a_nested_deadline_shortens():
    with deadline(60.0):
        with deadline(5.0):
            assert left() <= 5.0
        assert 59.0 < left() <= 60.0


def test_a_nested_deadline_never_lengthens():
    with deadline(5.0) as outer, deadline(60.0) as inner:
        assert inner.deadline is outer.deadline
        assert left() <= 5.0


@given(st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=6))
def test_of_any_nesting_the_one_that_ends_first_wins(seconds):
    with contextlib.ExitStack() as stack:
        for own in seconds:
            stack.enter_context(deadline(own))
        assert left() == pytest.approx(min(seconds), abs=0.5)
    assert current_scope() is EMPTY


def test_a_deadline_of_nothing_has_passed():
    with deadline(0.0):
        assert left() == 0.0


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, True, "5", None])
def test_a_deadline_takes_finite_seconds(seconds):
    with pytest.raises(ValueError, match="finite seconds"):
        deadline(seconds)


def test_whole_seconds_are_seconds():
    with deadline(5) as scope:
        assert isinstance(scope.deadline.budget, float)


def test_detached_work_is_out_of_the_deadline_and_in_the_trace():
    headers = (("traceparent", "00-1-2-01"),)
    with enter_scope(Scope(Deadline.after(1.0, now=time.monotonic()), headers)):
        with detached() as scope:
            assert (scope.deadline, scope.headers, scope.detached) == (None, headers, True)
        assert left() <= 1.0


def test_detached_work_may_have_a_deadline_of_its_own():
    with deadline(1.0), detached(60.0):
        assert 59.0 < left() <= 60.0


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, True])
def test_detached_takes_finite_seconds_too(seconds):
    with pytest.raises(ValueError, match="finite seconds"):
        detached(seconds)


def test_a_deadline_within_detached_work_bounds_it():
    with deadline(1.0), detached(), deadline(30.0) as scope:
        assert 29.0 < left() <= 30.0
        assert scope.detached


def test_a_lifted_deadline_bounds_nothing_for_all_who_share_it():
    with deadline(1.0) as outer, deadline(60.0) as inner:
        outer.deadline.lift()
        assert inner.deadline.expires == math.inf
        assert left() == math.inf


def test_seconds_left_are_never_negative():
    assert Deadline.after(1.0, now=100.0).left(100.25) == 0.75
    assert Deadline.after(1.0, now=100.0).left(200.0) == 0.0


def test_a_framework_enters_the_scope_of_its_request():
    own = Scope(None, (("traceparent", "00-1-2-01"),))
    with enter_scope(own) as entered:
        assert entered is own is current_scope()
    assert current_scope() is EMPTY


def test_another_thread_does_not_see_it():
    seen = []
    with deadline(5.0):
        thread = threading.Thread(target=lambda: seen.append(current_scope()))
        thread.start()
        thread.join()
    assert seen == [EMPTY]


async def test_two_tasks_at_once_see_each_its_own():
    seen = {}

    async def request(seconds):
        with deadline(seconds):
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            seen[seconds] = current_scope().deadline.budget

    async with anyio.create_task_group() as tasks:
        for seconds in (1.0, 2.0, 3.0):
            tasks.start_soon(request, seconds)
    assert seen == {1.0: 1.0, 2.0: 2.0, 3.0: 3.0}
    assert current_scope() is EMPTY


async def test_a_task_that_is_started_in_a_scope_keeps_it():
    seen = []

    async def work():
        seen.append(current_scope().deadline.budget)

    async with anyio.create_task_group() as tasks:
        with deadline(5.0):
            tasks.start_soon(work)
    assert seen == [5.0]


@pytest.mark.parametrize("enter", [lambda: deadline(5.0), detached])
def test_a_block_that_is_left_elsewhere_warns_and_hides_no_exception(enter):
    block = enter()
    contextvars.copy_context().run(block.__enter__)

    with pytest.warns(RuntimeWarning, match="another thread or task than it was entered in"):
        assert block.__exit__(LookupError, LookupError(), None) is None

    assert current_scope() is EMPTY
