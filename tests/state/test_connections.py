"""Connections: which one takes the next request, with connections that are told their state."""

from __future__ import annotations

import threading

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from resilient_http.state.connections import Connections

ORIGIN = "http://payments"


class Line:
    """A connection, as httpcore's tell of themselves."""

    def __init__(self, *, multiplexed=False):
        self.multiplexed = multiplexed
        self.requests = 0
        self.cut = self.expired = self.closed = False

    def can_handle_request(self, origin):
        return origin == ORIGIN

    def is_available(self):
        return not self.closed and not self.cut and (self.multiplexed or not self.requests)

    def is_idle(self):
        return self.is_available() and not self.requests

    def is_closed(self):
        return self.closed

    def has_expired(self):
        return self.expired


def lend(connections, now=0.0, jitter=0.0):
    line, closing = connections.take(ORIGIN, now)
    if line is None:
        line = Line()
        connections.add(line, now, jitter)
    line.requests += 1
    return line, list(closing)


def give_back(connections, line, now=0.0):
    line.requests -= 1
    return list(connections.give_back(line, now))


def test_the_connection_that_was_used_last_is_used_next():
    connections = Connections(keep=10, max_age=300.0)
    first, _ = lend(connections)
    second, _ = lend(connections)
    give_back(connections, first)
    give_back(connections, second)

    assert lend(connections)[0] is second
    assert lend(connections)[0] is first
    assert len(connections) == 2


def test_no_two_requests_have_the_same_connection():
    connections = Connections(keep=10, max_age=300.0)

    assert len({lend(connections)[0] for _ in range(5)}) == 5


@pytest.mark.parametrize("state", ["cut", "closed"])
def test_what_comes_back_unusable_is_closed(state):
    connections = Connections(keep=10, max_age=300.0)
    line, _ = lend(connections)
    setattr(line, state, True)

    assert give_back(connections, line) == [line]
    assert len(connections) == 0


def test_an_idle_connection_that_has_expired_is_closed_when_another_is_asked_for():
    connections = Connections(keep=10, max_age=300.0)
    old, _ = lend(connections)
    give_back(connections, old)
    old.expired = True

    line, closing = lend(connections)

    assert line is not old
    assert closing == [old]


def test_after_a_burst_the_idle_ones_at_the_bottom_are_closed_too():
    connections = Connections(keep=10, max_age=300.0)
    lines = [lend(connections)[0] for _ in range(3)]
    for line in lines:
        give_back(connections, line)
    lines[0].expired = lines[1].expired = True

    line, closing = lend(connections, now=1.1)

    assert line is lines[2]
    assert closing == lines[:2]


@pytest.mark.parametrize(("jitter", "age"), [(0.0, 300.0), (1.0, 270.0)])
def test_a_connection_lives_for_its_age_less_up_to_a_tenth(jitter, age):
    connections = Connections(keep=10, max_age=300.0)
    line, _ = lend(connections, jitter=jitter)
    give_back(connections, line)

    assert lend(connections, now=age - 0.1)[0] is line
    assert give_back(connections, line, now=age) == [line]


def test_one_more_than_may_be_kept_closes_the_one_that_was_idle_for_longest():
    connections = Connections(keep=2, max_age=300.0)
    lines = [lend(connections)[0] for _ in range(3)]

    assert [give_back(connections, line) for line in lines] == [[], [], [lines[0]]]


def test_where_nothing_is_kept_each_request_closes_its_own():
    connections = Connections(keep=0, max_age=300.0)
    line, _ = lend(connections)

    assert give_back(connections, line) == [line]


def test_a_connection_to_another_origin_is_not_used():
    connections = Connections(keep=10, max_age=300.0)
    line, _ = lend(connections)
    give_back(connections, line)

    assert connections.take("https://payments", 0.0) == (None, [line])


def test_a_shared_connection_serves_several_and_is_closed_when_the_last_was_cut():
    connections = Connections(keep=10, max_age=300.0, shared=True)
    line = Line(multiplexed=True)
    connections.add(line, 0.0, 0.0)
    line.requests += 1

    assert lend(connections)[0] is line
    line.cut = True
    assert give_back(connections, line) == []
    assert give_back(connections, line) == [line]


