"""Membership: what an answer of discovery does, with literals and with any sequence of answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.membership import Membership, Verdict

AFTER = 5.0


def facts(nodes):
    return dict.fromkeys(nodes, (1.0, False, None))


class Source:
    """A membership, and the nodes that it has been led to."""

    def __init__(self, nodes="", *, confirm_after=AFTER):
        self.membership = Membership(confirm_after)
        self.nodes = set()
        if nodes:
            assert self.says(nodes, 0.0) == "applied"

    def says(self, nodes, now, *, out="", failed=""):
        verdict = self.membership.answer(facts(nodes), now, out=set(out), failed=set(failed))
        if verdict is Verdict.APPLIED:
            self.nodes = set(nodes)
        return verdict


def test_the_first_answer_is_applied_as_it_is():
    assert Source().says("a", 0.0) == "applied"
    assert Source().says("abc", 0.0, out="ab") == "applied"


def test_the_same_answer_changes_nothing_and_is_not_old():
    source = Source("abc")
    assert source.says("cba", 60.0) == "unchanged"
    assert source.membership.age(61.0) == 1.0


def test_another_weight_is_a_change():
    source = Source("ab")
    assert source.membership.answer({"a": (2.0, False, None), "b": (1.0, False, None)}, 1.0) == "applied"


@pytest.mark.parametrize(
    ("before", "after"), [("ab", "a"), ("abcd", "ab"), ("abcd", "abx"), ("a", "abcdef"), ("abc", "ab")]
)
def test_up_to_half_may_go_at_once(before, after):
    assert Source(before).says(after, 1.0) == "applied"


@pytest.mark.parametrize(
    ("before", "after"), [("abc", "a"), ("abcde", "ab"), ("a", "b"), ("ab", "cd"), ("abc", "cdefgh")]
)
def test_more_than_half_are_held_until_an_answer_says_so_once_more_and_late_enough(before, after):
    source = Source(before)
    assert source.says(after, 1.0) == "held"
    assert source.membership.held.missing == set(before) - set(after)
    assert source.says(after, 1.0 + AFTER - 0.01) == "held"
    assert source.membership.held.since == 1.0
    assert source.says(after, 1.0 + AFTER) == "applied"
    assert source.membership.held is None
    assert source.nodes == set(after)


def test_an_answer_that_brings_them_back_takes_what_was_held_back():
    source = Source("abc")
    assert source.says("a", 1.0) == "held"
    assert source.says("abc", 2.0) == "unchanged"
    assert source.membership.held is None
    assert source.says("a", 7.0) == "held"  # they were there in between, so this is the first that leaves them out


def test_what_is_confirmed_need_not_be_the_same_set():
    source = Source("abcd")
    assert source.says("dx", 1.0) == "held"
    assert source.says("dxy", 7.0) == "applied"
    assert source.nodes == set("dxy")


def test_one_that_has_just_gone_missing_is_not_confirmed_by_what_was_said_of_others():
    source = Source("abcd")
    assert source.says("cd", 1.0) == "applied"
    assert source.says("d", 1.5) == "held"  # three of four within five seconds


def test_one_after_the_other_is_as_fast_as_all_at_once():
    source = Source("abcde")
    assert [source.says(rest, i * 0.01) for i, rest in enumerate(["bcde", "cde", "de", "e"], start=1)] == [
        "applied",
        "applied",
        "held",
        "held",
    ]
    assert source.nodes == set("cde")


def test_what_went_long_ago_does_not_count_any_more():
    source = Source("abcde")
    assert source.says("bcde", 1.0) == "applied"
    assert source.says("cde", 7.0) == "applied"
    assert source.says("de", 13.0) == "applied"
    assert source.says("e", 19.0) == "applied"


def test_a_rolling_restart_is_not_held_up():
    source = Source("abcd")
    for i, nodes in enumerate(["abcde", "bcde", "bcdef", "cdef", "cdefg", "defg", "defgh", "efgh"]):
        assert source.says(nodes, 1.0 + i) == "applied"


@pytest.mark.parametrize(
    ("out", "after", "verdict"),
    [
        ("", "abc", "applied"),
        ("d", "abc", "applied"),  # it is the one that goes
        ("a", "abc", "applied"),
        ("ab", "abc", "held"),
        ("ab", "cd", "applied"),  # the same two
        ("ab", "abcdx", "applied"),  # nobody goes
    ],
)
def test_those_that_are_ejected_count_as_gone(out, after, verdict):
    assert Source("abcd").says(after, 1.0, out=out) == verdict


@pytest.mark.parametrize(
    ("failed", "after", "verdict"),
    [
        ("a", "b", "applied"),  # the one there was is down, and is replaced
        ("abc", "d", "applied"),
        ("abc", "abcx", "held"),  # the last one that works would go
        ("ab", "cx", "applied"),
        ("ab", "x", "held"),
    ],
)
def test_those_that_have_failed_are_taken_away_by_nobody(failed, after, verdict):
    source = Source("a" if failed == "a" else "abcd")
    assert source.says(after, 1.0, failed=failed) == verdict


def test_an_answer_can_be_confirmed_by_the_nodes_failure():
    source = Source("a")
    assert source.says("b", 1.0) == "held"
    assert source.says("b", 1.2, failed="a") == "applied"


def test_nothing_is_held_where_no_confirmation_is_wanted():
    source = Source("abcdefgh", confirm_after=None)
    assert source.says("x", 1.0) == "applied"
    assert source.says("y", 1.0) == "applied"
    assert not source.membership._left


def test_failures_are_told_once_and_so_is_their_end():
    membership = Source("a").membership
    assert membership.fail("timeout", 10.0)
    assert not membership.fail("SERVFAIL", 11.0)
    assert (membership.failing, membership.failing_since) == ("SERVFAIL", 10.0)
    assert membership.age(12.0) == 12.0
    assert membership.recover(13.0) == 3.0
    assert membership.recover(14.0) is None
    assert (membership.failing, membership.failing_since) == (None, None)
    assert membership.fail("timeout", 20.0)


def test_a_failure_in_between_does_not_break_the_confirmation():
    source = Source("abc")
    assert source.says("a", 1.0) == "held"
    source.membership.fail("timeout", 3.0)
    assert source.says("a", 6.0) == "applied"


def test_an_answer_without_nodes_is_a_mistake_of_the_callers():
    with pytest.raises(ValueError, match="without nodes"):
        Source("a").membership.answer({}, 1.0)


def test_before_any_answer_the_age_is_infinite():
    assert Membership(AFTER).age(0.0) == math.inf


answers = st.lists(
    st.tuples(
        st.sets(st.sampled_from("abcdefgh"), min_size=1),
        st.floats(0.01, 4.0),
        st.sets(st.sampled_from("abcdefgh"), max_size=3),
    ),
    min_size=1,
    max_size=30,
)


@given(answers)
def test_never_more_than_half_go_in_a_span_unless_answers_agreed_for_as_long(said):
    """Whatever comes: who went within `confirm_after` seconds was at most half, or had been missing for that long."""
    source, now = Source(), 0.0
    unconfirmed: list[tuple[float, str]] = []
    missing_since: dict[str, float] = {}
    for nodes, pause, out in said:
        now += pause
        before = set(source.nodes)
        missing_since = {node: missing_since.get(node, now) for node in before - nodes}
        verdict = source.says(nodes, now, out=out)
        assert source.nodes, "the last one went"
        if verdict is not Verdict.APPLIED or not before:
            continue
        gone = before - source.nodes
        unconfirmed = [(at, node) for at, node in unconfirmed if at > now - AFTER and node not in before]
        unconfirmed += [(now, node) for node in gone if now - missing_since[node] < AFTER]
        if any(at == now for at, _ in unconfirmed):
            confirmed = {node for node in gone if now - missing_since[node] >= AFTER}
            there = (before | {node for _, node in unconfirmed}) - confirmed
            lost = {node for _, node in unconfirmed} | ((out & before) & there)
            assert 2 * len(lost) <= len(there)


@given(answers)
def test_an_answer_that_stands_is_believed_in_the_end(said):
    source, now = Source("abcdefgh"), 0.0
    for nodes, pause, _ in said:
        now += pause
        source.says(nodes, now)
    last = said[-1][0]
    source.says(last, now + 0.1)
    assert source.says(last, now + 0.1 + AFTER) in ("applied", "unchanged")
    assert source.nodes == last
