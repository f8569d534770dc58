"""Balance alone: the outcome of an attempt, row by row, and what it leaves at its endpoint."""

from __future__ import annotations

import math

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.errors import CircuitOpen, NoEndpoint
from resilient_http.events import Hub, Stalled
from resilient_http.policies.balance import BalancePolicy, judge
from resilient_http.ports.simulated import SimulatedFailure, SimulatedPort, SimulatedReply
from resilient_http.state.circuit import Circuit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.outcome import Fault, Outcome
from tests.simulation.world import cancel, ended
from tests.state.circuits import circuit_of, feed


def node(host="n1", *, circuit: Circuit | None = None) -> Endpoint:
    return Endpoint("http", host, 8080, circuit=circuit or circuit_of())


def attempt_at(port, *, within=math.inf) -> Attempt:
    call = Call(port, "GET", started=port.now())
    call.bound(port.now() + within, within)
    call.enter("payments", None, "GET", repeatable=True, replayable=True)
    attempt = Attempt(call, port.now())
    attempt.expires = call.expires
    attempt.patience = 3.0
    return attempt


def ended_attempt(*, status=None, fault=None, stalled="", narrowed=False, within=math.inf) -> Attempt:
    attempt = attempt_at(SimulatedPort(None), within=within)
    attempt.status, attempt.fault, attempt.stalled, attempt.narrowed = status, fault, stalled, narrowed
    return attempt


# The table


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.SUCCESS),
        (404, Outcome.SUCCESS),
        (501, Outcome.SUCCESS),
        (500, Outcome.ERROR),
        (502, Outcome.FAILURE),
        (503, Outcome.FAILURE),
        (504, Outcome.FAILURE),
        (507, Outcome.FAILURE),
        (408, Outcome.NEUTRAL),
        (429, Outcome.NEUTRAL),
    ],
)
def test_an_answer_is_judged_by_its_status(status, outcome):
    assert judge(ended_attempt(status=status), node(), 0.1) is outcome


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.BROKEN, Fault.UNTRUSTED, Fault.TIMEOUT])
def test_no_answer_is_a_failure(fault):
    assert judge(ended_attempt(fault=fault), node(), 0.1) is Outcome.UNANSWERED


def test_an_answer_that_breaks_off_in_its_body_is_a_failure_whatever_its_status():
    assert judge(ended_attempt(status=200, fault=Fault.BROKEN), node(), 0.1) is Outcome.UNANSWERED


@pytest.mark.parametrize("fault", [Fault.LOCAL, Fault.INVALID, Fault.FOREIGN, Fault.CANCELLED])
def test_what_we_caused_ourselves_is_neutral(fault):
    assert judge(ended_attempt(fault=fault), node(), 0.1) is Outcome.NEUTRAL


def test_an_attempt_without_status_and_without_fault_is_neutral():
    assert judge(ended_attempt(), node(), 0.1) is Outcome.NEUTRAL


@pytest.mark.parametrize("status", [200, 404])
def test_a_stream_that_the_user_closes_early_is_neutral(status):
    assert judge(ended_attempt(status=status, fault=Fault.CANCELLED), node(), 0.1) is Outcome.NEUTRAL


def test_a_failure_is_one_even_when_the_user_closes_its_body_early():
    assert judge(ended_attempt(status=503, fault=Fault.CANCELLED), node(), 0.1) is Outcome.FAILURE
    assert judge(ended_attempt(status=500, fault=Fault.CANCELLED), node(), 0.1) is Outcome.ERROR


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.BROKEN, Fault.UNREACHABLE])
def test_anything_while_we_stalled_is_neutral(fault):
    assert judge(ended_attempt(fault=fault, stalled="late by 0.3 s"), node(), 3.0) is Outcome.NEUTRAL


# Cut short, by the call's deadline or by a caller's own timeout


def test_the_attempts_own_timeout_is_a_failure():
    assert judge(ended_attempt(fault=Fault.TIMEOUT), node(), 3.0) is Outcome.UNANSWERED


def test_a_phase_timeout_of_the_settings_is_a_failure():
    assert judge(ended_attempt(fault=Fault.TIMEOUT, within=10.0), node(), 0.1) is Outcome.UNANSWERED


def test_an_attempt_that_the_deadline_cut_short_is_neutral_before_it_is_silent():
    assert judge(ended_attempt(fault=Fault.TIMEOUT, within=0.5), node(), 0.5) is Outcome.NEUTRAL