def test_from_a_shared_one_that_speaks_http1_nobody_else_gets_it_while_it_is_busy():
    connections = Connections(keep=10, max_age=300.0, shared=True)
    first, _ = lend(connections)
    second, closing = lend(connections)

    assert (second is first, closing) == (False, [])
    assert (give_back(connections, first), give_back(connections, second)) == ([], [])
    assert lend(connections)[0] is second


def test_when_nothing_is_kept_any_more_those_in_use_are_closed_as_they_come_back():
    connections = Connections(keep=10, max_age=300.0)
    idle, busy = lend(connections)[0], lend(connections)[0]
    give_back(connections, idle)

    assert list(connections.keep_nothing()) == [idle]
    assert give_back(connections, busy) == [busy]


def test_who_has_a_connection_when_all_are_taken_closes_it_as_it_comes_back():
    connections = Connections(keep=10, max_age=300.0)
    line, _ = lend(connections)

    assert list(connections.take_all()) == [line]
    assert give_back(connections, line) == [line]
    assert len(connections) == 0


def test_of_shared_ones_only_an_idle_one_is_too_many():
    connections = Connections(keep=1, max_age=300.0, shared=True)
    first, second, third = (lend(connections)[0] for _ in range(3))  # they turned out to be HTTP/1.1

    assert give_back(connections, first) == []
    assert give_back(connections, second) == [first]
    assert give_back(connections, third) == [second]
    assert len(connections) == 1


def test_nobody_joins_a_shared_connection_on_which_a_request_was_cut():
    connections = Connections(keep=10, max_age=300.0, shared=True)
    line = Line(multiplexed=True)
    connections.add(line, 0.0, 0.0)
    line.requests += 1
    assert lend(connections)[0] is line
    line.requests -= 1
    assert list(connections.give_back(line, 0.0, cut=True)) == []

    other, closing = lend(connections)

    assert other is not line
    assert closing == []
    assert give_back(connections, line) == [line]


def test_thirty_two_threads_never_share_a_connection_and_lose_none():
    connections, shared = Connections(keep=100, max_age=300.0), []

    def work():
        for _ in range(500):
            line, _ = lend(connections)
            if line.requests != 1:
                shared.append(line)
            give_back(connections, line)

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not shared
    assert len(connections) <= 32
    open_ones = len(connections)
    assert len(list(connections.keep_nothing())) == open_ones
    assert len(connections) == 0


class Lending(RuleBasedStateMachine):
    """Any order of requests, cuts, closes and expiries: each connection is lent once, closed once, and lost never."""

    lent = Bundle("lent")

    shared = False

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.connections = Connections(keep=3, max_age=10.0, shared=self.shared)
        self.made = []
        self.busy = []
        self.gone = []

    def close(self, closing):
        for line in closing:
            assert line not in self.gone
            assert line not in self.busy
            line.closed = True
            self.gone.append(line)

    @rule(target=lent)
    def request(self):
        line, closing = self.connections.take(ORIGIN, self.now)
        if line is None:
            line = Line()
            self.made.append(line)
            self.connections.add(line, self.now, 0.5)
        assert line not in self.busy
        assert not line.closed
        line.requests += 1
        self.busy.append(line)
        self.close(closing)
        return line

    @rule(line=consumes(lent), ending=st.sampled_from(["whole", "cut", "closed by the server"]))
    def end(self, line, ending):
        line.requests -= 1
        line.cut = ending == "cut"
        line.closed = ending == "closed by the server"
        self.busy.remove(line)
        self.close(self.connections.give_back(line, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.5, 9.6]))
    def wait(self, seconds):
        self.now += seconds

    @rule(data=st.data())
    def expire(self, data):
        idle = [line for line in self.made if line not in self.busy and line not in self.gone]
        if idle:
            data.draw(st.sampled_from(idle)).expired = True

    @invariant()
    def none_is_lost(self):
        open_ones = [line for line in self.made if line not in self.gone]
        assert len(self.connections) == len(open_ones)
        assert len(open_ones) - len(self.busy) <= 3


class LendingWhatMayBeShared(Lending):
    """The same where each might have turned out to be HTTP/2, and is HTTP/1.1."""

    shared = True


TestLending = Lending.TestCase
TestLendingWhatMayBeShared = LendingWhatMayBeShared.TestCase
