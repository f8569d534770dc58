"""Ejections: who is left alone, how many at most, and when that is given up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.ejections import Ejections


def of(members: str, **facts) -> Ejections[str]:
    ejections: Ejections[str] = Ejections(**facts)
    ejections.keep(members)
    return ejections


def test_one_is_out_until_its_instant():
    ejections = of("abc")
    assert ejections.eject("a", "paused", 0.0, 10.0)
    assert ejections.out(9.9) == {"a"}
    assert ejections.out(10.0) == set()


def test_one_is_out_until_its_reason_is_withdrawn():
    ejections = of("abc")
    ejections.eject("a", "unhealthy", 0.0)
    assert ejections.out(1e9) == {"a"}
    ejections.readmit("a", "unhealthy", 1e9)
    assert ejections.out(1e9) == set()


def test_it_stays_out_as_long_as_one_reason_holds():
    ejections = of("abc")
    ejections.eject("a", "unhealthy", 0.0)
    ejections.eject("a", "paused", 0.0, 10.0)
    ejections.readmit("a", "unhealthy", 1.0)
    assert ejections.out(1.0) == {"a"}
    assert ejections.reasons("a", 1.0) == {"paused": 9.0}
    assert ejections.out(10.0) == set()


def test_a_reason_is_made_longer_and_never_shorter():
    ejections = of("abc")
    ejections.eject("a", "paused", 0.0, 10.0)
    ejections.eject("a", "paused", 1.0, 5.0)
    assert ejections.out(9.0) == {"a"}
    ejections.eject("a", "paused", 2.0, 20.0)
    assert ejections.out(19.0) == {"a"}


@pytest.mark.parametrize(("total", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_are_out(total, most):
    ejections = of("abcde"[:total], panic=1.0)
    assert [ejections.eject(member, "unhealthy", 0.0) for member in "abcde"[:total]].count(True) == most


def test_the_next_in_line_follows_when_one_comes_back():
    ejections = of("abcd", panic=1.0)
    for member in "abc":
        ejections.eject(member, "unhealthy", 0.0)
    assert ejections.out(0.0) == {"a", "b"}
    ejections.readmit("a", "unhealthy", 1.0)
    assert ejections.out(1.0) == {"b", "c"}


def test_beyond_the_panic_share_all_are_used_again_and_that_is_told():
    told = []
    ejections = of("abcd")
    ejections.on_panic = lambda *facts: told.append(facts)
    for member in "ab":
        ejections.eject(member, "unhealthy", 0.0)
    assert (ejections.out(0.0), told) == ({"a", "b"}, [])
    ejections.eject("c", "unhealthy", 0.0)  # three of four are more than 70 %
    assert (ejections.out(0.0), told) == (set(), [(True, 3, 4)])
    ejections.eject("d", "unhealthy", 0.0)
    assert told == [(True, 3, 4)]
    ejections.readmit("d", "unhealthy", 1.0)
    ejections.readmit("c", "unhealthy", 1.0)
    assert (ejections.out(1.0), told) == ({"a", "b"}, [(True, 3, 4), (False, 2, 4)])


def test_of_one_none_is_out_and_that_is_no_panic():
    told = []
    ejections = of("a")
    ejections.on_panic = lambda *facts: told.append(facts)
    assert not ejections.eject("a", "paused", 0.0, 5.0)
    assert (ejections.out(0.0), told) == (set(), [])


def test_a_panic_ends_by_itself_when_reasons_lapse():
    told = []
    ejections = of("ab")
    ejections.on_panic = lambda begins, *_: told.append(begins)
    ejections.eject("a", "paused", 0.0, 5.0)
    ejections.eject("b", "paused", 0.0, 10.0)
    assert ejections.out(0.0) == set()
    assert ejections.out(5.0) == {"b"}
    assert told == [True, False]


def test_an_endpoint_that_is_gone_is_not_counted():
    ejections = of("abcd")
    for member in "abc":
        ejections.eject(member, "unhealthy", 0.0)
    ejections.keep("cdef")
    assert ejections.out(0.0) == {"c"}


def test_whether_one_would_be_out_is_told_beforehand():
    ejections = of("abcd")
    assert ejections.may_eject("a", 0.0)
    ejections.eject("a", "paused", 0.0, 10.0)
    ejections.eject("b", "paused", 0.0, 10.0)
    assert ejections.may_eject("a", 0.0)
    assert not ejections.may_eject("c", 0.0)
    assert ejections.may_eject("c", 10.0)
    assert ejections.reasons("c", 0.0) == {}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["eject", "readmit", "later"]),
        st.sampled_from("abcdef"),
        st.sampled_from(["paused", "unhealthy", "slow"]),
        st.floats(0.1, 20.0),
    )
)


@given(total=st.integers(1, 6), panic=st.floats(0.1, 1.0), steps=STEPS)
def test_whatever_happens_at_most_half_are_out_and_only_those_that_have_a_reason(total, panic, steps):
    members = "abcdef"[:total]
    panics = []
    ejections = of(members, panic=panic)
    ejections.on_panic = lambda begins, *_: panics.append(begins)
    wanted: dict[tuple[str, str], float] = {}
    now = 0.0
    for step, member, reason, seconds in steps:
        if step == "later":
            now += seconds
        elif member in members and step == "eject":
            until = math.inf if reason != "paused" else now + seconds
            ejections.eject(member, reason, now, until)
            wanted[member, reason] = max(until, wanted.get((member, reason), until))
        elif member in members:
            ejections.readmit(member, reason, now)
            wanted.pop((member, reason), None)
        due = {each for (each, _), until in wanted.items() if until > now}
        wanted = {key: until for key, until in wanted.items() if until > now}
        out = ejections.out(now)
        assert out <= due
        assert len(out) == (0 if len(due) > panic * total else min(len(due), total // 2))
        assert ejections.panicking == (len(due) > panic * total and total > 1)
    assert panics == [index % 2 == 0 for index in range(len(panics))]


def test_what_is_said_of_one_that_is_gone_is_not_heard():
    ejections = of("abcd")
    assert not ejections.eject("z", "unhealthy", 0.0)
    for member in "ab":
        ejections.eject(member, "unhealthy", 0.0)
    assert ejections.out(0.0) == {"a", "b"}
    assert ejections.reasons("z", 0.0) == {}
