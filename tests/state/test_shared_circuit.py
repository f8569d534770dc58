"""The shared circuit: who votes, who follows, who probes; with literals, and any number of processes at random."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from resilient_http.state.outcome import Outcome
from resilient_http.state.shared_circuit import (
    Baton,
    Move,
    Opinion,
    SharedCircuit,
    SharingRules,
    Stance,
    Step,
    read_baton,
    read_opinion,
)
from tests.state.circuits import Clock, circuit_of, feed

OPEN, FOLLOWS, CLOSED = (Opinion(stance) for stance in (Stance.OPEN, Stance.FOLLOWS, Stance.CLOSED))


def shared(clock=None, *, name="me", **rules):
    return SharedCircuit(circuit_of(clock, **rules), SharingRules(), name)


def told(circuit, *opinions, now, baton=None, left=0.0):
    """It hears this, and its exchange is complete. Its state then."""
    circuit.hear(opinions, baton, left, now)
    circuit.guide(now)
    return circuit.circuit.current_state


# Opinions


def test_a_process_says_what_it_saw():
    me = shared()
    assert me.opinion(0.0) is None  # nothing
    feed(me.circuit, "S", now=0.0)
    assert me.opinion(30.0) == CLOSED
    assert me.opinion(30.1) is None  # nothing lately
    feed(me.circuit, "FFFFF", now=31.0)
    assert me.opinion(31.0) == OPEN
    me.circuit.acquire(36.0)
    assert me.circuit.current_state == "half-open"
    assert me.opinion(36.0) == OPEN


def test_who_followed_has_no_vote():
    me = shared()
    told(me, OPEN, OPEN, now=0.0)
    assert me.opinion(0.0) == FOLLOWS


@pytest.mark.parametrize("switch", ["force_open", "force_close", "disable", "open", "half_open"])
def test_what_a_person_switched_is_nobody_elses_and_others_do_not_change_it(switch):
    me = shared()
    feed(me.circuit, "S")
    getattr(me.circuit, switch)()
    mode = me.circuit.mode
    assert me.opinion(0.0) is None
    told(me, OPEN, OPEN, OPEN, now=1.0)
    told(me, baton=Baton(Step.PASSED, "other", 1), now=1.0)
    assert me.circuit.mode == mode
    assert me.next_move(100.0) is None


@pytest.mark.parametrize("opinion", [OPEN, FOLLOWS, CLOSED, Opinion(Stance.OPEN, wants=True)])
def test_an_opinion_is_read_as_it_was_written(opinion):
    assert read_opinion(str(opinion)) == opinion


@pytest.mark.parametrize("text", ["", "!", "ajar", None, 5, ["open"]])
def test_what_is_no_opinion_is_none(text):
    assert read_opinion(text) is None


@pytest.mark.parametrize("step", Step)
def test_a_baton_is_read_as_it_was_written(step):
    assert read_baton(str(Baton(step, "me", 3, 7.5))) == Baton(step, "me", 3, 7.5)


@pytest.mark.parametrize("text", [None, "", "probes", "probes me x 0", "runs me 1 0", "probes me 1 0 0"])
def test_what_is_no_baton_is_none(text):
    assert read_baton(text) is None


# Following


@pytest.mark.parametrize(
    ("opinions", "follows"),
    [
        ([], False),
        ([OPEN], False),
        ([OPEN, OPEN], True),
        ([OPEN, FOLLOWS, FOLLOWS], False),
        ([OPEN, OPEN, CLOSED, CLOSED], True),
        ([OPEN, OPEN, CLOSED, CLOSED, CLOSED], False),
        ([OPEN, OPEN, FOLLOWS, FOLLOWS, FOLLOWS], True),
        ([CLOSED, CLOSED, CLOSED], False),
    ],
)
def test_it_opens_when_two_and_half_of_those_that_know_have(opinions, follows):
    me = shared()
    assert told(me, *opinions, now=10.0) == ("open" if follows else "closed")


def test_it_counts_itself_among_those_that_know():
    me = shared()
    feed(me.circuit, "S", now=0.0)
    assert told(me, OPEN, OPEN, CLOSED, CLOSED, now=10.0) == "closed"
    assert (me.votes, me.voters) == (2, 5)


def test_a_success_of_a_moment_ago_keeps_it_closed_and_no_longer():
    me = shared()
    feed(me.circuit, "S", now=9.8)
    assert told(me, OPEN, OPEN, now=10.0) == "closed"
    assert told(me, OPEN, OPEN, now=10.25) == "closed"
    assert told(me, OPEN, OPEN, now=10.31) == "open"


def test_a_success_since_it_heard_keeps_it_closed_until_something_fails():
    me = shared()
    feed(me.circuit, "S", now=9.8)
    told(me, OPEN, OPEN, now=10.0)
    feed(me.circuit, "S", now=10.1)
    assert told(me, OPEN, OPEN, now=20.0) == "closed"
    feed(me.circuit, "F", now=20.1)
    assert told(me, OPEN, OPEN, now=20.2) == "open"


def test_what_others_say_right_after_it_closed_is_old():
    clock = Clock()
    me = shared(clock)
    told(me, OPEN, OPEN, now=0.0)
    assert told(me, OPEN, OPEN, now=1.0, baton=Baton(Step.PASSED, "other", 1)) == "closed"
    assert told(me, OPEN, OPEN, now=2.9) == "closed"
    assert told(me, OPEN, OPEN, now=3.1) == "open"


def test_what_others_say_right_after_its_own_probes_closed_it_is_old():
    me = due()
    taken(me, 5.0)
    for _ in range(2):
        me.circuit.record(me.circuit.acquire(5.0), Outcome.SUCCESS, 5.0)
    assert told(me, OPEN, OPEN, now=5.1) == "closed"
    assert told(me, OPEN, OPEN, now=7.0) == "closed"
    assert told(me, OPEN, OPEN, now=7.2) == "open"


def test_it_does_not_follow_when_it_has_changed_meanwhile():
    circuit = circuit_of()
    before = circuit.generation
    circuit.open()
    circuit.close()
    circuit.follow(0.0, before)
    assert circuit.closed
    circuit.follow(0.0, circuit.generation)
    after = circuit.generation
    circuit.join(0.0, before)
    assert not circuit.closed
    circuit.join(0.0, after)
    assert circuit.closed


# The baton


def due(clock=None, *, name="me"):
    """A circuit that is about to be due to probe, and nobody has the baton."""
    me = shared(clock, name=name)
    feed(me.circuit, "FFFFF", now=0.0)
    told(me, now=4.5)
    return me


def taken(me, now):
    """It takes the baton."""
    move = me.next_move(now)
    assert move.expected is None
    me.moved(move, True, now)
    me.guide(now)
    return move.baton


def test_it_asks_for_the_baton_ahead_of_the_instant_and_probes_with_it():
    me = due()
    told(me, now=4.4)
    assert me.next_move(4.4) is None
    assert taken(me, 4.6) == Baton(Step.PROBES, "me", 1)
    assert me.circuit.acquire(4.9) is None
    assert me.circuit.acquire(5.0).probe


def test_without_the_baton_it_refuses_and_wants_it():
    me = due()
    told(me, now=5.5, baton=Baton(Step.PROBES, "other", 1), left=2.0)
    assert me.next_move(5.5) is None
    assert me.circuit.acquire(5.6) is None
    assert me.circuit.retry_in(5.6) == pytest.approx(1.9)
    assert me.opinion(5.6) == Opinion(Stance.OPEN, wants=True)
    told(me, now=6.0)
    taken(me, 6.0)
    assert me.opinion(6.0) == Opinion(Stance.OPEN)


def test_a_person_lets_probes_through_with_or_without_the_baton():
    me = shared(Clock())
    told(me, OPEN, OPEN, now=0.0)
    me.circuit.half_open()
    told(me, now=0.1, baton=Baton(Step.PROBES, "other", 1), left=2.0)
    assert me.circuit.acquire(0.2).probe


def test_out_of_touch_it_probes_by_its_own_time():
    me = due()
    told(me, now=5.5, baton=Baton(Step.PROBES, "other", 1), left=2.0)
    assert me.circuit.acquire(7.4) is None
    assert me.circuit.acquire(7.5).probe
    me = due()
    told(me, now=5.5, baton=Baton(Step.PROBES, "other", 1), left=2.0)
    me.alone()
    assert me.circuit.acquire(5.6).probe


def test_the_holder_keeps_it_while_it_probes_and_loses_it_when_it_cannot_say_so():
    me = due()
    baton = taken(me, 5.0)
    assert me.circuit.acquire(5.0) is not None
    move = me.next_move(6.0)
    assert move == Move(baton, baton, 2.0)
    me.moved(move, True, 6.0)
    assert me.baton == baton
    me.moved(me.next_move(7.0), False, 7.0)
    assert me.baton is None


def test_the_holder_may_probe_for_no_longer_than_nobody_else_can():
    me = due()
    taken(me, 5.0)
    me.hear([], me.baton, 2.0, 6.9)
    me.circuit.guide(99.0, 7.0)  # in touch, but the baton was last granted at 5.0
    assert me.circuit.acquire(7.0) is None
    assert me.next_move(7.0) is None
    assert me.baton is None


def test_a_probe_that_fails_makes_everybody_rest_as_long():
    me, other = due(), due(name="other")
    baton = taken(me, 5.0)
    me.circuit.record(me.circuit.acquire(5.0), Outcome.FAILURE, 5.5)
    move = me.next_move(5.5)
    assert move == Move(baton, Baton(Step.FAILED, "me", 1, 10.0), 10.0)
    me.moved(move, True, 5.5)
    assert me.baton is None
    told(other, now=6.0, baton=move.baton, left=9.5)
    assert other.circuit.retry_in(6.0) == 9.5
    told(other, now=15.1)
    taken(other, 15.1)
    other.circuit.record(other.circuit.acquire(15.5), Outcome.FAILURE, 15.5)
    assert other.circuit.rest == 20.0  # not 10: the rest of all of them doubles


def test_probes_that_succeed_close_everybodys_circuit():
    me, other = due(), due(name="other")
    baton = taken(me, 5.0)
    for _ in range(2):
        me.circuit.record(me.circuit.acquire(5.0), Outcome.SUCCESS, 5.1)
    move = me.next_move(5.2)
    assert move == Move(baton, Baton(Step.PASSED, "me", 1), 4.0)
    me.moved(move, True, 5.2)
    assert told(other, CLOSED, now=5.4, baton=move.baton, left=4.0) == "closed"
    feed(other.circuit, "FFFFF", now=5.5)
    assert told(other, CLOSED, now=5.6, baton=move.baton, left=3.8) == "open"  # for reasons of its own


def test_an_idle_holder_gives_it_to_who_wants_it_and_lets_others_go_first():
    me = due()
    baton = taken(me, 5.0)
    told(me, Opinion(Stance.OPEN, wants=True), now=5.9, baton=baton)
    assert me.next_move(5.9).baton == baton
    told(me, Opinion(Stance.OPEN, wants=True), now=6.0, baton=baton)
    move = me.next_move(6.0)
    assert move == Move(baton, None)
    me.moved(move, True, 6.0)
    told(me, now=6.3)
    assert me.next_move(6.3) is None
    told(me, now=10.0)
    assert me.next_move(10.0) is not None


def test_a_holder_whose_probe_is_under_way_is_not_idle():
    me = due()
    baton = taken(me, 5.0)
    assert me.circuit.acquire(5.0).probe
    for now in (6.0, 7.0, 8.0):
        told(me, Opinion(Stance.OPEN, wants=True), now=now - 0.5, baton=baton)
        move = me.next_move(now - 0.5)
        assert move.baton == baton
        me.moved(move, True, now - 0.5)


def test_an_idle_holder_that_nobody_envies_keeps_it():
    me = due()
    now = 5.0
    baton = taken(me, now)
    for _ in range(100):
        now += 1.0
        told(me, FOLLOWS, now=now, baton=baton)
        move = me.next_move(now)
        assert move.baton == baton
        me.moved(move, True, now)
        me.guide(now)
    assert me.circuit.acquire(now).probe


def test_the_holder_that_a_person_switches_gives_it_back():
    me = due(Clock())
    baton = taken(me, 5.0)
    me.circuit.close()
    assert me.next_move(5.1) == Move(baton, None, 4.0)
    me.circuit.force_open()
    assert me.next_move(5.1) == Move(baton, None)


class Cluster(RuleBasedStateMachine):
    """Some processes, one board between them, an endpoint that is up or down; rounds, calls and losses in any order."""

    @initialize(count=st.integers(2, 5), seed=st.integers(0, 1000))
    def begin(self, count, seed):
        self.now = 0.0
        self.rng = random.Random(seed)
        self.up = True
        self.processes = [
            SharedCircuit(circuit_of(open_for=1.0, max_open_for=4.0), SharingRules(), f"p{number}")
            for number in range(count)
        ]
        self.says = {}  # process -> what it says, until when
        self.baton, self.baton_until = None, 0.0
        self.probes = []  # (process, permit)
        self.in_touch_since = dict.fromkeys(range(count), 0.0)

    def board(self):
        return self.baton if self.now < self.baton_until else None

    def round_of(self, number):
        me = self.processes[number]
        self.says[number] = (me.opinion(self.now), self.now + 2.0)
        opinions = [
            opinion
            for other, (opinion, until) in self.says.items()
            if other != number and until > self.now and opinion is not None
        ]
        me.hear(opinions, self.board(), self.baton_until - self.now, self.now)
        move = me.next_move(self.now)
        if move is not None:
            done = self.board() == move.expected
            if done:
                self.baton, self.baton_until = move.baton, self.now + move.lasts
            me.moved(move, done, self.now)
        me.guide(self.now)

    def call(self, number):
        circuit = self.processes[number].circuit
        permit = circuit.acquire(self.now)
        if permit is not None:
            circuit.record(permit, Outcome.SUCCESS if self.up else Outcome.FAILURE, self.now)
        return permit

    @rule(seconds=st.sampled_from([0.1, 0.25, 0.5]))
    def pass_time(self, seconds):
        self.now += seconds
        for number in range(len(self.processes)):
            self.round_of(number)

    @rule(which=st.integers(0, 99), times=st.integers(1, 6))
    def calls(self, which, times):
        for _ in range(times):
            self.call(which % len(self.processes))

    @rule(which=st.integers(0, 99))
    def slow_probe(self, which):
        circuit = self.processes[which % len(self.processes)].circuit
        permit = circuit.acquire(self.now)
        if permit is not None and permit.probe:
            self.probes.append((circuit, permit))
        elif permit is not None:
            circuit.record(permit, Outcome.NEUTRAL, self.now)

    @rule()
    def probes_end(self):
        for circuit, permit in self.probes:
            circuit.record(permit, Outcome.SUCCESS if self.up else Outcome.FAILURE, self.now)
        self.probes = []

    @rule(up=st.booleans())
    def turn(self, up):
        self.up = up

    @invariant()
    def never_two_may_probe(self):
        may = [each for each in self.processes if not each.circuit.closed and each.circuit.admits(self.now)]
        assert len(may) <= 1

    @invariant()
    def nobody_is_left_behind_without_a_vote(self):
        for each in self.processes:
            assert each.voters >= each.votes

    def teardown(self):
        """Once the endpoint is up and all have calls, every circuit closes; and stays so."""
        if not hasattr(self, "now"):
            return
        self.up = True
        self.probes_end()
        for _ in range(200):
            self.pass_time(0.25)
            for number in range(len(self.processes)):
                self.call(number)
        assert {each.circuit.mode for each in self.processes} == {"closed"}


Cluster.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestCluster = Cluster.TestCase
