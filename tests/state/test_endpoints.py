"""Endpoints: what an attempt that was cut short counts as, the penalty, and which endpoint is chosen."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from resilient_http.state.endpoint import Endpoint, Link
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.outcome import Outcome
from tests.state.circuits import circuit_of, feed


def node(name: str = "n1", *, circuit: bool = True, **facts) -> Endpoint:
    return Endpoint("http", name, 80, circuit=circuit_of() if circuit else None, **facts)


def nodes(*names: str, **facts) -> list[Endpoint]:
    return [node(name, **facts) for name in names]


def attempt(endpoint: Endpoint, outcome: Outcome, now: float = 0.0, **facts) -> None:
    """One attempt at this very endpoint."""
    permit = endpoint.circuit.acquire(now) if endpoint.circuit else None
    endpoint.begin()
    endpoint.settle(permit, outcome, now, **facts)


def chosen(endpoints: Endpoints, times: int = 1000, *, tried=(), rng=None, now: float = 0.0) -> Counter:
    """How often each is chosen when nothing is under way."""
    rng = rng or random.Random(1)
    counts: Counter = Counter()
    for _ in range(times):
        member, permit = endpoints.choose(now, rng, tried)
        member.settle(permit, Outcome.NEUTRAL, now)
        counts[member.host] += 1
    return counts


def knowing(seconds: float) -> Endpoint:
    """An endpoint whose usual latency is known."""
    endpoint = node()
    for _ in range(20):
        attempt(endpoint, Outcome.SUCCESS, answered=seconds)
    return endpoint


# Addresses


@pytest.mark.parametrize(
    ("scheme", "host", "port", "url"),
    [
        ("http", "10.0.0.1", 8080, "http://10.0.0.1:8080"),
        ("http", "10.0.0.1", 80, "http://10.0.0.1"),
        ("https", "pay.example", 443, "https://pay.example"),
        ("https", "pay.example", 80, "https://pay.example:80"),
        ("http", "::1", 8080, "http://[::1]:8080"),
    ],
)
def test_its_url_is_written_as_a_person_would(scheme, host, port, url):
    assert Endpoint(scheme, host, port).url == url


def test_it_is_reached_as_it_was_told():
    link = Link(host="pay.example", http2=True)
    assert Endpoint("http", "n1", 80, link=link).link is link
    assert Endpoint("http", "n1", 80).link == Link()


# Silent: patient enough for the settings, or for what is usual; 1 s while that is unknown


def test_a_second_is_patient_enough_while_nothing_is_known():
    assert node().judge_cut(1.0, 3.0) is Outcome.UNANSWERED
    assert node().judge_cut(0.99, 3.0) is Outcome.NEUTRAL


def test_the_upstreams_own_patience_is_always_enough():
    assert node().judge_cut(0.5, 0.5) is Outcome.UNANSWERED
    assert knowing(1.0).judge_cut(0.5, 0.5) is Outcome.UNANSWERED


def test_four_times_the_usual_is_patient_enough():
    endpoint = knowing(0.1)
    assert endpoint.judge_cut(0.39, 3.0) is Outcome.NEUTRAL
    assert endpoint.judge_cut(0.44, 3.0) is Outcome.UNANSWERED  # p95 is exact to 9 %


def test_a_quarter_of_a_second_is_the_least_however_quick_it_usually_is():
    endpoint = knowing(0.001)
    assert endpoint.judge_cut(0.24, 3.0) is Outcome.NEUTRAL
    assert endpoint.judge_cut(0.25, 3.0) is Outcome.UNANSWERED


def test_a_slow_endpoint_is_given_the_time_it_usually_takes():
    assert knowing(0.6).judge_cut(2.0, 3.0) is Outcome.NEUTRAL


# Silent: ten in a row that each waited a quarter of a second, with no answer between them


def cut(endpoint: Endpoint, waited: float, now: float = 0.0) -> Outcome:
    """One attempt that was cut short after so long."""
    permit = endpoint.circuit.acquire(now)
    assert permit is not None, "the circuit is open"
    endpoint.begin()
    outcome = endpoint.judge_cut(waited, 3.0)
    endpoint.settle(permit, outcome, now)
    return outcome


def test_ten_in_a_row_that_waited_a_quarter_of_a_second_are_silent():
    endpoint = node()
    assert [cut(endpoint, 0.25) for _ in range(10)] == [Outcome.NEUTRAL] * 9 + [Outcome.UNANSWERED]


def test_the_ten_count_as_ten_so_the_circuit_opens():
    for endpoint in (node(), knowing(0.1)):
        for _ in range(9):
            cut(endpoint, 0.3)
        assert endpoint.circuit.current_state == "closed"
        cut(endpoint, 0.3)
        assert endpoint.circuit.current_state == "open"


def test_a_hundred_good_answers_do_not_hide_a_node_that_hangs():
    endpoint = node()
    for _ in range(100):
        attempt(endpoint, Outcome.SUCCESS, answered=0.1)
    for _ in range(10):
        cut(endpoint, 0.3)
    assert endpoint.circuit.current_state == "open"


@pytest.mark.parametrize(
    "between",
    [Outcome.SUCCESS, Outcome.ERROR, Outcome.FAILURE, Outcome.NEUTRAL],
    ids=["200", "500", "503", "429"],
)
def test_any_answer_between_them_starts_the_count_anew(between):
    endpoint = node()
    for _ in range(9):
        cut(endpoint, 0.3)
    attempt(endpoint, between, answered=0.01)
    assert [cut(endpoint, 0.3) for _ in range(9)] == [Outcome.NEUTRAL] * 9


def test_what_is_no_answer_between_them_does_not_start_the_count_anew():
    endpoint = node()
    for _ in range(9):
        cut(endpoint, 0.3)
    attempt(endpoint, Outcome.UNANSWERED)  # refused, say
    attempt(endpoint, Outcome.NEUTRAL)  # cancelled, or closed early
    assert cut(endpoint, 0.3) is Outcome.UNANSWERED


def test_an_answer_whose_body_was_not_read_starts_the_count_anew():
    endpoint = node()
    for _ in range(9):
        cut(endpoint, 0.3)
    endpoint.hear()
    attempt(endpoint, Outcome.NEUTRAL)
    assert [cut(endpoint, 0.3) for _ in range(9)] == [Outcome.NEUTRAL] * 9


def test_one_that_was_silent_by_itself_is_one_of_the_ten_and_counts_once():
    endpoint = Endpoint("http", "n1", 80, circuit=circuit_of(quiet_streak=10))
    outcomes = [cut(endpoint, 1.0 if n == 4 else 0.3) for n in range(9)]
    assert outcomes == [Outcome.NEUTRAL] * 4 + [Outcome.UNANSWERED] + [Outcome.NEUTRAL] * 4
    assert endpoint.circuit.current_state == "closed"
    assert cut(endpoint, 0.3) is Outcome.UNANSWERED
    assert endpoint.circuit.current_state == "open"


def test_what_was_counted_before_is_not_counted_twice():
    endpoint = Endpoint("http", "n1", 80, circuit=circuit_of(quiet_streak=11))
    for n in range(10):
        cut(endpoint, 1.0 if n == 4 else 0.3)
    assert endpoint.circuit.current_state == "closed"
    attempt(endpoint, Outcome.UNANSWERED)
    assert endpoint.circuit.current_state == "open"


def test_the_eleventh_begins_anew():
    endpoint = node(circuit=False)

    def cut_without_circuit():
        endpoint.begin()
        outcome = endpoint.judge_cut(0.3, 3.0)
        endpoint.settle(None, outcome, 0.0)
        return outcome

    outcomes = [cut_without_circuit() for _ in range(20)]
    assert outcomes == ([Outcome.NEUTRAL] * 9 + [Outcome.UNANSWERED]) * 2


def test_shorter_waits_neither_count_nor_start_the_count_anew():
    endpoint = node()
    for _ in range(9):
        assert cut(endpoint, 0.3) is Outcome.NEUTRAL
        for _ in range(20):
            assert cut(endpoint, 0.24) is Outcome.NEUTRAL
    assert cut(endpoint, 0.3) is Outcome.UNANSWERED


def test_a_client_with_tiny_timeouts_cannot_open_the_circuit_for_everybody():
    endpoint = knowing(0.1)
    for _ in range(10_000):
        cut(endpoint, 0.05)
    assert endpoint.circuit.current_state == "closed"


def test_a_silent_probe_opens_the_circuit_once_and_not_ten_times():
    endpoint = node()
    for _ in range(10):
        cut(endpoint, 0.3)
    assert endpoint.circuit.retry_in(0.0) == 5.0
    assert cut(endpoint, 1.0, now=5.0) is Outcome.UNANSWERED
    assert endpoint.circuit.retry_in(5.0) == 10.0


# What an ended attempt leaves behind


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_ended_attempt_is_no_longer_in_flight(outcome):
    endpoint = node()
    attempt(endpoint, outcome)
    assert endpoint.in_flight == 0


def test_only_good_answers_tell_how_long_an_answer_takes():
    endpoint = knowing(0.1)
    for outcome in (Outcome.ERROR, Outcome.FAILURE, Outcome.NEUTRAL):
        for _ in range(4):
            attempt(endpoint, outcome, answered=0.001)
    for _ in range(16):
        attempt(endpoint, Outcome.SUCCESS, answered=0.1)
    assert endpoint.latency.quantile(0.01) == pytest.approx(0.1, rel=0.1)


def test_the_circuit_is_told_the_exception():
    told = []

    class Listener:
        def failure(self, circuit, error):
            told.append(error)

    endpoint = node()
    endpoint.circuit.add_listener(Listener())
    error = ConnectionError("refused")
    attempt(endpoint, Outcome.UNANSWERED, error=error)
    assert told == [error]


def test_an_endpoint_without_a_circuit_is_never_refused():
    endpoint = node(circuit=False)
    for _ in range(100):
        attempt(endpoint, Outcome.UNANSWERED)
    assert Endpoints([endpoint]).choose(0.0, random.Random(1)) == (endpoint, None)


# Load and penalty


def test_load_is_what_is_in_flight_over_the_weight():
    endpoint = node(weight=2.0)
    for _ in range(3):
        endpoint.begin()
    assert endpoint.load(0.0) == 1.5


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.FAILURE, Outcome.UNANSWERED])
def test_a_failure_weighs_as_much_as_four_requests_and_fades_by_half_in_five_seconds(outcome):
    endpoint = node()
    attempt(endpoint, outcome, now=100.0)
    endpoint.begin()
    assert [endpoint.load(100.0 + 5 * n) - 1 for n in range(4)] == [4.0, 2.0, 1.0, 0.5]


@pytest.mark.parametrize(("circuit", "wait"), [(True, 5.0), (False, 5.0)])
def test_a_penalty_keeps_nobody_away_for_longer_than_a_circuit_would(circuit, wait):
    endpoint = node(circuit=circuit)
    for _ in range(3):
        attempt(endpoint, Outcome.FAILURE, now=100.0)
    assert endpoint.load(100.0 + wait - 0.1) > 6.0
    assert endpoint.load(100.0 + wait) == 0.0  # one attempt may find out
    endpoint.begin()
    assert endpoint.load(100.0 + wait) == 7.0  # and no more than one
    permit = endpoint.circuit.acquire(105.0) if circuit else None
    endpoint.settle(permit, Outcome.SUCCESS, 100.0 + wait, answered=0.1)
    endpoint.begin()
    assert endpoint.load(100.0 + wait) == 1.0


def test_one_that_fails_when_it_is_tried_is_left_alone_for_as_long_again():
    endpoint = node()
    attempt(endpoint, Outcome.FAILURE, now=100.0)
    attempt(endpoint, Outcome.FAILURE, now=105.0)
    assert [endpoint.load(109.9) > 3.0, endpoint.load(110.0)] == [True, 0.0]


def test_a_good_answer_before_that_does_not_end_a_penalty():
    endpoint = node()
    attempt(endpoint, Outcome.FAILURE, now=100.0)
    attempt(endpoint, Outcome.SUCCESS, now=101.0, answered=0.1)
    assert endpoint.load(101.0) > 3.0


def test_failures_add_up_as_they_fade():
    endpoint = node()
    attempt(endpoint, Outcome.FAILURE, now=100.0)
    attempt(endpoint, Outcome.FAILURE, now=105.0)
    assert endpoint.load(105.0) == 6.0


def test_a_penalty_is_gone_after_a_while():
    endpoint = node(circuit=False)
    for _ in range(1000):
        attempt(endpoint, Outcome.FAILURE, now=100.0)
    assert endpoint.load(200.0) == 0.0


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.NEUTRAL])
def test_what_is_no_failure_has_no_penalty(outcome):
    endpoint = node()
    attempt(endpoint, outcome)
    assert endpoint.load(0.0) == 0.0


# The choice


def test_the_less_loaded_of_two_is_chosen():
    one, other = nodes("n1", "n2")
    one.begin()
    assert chosen(Endpoints([one, other])) == {"n2": 1000}


def test_the_most_loaded_of_three_is_never_chosen():
    members = nodes("n1", "n2", "n3")
    for _ in range(3):
        members[1].begin()
    members[0].begin()
    counts = chosen(Endpoints(members), 3000)
    assert counts["n2"] == 0
    # n3 wins whenever it is drawn, in two of three pairs; n1 only against n2.
    assert counts["n3"] == pytest.approx(2000, rel=0.05)
    assert counts["n1"] == pytest.approx(1000, rel=0.1)


def test_equals_get_equal_shares():
    counts = chosen(Endpoints(nodes("n1", "n2", "n3")), 9000)
    assert all(counts[name] == pytest.approx(3000, rel=0.05) for name in ("n1", "n2", "n3"))


def test_an_idle_upstream_shares_its_calls_by_weight():
    members = [node("n1", weight=1.0), node("n2", weight=1.0), node("n3", weight=2.0)]
    counts = chosen(Endpoints(members), 8000)
    assert counts["n3"] == pytest.approx(4000, rel=0.05)
    assert counts["n1"] == pytest.approx(2000, rel=0.1)


def test_a_busy_upstream_shares_what_is_in_flight_by_weight():
    members = [node("n1", weight=1.0), node("n2", weight=3.0)]
    endpoints, rng = Endpoints(members), random.Random(1)
    for _ in range(400):
        endpoints.choose(0.0, rng)
    assert [member.in_flight for member in members] == pytest.approx([100, 300], abs=5)


def test_a_node_that_fails_fast_does_not_attract_traffic():
    members = nodes("n1", "n2", circuit=False)
    endpoints = Endpoints(members)
    attempt(members[0], Outcome.UNANSWERED, now=0.0)
    assert chosen(endpoints, now=0.0) == {"n2": 1000}
    assert chosen(endpoints, now=120.0)["n1"] > 400


def test_an_open_circuit_is_never_chosen():
    members = nodes("n1", "n2", "n3")
    feed(members[0].circuit, "F" * 5)
    feed(members[2].circuit, "F" * 5)
    assert chosen(Endpoints(members)) == {"n2": 1000}


def test_all_open_is_refused_and_tells_the_earliest_probe():
    members = nodes("n1", "n2", "n3")
    for now, member in zip((2.0, 1.0, 3.0), members, strict=True):
        feed(member.circuit, "F" * 5, now=now)
    endpoints = Endpoints(members)
    assert endpoints.choose(3.0, random.Random(1)) is None
    assert endpoints.retry_in(3.0) == 3.0
    assert [member.in_flight for member in members] == [0, 0, 0]


def test_what_is_held_open_by_hand_promises_no_probe():
    members = nodes("n1", "n2")
    members[0].circuit.force_open()
    feed(members[1].circuit, "F" * 5)
    endpoints = Endpoints(members)
    assert endpoints.retry_in(0.0) == 5.0
    members[1].circuit.force_open()
    assert endpoints.choose(1e6, random.Random(1)) is None
    assert endpoints.retry_in(1e6) is None


def test_two_callers_never_share_a_probe():
    members = nodes("n1", "n2")
    for member in members:
        feed(member.circuit, "F" * 5)
    endpoints, rng = Endpoints(members), random.Random(1)
    taken = [endpoints.choose(5.0, rng) for _ in range(5)]
    assert {choice[0].host for choice in taken[:2]} == {"n1", "n2"}
    assert taken[2:] == [None, None, None]


def test_a_call_goes_to_endpoints_that_it_has_not_tried():
    members = nodes("n1", "n2", "n3")
    for _ in range(50):
        members[2].begin()  # however loaded
    assert chosen(Endpoints(members), tried=members[:2]) == {"n3": 1000}


def test_a_call_comes_back_to_what_it_has_tried_when_nothing_else_is_admitted():
    members = nodes("n1", "n2")
    feed(members[1].circuit, "F" * 5)
    assert chosen(Endpoints(members), tried=members[:1]) == {"n1": 1000}
    assert chosen(Endpoints(members), tried=members) == {"n1": 1000}


def test_a_single_endpoint_is_chosen_again_and_again():
    (member,) = members = nodes("n1")
    assert chosen(Endpoints(members), tried=members) == {"n1": 1000}
    feed(member.circuit, "F" * 5)
    assert Endpoints(members).choose(0.0, random.Random(1), members) is None


def test_a_backup_is_not_used_while_another_is_admitted():
    members = [*nodes("n1", "n2"), node("spare", backup=True)]
    for _ in range(50):
        members[0].begin()
        members[1].begin()
    feed(members[0].circuit, "F" * 5)
    assert chosen(Endpoints(members)) == {"n2": 1000}


def test_a_backup_is_used_when_no_other_is_admitted():
    members = [*nodes("n1", "n2"), node("spare", backup=True)]
    for member in members[:2]:
        feed(member.circuit, "F" * 5)
    assert chosen(Endpoints(members)) == {"spare": 1000}


def test_a_backup_is_used_when_the_call_has_tried_all_others():
    members = [*nodes("n1", "n2"), node("spare", backup=True)]
    assert "spare" not in chosen(Endpoints(members), tried=members[:1])
    assert chosen(Endpoints(members), tried=members[:2]) == {"spare": 1000}


def test_a_call_that_has_tried_all_comes_back_to_those_that_are_no_backup():
    members = [node("n1"), node("spare", backup=True)]
    assert chosen(Endpoints(members), tried=members) == {"n1": 1000}


def test_the_usual_is_that_of_the_quickest():
    slow, quick, unknown = knowing(0.4), knowing(0.1), node()
    assert Endpoints([slow, unknown, quick]).usual() == pytest.approx(0.1, rel=0.1)
    assert Endpoints([unknown]).usual() == 0.0


# Pauses


def test_a_paused_endpoint_is_not_chosen_however_busy_the_others_are():
    one, other = Endpoint("http", "n1", 80), Endpoint("http", "n2", 80)
    endpoints = Endpoints([one, other])
    assert endpoints.pause(one, 0.0, 10.0)
    chosen = [endpoints.choose(5.0, random.Random(seed)) for seed in range(20)]
    assert {member for member, _ in chosen} == {other}
    assert endpoints.choose(10.0, random.Random(1))[0] is one  # it is idle


def test_a_call_that_has_tried_all_others_is_not_sent_to_a_paused_one():
    members = [Endpoint("http", f"n{number}", 80) for number in (1, 2)]
    endpoints = Endpoints(members)
    endpoints.pause(members[0], 0.0, 10.0)
    assert endpoints.choose(1.0, random.Random(1), [members[1]])[0] is members[1]
    assert not endpoints.has_untried([members[1]], 1.0)
    assert endpoints.has_untried([members[1]], 10.0)


def test_backups_come_before_paused_endpoints():
    primary, backup = Endpoint("http", "n1", 80), Endpoint("http", "b1", 80, backup=True)
    endpoints = Endpoints([primary, backup])
    endpoints.pause(primary, 0.0, 10.0)
    assert endpoints.choose(1.0, random.Random(1))[0] is backup
    assert endpoints.choose(10.0, random.Random(1))[0] is primary


@pytest.mark.parametrize(("count", "most"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)])
def test_at_most_half_are_paused_and_a_paused_one_may_be_paused_for_longer(count, most):
    members = [Endpoint("http", f"n{number}", 80) for number in range(count)]
    endpoints = Endpoints(members, panic=1.0)
    assert sum(endpoints.pause(member, 0.0, 10.0) for member in members) == most
    if most:
        assert endpoints.pause(members[0], 5.0, 30.0)
        assert endpoints.ejections.reasons(members[0], 5.0) == {"paused": 30.0}