def test_an_attempt_that_the_deadline_cut_after_it_was_silent_is_a_failure():
    assert judge(ended_attempt(fault=Fault.TIMEOUT, within=1.5), node(), 1.5) is Outcome.UNANSWERED


def test_an_attempt_that_ends_a_hair_before_the_deadline_was_cut_by_it():
    assert judge(ended_attempt(fault=Fault.TIMEOUT, within=0.5), node(), 0.496) is Outcome.NEUTRAL


def test_a_callers_own_short_timeout_says_nothing_before_the_endpoint_is_silent():
    assert judge(ended_attempt(fault=Fault.TIMEOUT, narrowed=True), node(), 0.1) is Outcome.NEUTRAL
    assert judge(ended_attempt(fault=Fault.TIMEOUT, narrowed=True), node(), 1.0) is Outcome.UNANSWERED


def test_a_stream_that_the_deadline_ends_is_between_the_endpoint_and_who_reads_it():
    attempt = ended_attempt(status=200, fault=Fault.TIMEOUT, within=30.0)
    attempt.streaming = True
    assert judge(attempt, node(), 30.0) is Outcome.NEUTRAL
    assert judge(attempt, node(), 5.0) is Outcome.UNANSWERED  # it fell silent before


def test_an_endpoint_that_refuses_does_so_however_short_the_deadline():
    assert judge(ended_attempt(fault=Fault.UNREACHABLE, within=0.01), node(), 0.01) is Outcome.UNANSWERED


def test_a_cut_attempt_is_neutral_while_we_stalled_however_long_it_waited():
    attempt = ended_attempt(fault=Fault.TIMEOUT, stalled="late by 0.3 s", within=2.0)
    assert judge(attempt, node(), 2.3) is Outcome.NEUTRAL


def knowing(seconds: float) -> Endpoint:
    """An endpoint whose usual latency is known."""
    member = node()
    for _ in range(20):
        member.begin()
        member.settle(None, Outcome.SUCCESS, 0.0, answered=seconds)
    return member


@pytest.mark.parametrize(
    ("usual", "within", "outcome"),
    [
        (0.1, 0.37, Outcome.NEUTRAL),
        (0.1, 0.45, Outcome.UNANSWERED),
        (0.01, 0.24, Outcome.NEUTRAL),
        (0.01, 0.26, Outcome.UNANSWERED),
        (0.5, 1.7, Outcome.NEUTRAL),
        (0.5, 2.2, Outcome.UNANSWERED),
        (2.0, 2.9, Outcome.NEUTRAL),  # the attempt's own 3 s come before
    ],
)
def test_silent_is_four_times_the_usual_and_at_least_a_quarter_of_a_second(usual, within, outcome):
    assert judge(ended_attempt(fault=Fault.TIMEOUT, within=within), knowing(usual), within) is outcome


def test_silent_is_never_longer_than_the_attempts_own_timeout():
    attempt = ended_attempt(fault=Fault.TIMEOUT, within=3.0)
    assert judge(attempt, knowing(2.0), 3.0) is Outcome.UNANSWERED
    attempt.patience = 0.2
    assert judge(attempt, knowing(2.0), 0.2) is Outcome.UNANSWERED


def test_a_cut_attempt_whose_headers_came_is_judged_by_its_silence_and_not_by_its_status():
    attempt = ended_attempt(status=200, fault=Fault.TIMEOUT, within=0.5)
    assert judge(attempt, node(), 0.5) is Outcome.NEUTRAL
    attempt = ended_attempt(status=200, fault=Fault.TIMEOUT, within=1.5)
    assert judge(attempt, node(), 1.5) is Outcome.UNANSWERED


# The policy


class Upstream:
    """Some endpoints, and the policy in front of them."""

    def __init__(self, *members, respond=lambda attempt, now: (0.1, SimulatedReply()), trusts_marker=False):
        self.endpoints = Endpoints(members)
        self.events = []
        self.port = SimulatedPort(respond)
        self.policy = BalancePolicy(self.endpoints, Hub([self.events.append]), trusts_marker=trusts_marker)

    def make(self, attempt=None):
        """One attempt to its end; raises what it raises."""
        self.attempt = attempt or attempt_at(self.port)

        async def whole():
            try:
                response = await self.policy(self.attempt, self.port.send)
            except BaseException as exc:
                self.attempt.end(self.port.now(), exc)
                raise
            self.attempt.end(self.port.now())
            return response

        return ended(self.port, whole())


