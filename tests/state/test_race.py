from __future__ import annotations

import threading

import pytest

from resilient_http.state.race import FIRST, HEDGE, Race


def race(*, joined=True):
    made = Race(lambda response: response == "good")
    if joined:
        assert made.join()
    return made


@pytest.mark.parametrize("lane", [FIRST, HEDGE])
def test_the_first_good_one_wins_and_the_other_is_nobodys(lane):
    made = race()
    assert made.finish(lane, "good", None)
    assert (made.winner, made.outcome) == (lane, ("good", None))
    assert not made.finish(1 - lane, "good", None)
    assert (made.winner, made.spare) == (lane, None)


def test_a_bad_end_waits_for_the_other():
    made = race()
    made.finish(FIRST, "bad", None)
    assert made.winner is None
    made.finish(HEDGE, "good", None)
    assert (made.winner, made.outcome, made.spare) == (HEDGE, ("good", None), "bad")


@pytest.mark.parametrize("order", [(FIRST, HEDGE), (HEDGE, FIRST)])
def test_when_both_ended_badly_the_firsts_outcome_stands(order):
    failure = OSError("reset")
    made = race()
    for lane in order:
        made.finish(lane, *((None, failure) if lane == FIRST else ("bad", None)))
    assert (made.winner, made.outcome, made.spare) == (FIRST, (None, failure), "bad")


def test_a_first_attempt_that_failed_before_the_hedge_decides_alone():
    made = race(joined=False)
    made.finish(FIRST, "bad", None)
    assert made.winner == FIRST
    assert not made.join()


def test_what_ends_after_a_race_was_called_off_is_nobodys_and_so_is_a_hedge_that_had_won():
    made = race()
    made.call_off()
    assert not made.finish(HEDGE, "good", None)
    assert not race_called_off_before_it_began().join()
    won = race()
    won.finish(HEDGE, "good", None)
    won.call_off()
    assert won.spare == "good"


def race_called_off_before_it_began():
    made = race(joined=False)
    made.call_off()
    return made


def test_it_knows_whether_the_hedge_has_joined():
    made = race(joined=False)
    assert not made.joined
    made.join()
    assert made.joined


def test_one_of_two_threads_wins():
    for _ in range(300):
        made, gate, told = race(), threading.Barrier(2), []

        def run(lane, made=made, gate=gate, told=told):
            gate.wait()
            told.append(made.finish(lane, "good", None))

        threads = [threading.Thread(target=run, args=(lane,)) for lane in (FIRST, HEDGE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == [False, True]