def test_an_attempt_knows_its_endpoint_and_so_does_the_journal():
    member = node()
    upstream = Upstream(member)
    upstream.make()
    assert upstream.attempt.chosen is member
    (entry,) = upstream.attempt.call.journal.attempts
    assert (entry.endpoint, entry.outcome, entry.status) == ("http://n1:8080", "success", 200)
    assert entry.duration == pytest.approx(0.1)


def test_each_attempt_of_a_call_goes_to_another_endpoint():
    upstream = Upstream(node("n1"), node("n2"), node("n3"))
    call = attempt_at(upstream.port).call
    for _ in range(3):
        upstream.make(Attempt(call, upstream.port.now()))
    assert {entry.endpoint for entry in call.journal.attempts[1:]} == {f"http://n{i}:8080" for i in (1, 2, 3)}


def test_an_attempt_is_in_flight_until_it_ends():
    member, seen = node(), []

    def respond(attempt, now):
        seen.append(member.in_flight)
        return 0.1, SimulatedReply()

    Upstream(member, respond=respond).make()
    assert seen == [1]
    assert member.in_flight == 0


def test_a_failed_attempt_feeds_the_circuit_and_is_penalised():
    member = node()
    upstream = Upstream(member, respond=lambda attempt, now: (0.1, Fault.BROKEN))
    for _ in range(5):
        assert member.circuit.closed
        with pytest.raises(SimulatedFailure):
            upstream.make()
        penalised = member.load(upstream.port.now())
        assert penalised > 3 or not member.circuit.closed
    assert member.circuit.current_state == "open"
    assert upstream.attempt.entry.outcome == "unanswered"


def test_a_node_that_sends_its_headers_and_then_drips_is_found_out_by_callers_with_short_deadlines():
    member = node()
    upstream = Upstream(member)

    async def drips(attempt):
        attempt.answer(200)
        await upstream.port.sleep(0.3)
        attempt.fault = Fault.TIMEOUT
        raise SimulatedFailure(Fault.TIMEOUT)

    upstream.port.send = drips
    for _ in range(10):
        assert member.circuit.closed
        with pytest.raises(SimulatedFailure):
            upstream.make(attempt_at(upstream.port, within=0.3))
    assert member.circuit.mode == "open"


def cut(upstream, within=0.3):
    """One attempt whose caller has no longer; what it counted as."""
    with pytest.raises(SimulatedFailure):
        upstream.make(attempt_at(upstream.port, within=within))
    return upstream.attempt.entry.outcome


def hanging():
    return Upstream(node(), respond=lambda attempt, now: (math.inf, Fault.TIMEOUT))


def test_a_node_that_hangs_cannot_hide_behind_short_deadlines():
    upstream = hanging()
    assert [cut(upstream) for _ in range(10)] == ["neutral"] * 9 + ["unanswered"]
    assert upstream.endpoints.members[0].circuit.mode == "open"


def test_a_client_with_tiny_timeouts_cannot_open_the_circuit_for_everybody():
    upstream = hanging()
    assert {cut(upstream, within=0.2) for _ in range(200)} == {"neutral"}
    assert upstream.endpoints.members[0].circuit.mode == "closed"
    assert upstream.endpoints.members[0].load(upstream.port.now()) == 0.0


@pytest.mark.parametrize("status", [200, 404, 429, 500, 501, 503])
def test_ten_with_an_answer_between_them_are_neutral(status):
    answers = [math.inf] * 9 + [0.1] + [math.inf] * 9
    upstream = Upstream(node(), respond=lambda attempt, now: (answers.pop(0), SimulatedReply(status)))
    assert [cut(upstream) for _ in range(9)] == ["neutral"] * 9
    upstream.make()
    assert [cut(upstream) for _ in range(9)] == ["neutral"] * 9


@pytest.mark.parametrize("fault", [Fault.CANCELLED, Fault.TIMEOUT], ids=["closed early", "ended by the deadline"])
def test_ten_with_a_stream_between_them_that_answered_are_neutral(fault):
    upstream = hanging()
    assert [cut(upstream) for _ in range(9)] == ["neutral"] * 9
    end_between(upstream, fault, status=200, streaming=True)
    assert [cut(upstream) for _ in range(9)] == ["neutral"] * 9


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        (Fault.UNREACHABLE, {}),
        (Fault.BROKEN, {}),
        (Fault.BROKEN, {"status": 200, "streaming": True}),
        (Fault.CANCELLED, {}),
        (Fault.TIMEOUT, {"stalled": "late by 0.3 s"}),
    ],
    ids=["refused", "reset", "broken off in the body", "cancelled", "stalled"],
)
def test_ten_with_something_between_them_that_is_no_answer_are_silent(fault, facts):
    upstream = hanging()
    assert [cut(upstream) for _ in range(9)] == ["neutral"] * 9
    end_between(upstream, fault, **facts)
    assert cut(upstream) == "unanswered"
    assert upstream.endpoints.members[0].circuit.mode == "open"


def end_between(upstream, fault, **facts):
    """One more attempt, which ends in a fault."""
    attempt = attempt_at(upstream.port, within=0.3)
    for name, value in facts.items():
        setattr(attempt, name, value)
    send = upstream.port.send

    async def fail(attempt):
        await upstream.port.sleep(0.3)
        attempt.fault = fault
        raise SimulatedFailure(fault)

    upstream.port.send = fail
    with pytest.raises(SimulatedFailure):
        upstream.make(attempt)
    upstream.port.send = send


def test_ten_that_were_cut_while_we_stalled_are_neutral():
    upstream = hanging()
    for _ in range(20):
        attempt = attempt_at(upstream.port, within=0.3)
        attempt.stalled = "late by 0.3 s"
        with pytest.raises(SimulatedFailure):
            upstream.make(attempt)
        assert attempt.entry.outcome == "neutral"
    assert upstream.endpoints.members[0].circuit.mode == "closed"


@pytest.mark.parametrize(
    ("fault", "facts"),
    [
        (Fault.TIMEOUT, {"within": 0.2}),
        (Fault.TIMEOUT, {"narrowed": True}),
        (Fault.TIMEOUT, {"stalled": "late by 0.3 s"}),
        (Fault.LOCAL, {"stalled": "lack of local resources"}),
        (429, {}),
    ],
    ids=["cut by the deadline", "cut by the caller", "stalled", "no resources", "throttled"],
)
def test_a_neutral_probe_gives_its_lease_back_at_once(fault, facts):
    member = node()
    feed(member.circuit, "F" * 5)
    member.circuit.half_open()
    reply = SimulatedReply(fault) if isinstance(fault, int) else fault
    upstream = Upstream(member, respond=lambda attempt, now: (0.1, reply))
    if "within" in facts:
        upstream = Upstream(member, respond=lambda attempt, now: (math.inf, reply))
    attempt = attempt_at(upstream.port, within=facts.pop("within", math.inf))
    for name, value in facts.items():
        setattr(attempt, name, value)
    if isinstance(fault, int):
        upstream.make(attempt)
    else:
        with pytest.raises(SimulatedFailure):
            upstream.make(attempt)
    assert attempt.permit.probe
    assert attempt.entry.outcome == "neutral"
    assert member.circuit.current_state == "half-open"
    assert member.circuit.acquire(upstream.port.now()) is not None


def test_a_silent_probe_opens_the_circuit_again():
    member = node()
    feed(member.circuit, "F" * 5)
    member.circuit.half_open()
    upstream = Upstream(member, respond=lambda attempt, now: (math.inf, Fault.TIMEOUT))
    assert cut(upstream, within=1.0) == "unanswered"
    assert member.circuit.current_state == "open"


def test_500_counts_for_the_rate_and_not_for_the_streak():
    member = node()
    upstream = Upstream(member, respond=lambda attempt, now: (0.01, SimulatedReply(500)))
    for _ in range(19):
        upstream.make()
    assert member.circuit.mode == "closed"
    upstream.make()
    assert member.circuit.mode == "open"


def test_answers_teach_the_usual_latency():
    upstream = Upstream(node())
    for _ in range(16):
        upstream.make()
    assert upstream.endpoints.usual() == pytest.approx(0.1, rel=0.1)


def test_a_cancelled_attempt_gives_its_probe_back():
    member = node()
    feed(member.circuit, "F" * 5)
    member.circuit.half_open()
    upstream = Upstream(member)
    attempt = attempt_at(upstream.port)

    async def whole():
        try:
            await upstream.policy(attempt, upstream.port.send)
        except BaseException as exc:
            attempt.fault = Fault.CANCELLED
            attempt.end(upstream.port.now(), exc)
            raise

    running = whole()
    upstream.port.spawn(running)
    upstream.port.run(until=0.05)
    assert member.circuit.acquire(0.05) is None
    cancel(running)
    assert member.in_flight == 0
    assert member.circuit.current_state == "half-open"
    assert member.circuit.acquire(0.05) is not None


def test_all_circuits_open_is_refused_with_the_earliest_probe():
    members = [node("n1"), node("n2")]
    feed(members[0].circuit, "F" * 5, now=-1.0)
    feed(members[1].circuit, "F" * 5, now=0.0)
    upstream = Upstream(*members)
    with pytest.raises(CircuitOpen) as caught:
        upstream.make()
    assert caught.value.upstream == "payments"
    assert caught.value.retry_in == 4.0
    assert str(caught.value) == ("circuit of payments at http://n1:8080, http://n2:8080 is open; next probe in 4 s")
    assert [member.in_flight for member in members] == [0, 0]


def test_a_refused_attempt_is_told_as_refused():
    member = node()
    member.circuit.force_open()
    upstream = Upstream(member)
    with pytest.raises(CircuitOpen, match="held open by hand") as caught:
        upstream.make()
    assert caught.value.retry_in is None
    (entry,) = upstream.attempt.call.journal.attempts
    assert (entry.outcome, entry.sent, entry.endpoint) == ("refused", False, "")


def test_a_refusal_does_not_feed_a_circuit():
    member = node()
    feed(member.circuit, "F" * 5)
    upstream = Upstream(member)
    for _ in range(100):
        with pytest.raises(CircuitOpen):
            upstream.make()
    assert member.circuit.retry_in(0.0) == 5.0


def test_no_endpoint_at_all_is_another_error():
    with pytest.raises(NoEndpoint, match="payments has no endpoint"):
        Upstream().make()


def test_a_listener_hears_that_we_stalled():
    upstream = Upstream(node(), respond=lambda attempt, now: (0.1, Fault.TIMEOUT))
    attempt = attempt_at(upstream.port)
    attempt.stalled = "a timer came 0.3 s late"
    with pytest.raises(SimulatedFailure):
        upstream.make(attempt)
    assert upstream.events == [Stalled("payments", "http://n1:8080", "a timer came 0.3 s late")]
    assert attempt.entry.outcome == "neutral"


# A deadline that the upstream was told


def hurried(status, took):
    """The outcome of an answer that came after so long, from an upstream that was told a short deadline."""
    attempt = ended_attempt(status=status)
    attempt.hurried = True
    return judge(attempt, node(), took)


def test_a_504_of_an_upstream_that_kept_to_a_short_deadline_says_nothing():
    assert hurried(504, 0.1) is Outcome.NEUTRAL


def test_a_504_after_a_patient_attempt_is_a_failure_all_the_same():
    assert hurried(504, 1.0) is Outcome.UNANSWERED


@pytest.mark.parametrize(("status", "outcome"), [(503, Outcome.FAILURE), (500, Outcome.ERROR), (200, Outcome.SUCCESS)])
def test_any_other_answer_is_judged_as_always(status, outcome):
    assert hurried(status, 0.1) is outcome


# The marker of a dependency that is down


def down(status=503):
    return lambda attempt, now: (0.1, SimulatedReply(status, {"x-dependency-down": "1"}))


@pytest.mark.parametrize("status", [500, 503, 504])
def test_an_answer_that_says_a_dependency_of_its_own_is_down_is_not_counted_where_it_is_trusted(status):
    member = node()
    upstream = Upstream(member, respond=down(status), trusts_marker=True)
    for _ in range(100):
        upstream.make()
        assert upstream.attempt.entry.outcome == "neutral"
    assert member.circuit.mode == "closed"
    assert member.load(upstream.port.now()) == 0.0


def test_it_is_counted_like_any_other_where_it_is_not_trusted():
    member = node()
    upstream = Upstream(member, respond=down())
    for _ in range(5):
        upstream.make()
    assert upstream.attempt.entry.outcome == "failure"
    assert member.circuit.mode == "open"


def test_an_answer_without_the_marker_is_counted_where_it_would_be_trusted():
    member = node()
    upstream = Upstream(member, respond=lambda attempt, now: (0.1, SimulatedReply(503)), trusts_marker=True)
    for _ in range(5):
        upstream.make()
    assert member.circuit.mode == "open"


def test_a_probe_that_brings_the_marker_gives_its_lease_back():
    member = node()
    feed(member.circuit, "F" * 5)
    member.circuit.half_open()
    upstream = Upstream(member, respond=down(), trusts_marker=True)
    upstream.make()
    assert member.circuit.current_state == "half-open"
    assert member.circuit.acquire(upstream.port.now()) is not None
