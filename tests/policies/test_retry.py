"""Retry alone, on a virtual clock: one test per rule of the policy's docstring and of the design."""

from __future__ import annotations

import contextlib
import math
import re
from email.utils import formatdate

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.errors import CircuitOpen, Saturated
from resilient_http.events import Hub, Observed, RetryScheduled, RetrySuppressed
from resilient_http.policies.retry import RetryPolicy, RetryRules
from resilient_http.ports.simulated import SimulatedFailure, SimulatedPort, SimulatedReply
from resilient_http.state.backoff import Backoff
from resilient_http.state.circuit import Circuit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.latency import REFRESH
from resilient_http.state.outcome import Fault
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.tally import Tally
from tests.simulation.world import cancel, ended, throttled

TOOK = 0.1
REFUSED = CircuitOpen("circuit of payments is open", upstream="payments", retry_in=4.0)


class Failed:
    """An attempt that ends without an answer."""

    def __init__(self, fault: Fault, *, sent: bool = True) -> None:
        self.sent = sent
        self.error = SimulatedFailure(fault)


class Upstream:
    """What lies below the policy: each attempt takes 0.1 s and ends as the script says; the last ending stays.

    An ending is a status, a reply, a Failed, or a refusal.
    """

    def __init__(self, *script, budget=None, usual=0.0, keeps=True, seed=1, hosts=("n1",), **rules):
        self.script = list(script)
        self.port = SimulatedPort(None, seed=seed)
        if not keeps:
            self.port.set_aside = self._lose
        self.events = []
        self.started = []
        hub = Hub([self.events.append])
        self.nodes = Endpoints([Endpoint("http", host, 80) for host in hosts])
        for _ in range(REFRESH if usual else 0):
            self.nodes.members[0].latency.record(usual)
        self.tally = Tally()
        self.policy = RetryPolicy(RetryRules(**rules), Backoff(), budget, self.nodes, self.tally, hub)

    def call(self, method="GET", *, within=math.inf, repeatable=True, replayable=True):
        call = Call(self.port, method, started=self.port.now())
        call.bound(self.port.now() + within, within)
        call.enter("payments", None, method, repeatable=repeatable, replayable=replayable)
        return call

    def make(self, **facts):
        """The call's response; raises what the call raises."""
        self.made = self.call(**facts)
        return ended(self.port, self.policy(self.made, self._attempt))

    @property
    def entries(self):
        return self.made.journal.attempts

    @property
    def why(self):
        return self.entries[-1].why

    @property
    def waits(self):
        """Seconds between the end of each attempt and the start of the next."""
        return [later - earlier - TOOK for earlier, later in zip(self.started, self.started[1:], strict=False)]

    async def _attempt(self, call):
        attempt = Attempt(call, self.port.now())
        ending = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.started.append(self.port.now())
        try:
            return await self._end(attempt, ending)
        except BaseException as exc:
            attempt.end(self.port.now(), exc)
            raise

    async def _end(self, attempt, ending):
        if isinstance(ending, BaseException):
            raise ending
        await self.port.sleep(TOOK)
        if isinstance(ending, Failed):
            attempt.sent, attempt.fault = ending.sent, ending.error.fault
            raise ending.error
        reply = SimulatedReply(ending) if isinstance(ending, int) else ending
        attempt.answer(reply.status_code)
        attempt.end(self.port.now())
        return reply

    async def _lose(self, reply, within):
        return False


# 1. Its status is one of `statuses`, or it ended in a fault of the network


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass_is_repeated(status):
    upstream = Upstream(status, 200)
    assert upstream.make().status_code == 200
    assert [entry.decision for entry in upstream.entries] == ["retry", "return"]
    assert upstream.entries[0].why == f"status {status}"


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 409, 501, 505])
def test_any_other_status_is_returned_at_once(status):
    upstream = Upstream(status)
    assert upstream.make().status_code == status
    assert len(upstream.entries) == 1
    assert upstream.events == []


def test_the_statuses_are_a_setting():
    upstream = Upstream(418, 503, statuses=frozenset({418}))
    assert upstream.make().status_code == 503
    assert len(upstream.entries) == 2


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.TIMEOUT, Fault.BROKEN, Fault.LOCAL])
def test_a_fault_of_the_network_is_repeated(fault):
    upstream = Upstream(Failed(fault), 200)
    assert upstream.make().status_code == 200
    assert upstream.entries[0].why == fault.value


@pytest.mark.parametrize("fault", [Fault.UNTRUSTED, Fault.INVALID, Fault.FOREIGN, Fault.CANCELLED])
@pytest.mark.parametrize("sent", [True, False])
def test_what_repeating_cannot_help_is_raised_at_once(fault, sent):
    failure = Failed(fault, sent=sent)
    upstream = Upstream(failure, 200)
    with pytest.raises(SimulatedFailure) as caught:
        upstream.make()
    assert caught.value is failure.error
    assert len(upstream.entries) == 1
    assert upstream.entries[0].decision == "raise"
    assert "not retryable" in upstream.why


DOWN = {"x-dependency-down": "1"}


@pytest.mark.parametrize("status", [503, 500, 504])
def test_an_answer_that_says_a_dependency_of_its_own_is_down_is_not_repeated_where_it_is_trusted(status):
    budget = RetryBudget(0.2, 1.0)
    tokens = budget.tokens(0.0)
    upstream = Upstream(SimulatedReply(status, DOWN), 200, trusts_marker=True, budget=budget)
    assert upstream.make().status_code == status
    assert len(upstream.entries) == 1
    assert upstream.why == f"status {status}, a dependency of its own is down"
    assert budget.tokens(upstream.port.now()) >= tokens


def test_it_is_repeated_like_any_other_where_it_is_not_trusted():
    upstream = Upstream(SimulatedReply(503, DOWN), 200)
    assert upstream.make().status_code == 200
    assert len(upstream.entries) == 2


def test_an_answer_without_the_marker_is_repeated_where_it_would_be_trusted():
    upstream = Upstream(503, 200, trusts_marker=True)
    assert upstream.make().status_code == 200
    assert len(upstream.entries) == 2


def test_the_marker_of_a_repeat_ends_the_repeats():
    upstream = Upstream(503, SimulatedReply(503, DOWN), 200, trusts_marker=True)
    assert upstream.make().status_code == 503
    assert len(upstream.entries) == 2


# 2. It provably was not sent, or the method may be repeated


@pytest.mark.parametrize("ending", [503, Failed(Fault.BROKEN), Failed(Fault.TIMEOUT)])
def test_a_post_that_may_have_been_acted_on_is_not_repeated(ending):
    upstream = Upstream(ending, 200)
    if ending == 503:
        assert upstream.make(method="POST", repeatable=False).status_code == 503
    else:
        with pytest.raises(SimulatedFailure):
            upstream.make(method="POST", repeatable=False)
    assert len(upstream.entries) == 1
    assert "POST may have been acted on" in upstream.why


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.TIMEOUT, Fault.LOCAL])
def test_a_post_that_provably_was_not_sent_is_repeated(fault):
    upstream = Upstream(Failed(fault, sent=False), 201)
    assert upstream.make(method="POST", repeatable=False).status_code == 201


def test_a_post_with_an_idempotency_key_is_repeated():
    upstream = Upstream(Failed(Fault.BROKEN), 201)
    assert upstream.make(method="POST", repeatable=True).status_code == 201


# 3. Its body can be sent again


def test_a_body_that_cannot_be_sent_again_is_not():
    upstream = Upstream(503, 200)
    assert upstream.make(method="PUT", replayable=False).status_code == 503
    assert "its body cannot be sent again" in upstream.why


def test_what_was_not_sent_needs_no_replay():
    upstream = Upstream(Failed(Fault.UNREACHABLE, sent=False), 200)
    assert upstream.make(method="PUT", replayable=False).status_code == 200


# 4. Fewer than `max_attempts` were made


def test_three_attempts_and_then_the_last_real_response():
    upstream = Upstream(500, 502, SimulatedReply(503, {"server": "the third"}))
    response = upstream.make()
    assert (response.status_code, response.headers["server"]) == (503, "the third")
    assert [entry.decision for entry in upstream.entries] == ["retry", "retry", "return"]
    assert "3 of 3 attempts made" in upstream.why


def test_three_attempts_and_then_the_last_real_exception():
    failures = [Failed(Fault.TIMEOUT), Failed(Fault.UNREACHABLE), Failed(Fault.BROKEN)]
    upstream = Upstream(*failures)
    with pytest.raises(SimulatedFailure) as caught:
        upstream.make()
    assert caught.value is failures[2].error
    assert [entry.decision for entry in upstream.entries] == ["retry", "retry", "raise"]


def test_an_exception_after_a_response_is_what_the_user_gets():
    upstream = Upstream(503, 503, Failed(Fault.UNREACHABLE))
    with pytest.raises(SimulatedFailure):
        upstream.make()


def test_max_attempts_of_one_is_no_repeat():
    upstream = Upstream(503, max_attempts=1)
    assert upstream.make().status_code == 503
    assert len(upstream.entries) == 1


# 5. The wait is at most `max_wait`, and fits into what is left of the deadline


@pytest.mark.parametrize("status", [429, 503, 500])
def test_retry_after_in_seconds_is_waited_for_and_a_little_more(status):
    upstream = Upstream(throttled(status, retry_after="2"), 200)
    assert upstream.make().status_code == 200
    assert 2.0 <= upstream.waits[0] <= 2.4
    assert upstream.entries[0].delay == pytest.approx(upstream.waits[0])


def test_retry_after_as_a_date_is_waited_for():
    # The virtual world began at the epoch; the answer comes 0.1 s after it.
    upstream = Upstream(throttled(503, retry_after=formatdate(3.0, usegmt=True)), 200)
    upstream.make()
    assert 2.9 <= upstream.waits[0] <= 2.9 * 1.2


@pytest.mark.parametrize("value", ["0", formatdate(-86400, usegmt=True)])
def test_retry_after_now_or_in_the_past_is_no_wait(value):
    upstream = Upstream(throttled(503, retry_after=value), 200)
    upstream.make()
    assert upstream.waits[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", ""])
def test_a_malformed_retry_after_is_as_none(value):
    upstream = Upstream(throttled(503, retry_after=value), 200)
    upstream.make()
    assert 0.25 <= upstream.waits[0] <= 0.5


def test_a_failure_waits_up_to_the_base_and_a_throttled_call_at_least_half_of_its_own():
    for seed in range(50):
        failed, asked = Upstream(500, 200, seed=seed), Upstream(503, 200, seed=seed)
        failed.make()
        asked.make()
        assert 0.0 <= failed.waits[0] <= 0.1 + 1e-9
        assert 0.25 - 1e-9 <= asked.waits[0] <= 0.5 + 1e-9


def test_the_second_wait_may_be_twice_as_long():
    longest = [0.0, 0.0]
    for seed in range(200):
        upstream = Upstream(500, seed=seed)
        upstream.make()
        longest = [max(pair) for pair in zip(longest, upstream.waits, strict=True)]
    assert longest == pytest.approx([0.1, 0.2], rel=0.05)


def test_a_wait_longer_than_max_wait_ends_the_call_at_once_with_the_real_response():
    upstream = Upstream(throttled(503, retry_after="60"), 200)
    assert upstream.make().headers["retry-after"] == "60"
    assert upstream.port.now() == TOOK
    assert "longer than max_wait 5 s" in upstream.why


def test_a_wait_that_does_not_fit_into_the_deadline_ends_the_call_at_once():
    upstream = Upstream(throttled(503, retry_after="2"), 200)
    assert upstream.make(within=2.05).status_code == 503
    assert upstream.port.now() == TOOK
    assert "does not fit into the deadline" in upstream.why


def test_the_next_attempt_must_fit_too_as_long_as_it_usually_takes():
    left = 2.4 + TOOK  # enough for the longest wait
    assert Upstream(throttled(503, retry_after="2"), 200, usual=0.0).make(within=left).status_code == 200
    upstream = Upstream(throttled(503, retry_after="2"), 200, usual=0.5)
    assert upstream.make(within=left).status_code == 503
    assert upstream.port.now() == TOOK


def test_an_exception_whose_repeat_does_not_fit_is_raised_at_once():
    failure = Failed(Fault.UNREACHABLE)
    upstream = Upstream(failure, usual=1.0)
    with pytest.raises(SimulatedFailure) as caught:
        upstream.make(within=1.0)
    assert caught.value is failure.error
    assert upstream.port.now() == TOOK


# 6. The budget has a token


def spent_budget(**numbers):
    budget = RetryBudget(**{"ratio": 0.2, "floor": 0.0, **numbers})
    while budget.withdraw(0.0):
        pass
    return budget


def test_an_empty_budget_ends_the_call_with_its_real_outcome():
    upstream = Upstream(503, budget=spent_budget())
    assert upstream.make().status_code == 503
    assert len(upstream.entries) == 1
    assert "retry budget is used up" in upstream.why


def test_each_repeat_takes_a_token():
    budget = RetryBudget(0.0, 0.0)
    Upstream(500, budget=budget).make()
    assert budget.tokens(0.0) == 1.0  # of three


def test_a_first_attempt_that_was_sent_pays_in():
    for ending in (200, 404, 503, Failed(Fault.BROKEN)):
        upstream = Upstream(ending, budget=spent_budget(), max_attempts=1)
        with contextlib.suppress(SimulatedFailure):
            upstream.make()
        assert upstream.policy._budget.tokens(0.1) == pytest.approx(0.2)


def test_a_first_attempt_that_was_not_sent_pays_nothing():
    budget = spent_budget()
    with pytest.raises(SimulatedFailure):
        Upstream(Failed(Fault.UNREACHABLE, sent=False), budget=budget).make()
    assert budget.tokens(0.1) == 0.0


def test_a_repeat_that_was_not_sent_gets_its_token_back():
    budget = RetryBudget(0.0, 0.0)
    Upstream(Failed(Fault.BROKEN), Failed(Fault.UNREACHABLE, sent=False), 200, budget=budget).make()
    assert budget.tokens(1.0) == 2.0  # of the two repeats, one was sent


def test_a_repeat_that_was_refused_gets_its_token_back():
    budget = RetryBudget(0.0, 0.0)
    Upstream(503, REFUSED, budget=budget).make()
    assert budget.tokens(1.0) == 3.0


def test_a_call_that_is_cancelled_while_it_waits_gets_its_token_back():
    budget = RetryBudget(0.0, 0.0)
    upstream = Upstream(throttled(503, retry_after="2"), budget=budget)
    running = upstream.policy(upstream.call(), upstream._attempt)
    upstream.port.spawn(running)
    upstream.port.run(until=1.0)
    assert budget.tokens(1.0) == 2.0
    cancel(running)
    assert budget.tokens(1.0) == 3.0


def test_a_first_attempt_that_is_cancelled_after_it_was_sent_has_paid_in():
    budget = spent_budget()
    upstream = Upstream(KeyboardInterrupt(), budget=budget)
    call = upstream.call()

    async def sent_and_cancelled(call):
        attempt = Attempt(call, 0.0)
        attempt.sent = True
        error = KeyboardInterrupt()
        attempt.end(0.0, error)
        raise error

    with pytest.raises(KeyboardInterrupt):
        ended(upstream.port, upstream.policy(call, sent_and_cancelled))
    assert budget.tokens(0.0) == pytest.approx(0.2)


def test_without_a_budget_every_call_is_repeated():
    for _ in range(10):
        upstream = Upstream(503, budget=None)
        upstream.make()
        assert len(upstream.entries) == 3


@pytest.mark.parametrize(
    ("ending", "facts"),
    [
        (503, {"repeatable": False}),
        (503, {"replayable": False}),
        (503, {"within": 0.2}),
        (throttled(503, retry_after="60"), {}),
        (Failed(Fault.UNTRUSTED), {}),
    ],
    ids=["not repeatable", "not replayable", "does not fit", "too long", "not retryable"],
)
def test_a_repeat_that_is_not_made_takes_no_token(ending, facts):
    budget = RetryBudget(0.0, 0.0)
    with contextlib.suppress(SimulatedFailure):
        Upstream(ending, budget=budget).make(**facts)
    assert budget.tokens(0.0) == 3.0


# Refused is not failed


@pytest.mark.parametrize("refusal", [REFUSED, Saturated("payments: all 1 permits are taken", upstream="payments")])
def test_a_refused_call_is_never_repeated(refusal):
    upstream = Upstream(refusal, 200)
    with pytest.raises(type(refusal)) as caught:
        upstream.make()
    assert caught.value is refusal
    assert len(upstream.entries) == 1
    assert upstream.port.now() == 0.0
    assert not [event for event in upstream.events if isinstance(event, RetryScheduled)]


def test_the_last_real_response_stands_when_the_repeat_is_refused():
    upstream = Upstream(SimulatedReply(503, {"server": "the first"}), REFUSED)
    response = upstream.make()
    assert (response.status_code, response.headers["server"]) == (503, "the first")
    assert [entry.decision for entry in upstream.entries] == ["retry", "return"]
    assert "the last real outcome stands" in upstream.why


def test_the_last_real_exception_stands_when_the_repeat_is_refused():
    failure = Failed(Fault.BROKEN)
    upstream = Upstream(failure, REFUSED)
    with pytest.raises(SimulatedFailure) as caught:
        upstream.make()
    assert caught.value is failure.error
    assert [entry.decision for entry in upstream.entries] == ["retry", "raise"]


def test_a_response_that_was_too_large_to_keep_cannot_stand():
    upstream = Upstream(503, REFUSED, keeps=False)
    with pytest.raises(CircuitOpen):
        upstream.make()


# What is told


def test_a_listener_hears_of_each_repeat_and_of_the_last_failure():
    upstream = Upstream(500)
    upstream.make()
    first, second, last = upstream.events
    assert isinstance(first, RetryScheduled)
    assert (first.upstream, first.number, first.why) == ("payments", 2, "status 500")
    assert first.delay == pytest.approx(upstream.waits[0])
    assert (second.number, second.delay) == (3, pytest.approx(upstream.waits[1]))
    assert last == RetrySuppressed("payments", 3, "status 500, 3 of 3 attempts made")


def test_nothing_is_told_when_all_is_well():
    upstream = Upstream(200)
    upstream.make()
    assert upstream.events == []
    assert upstream.why == ""


def test_the_same_seed_waits_as_long_and_another_does_not():
    def waits(seed):
        upstream = Upstream(500, seed=seed)
        upstream.make()
        return upstream.waits

    assert waits(1) == waits(1)
    assert waits(1) != waits(2)


# Classification


def answers_in_turn(*verdicts):
    """A classifier that keeps what it is shown."""
    seen, left = [], list(verdicts)

    def classify(outcome):
        seen.append(outcome)
        return left.pop(0) if left else None

    return seen, classify


def test_a_function_of_the_users_is_asked_first():
    seen, classify = answers_in_turn(True, False)
    reply = SimulatedReply(200, {"x-partial": "1"})
    upstream = Upstream(reply, 503, classify=classify)
    assert upstream.make().status_code == 503
    assert [entry.decision for entry in upstream.entries] == ["retry", "return"]
    assert seen[0] is reply


@pytest.mark.parametrize(("said", "attempts"), [("busy", 2), (3, 2), (re.match("b", "busy"), 2), ("", 1), (0, 1)])
def test_what_it_says_counts_by_whether_it_is_true(said, attempts):
    _, classify = answers_in_turn(said, False)
    upstream = Upstream(503, 200, classify=classify)
    upstream.make()
    assert len(upstream.entries) == attempts


def test_a_stop_iteration_of_its_is_an_error_that_names_it():
    def first_busy(outcome):
        return next(iter(()))

    with pytest.raises(RuntimeError, match="first_busy raised StopIteration") as caught:
        Upstream(503, 200, classify=first_busy).make()
    assert isinstance(caught.value.__cause__, StopIteration)


def test_without_an_opinion_of_its_the_statuses_and_faults_decide():
    _, classify = answers_in_turn(None, None, None)
    upstream = Upstream(503, Failed(Fault.BROKEN), 200, classify=classify)
    assert upstream.make().status_code == 200
    assert len(upstream.entries) == 3


@pytest.mark.parametrize("fault", [Fault.UNTRUSTED, Fault.INVALID])
def test_it_cannot_have_repeated_what_is_fatal(fault):
    seen, classify = answers_in_turn(True)
    upstream = Upstream(Failed(fault), 200, classify=classify)
    with pytest.raises(SimulatedFailure):
        upstream.make()
    assert seen == []


def test_it_may_have_repeated_what_code_of_the_users_raises():
    failure = Failed(Fault.FOREIGN)
    upstream = Upstream(failure, 200, classify=lambda outcome: outcome is failure.error)
    assert upstream.make().status_code == 200


def test_it_cannot_have_a_post_repeated():
    upstream = Upstream(200, classify=lambda _: True)
    assert upstream.make(method="POST", repeatable=False).status_code == 200
    assert len(upstream.entries) == 1


def test_a_mistake_in_it_is_raised_and_the_response_is_freed():
    freed = []
    upstream = Upstream(503, classify=lambda _: 1 / 0)

    async def set_aside(reply, within):
        freed.append((reply.status_code, within))

    upstream.port.set_aside = set_aside
    with pytest.raises(ZeroDivisionError):
        upstream.make()
    assert freed == [(503, 0.0)]


def test_the_faults_are_a_setting():
    upstream = Upstream(Failed(Fault.TIMEOUT), 200, faults=frozenset({Fault.UNREACHABLE}))
    with pytest.raises(SimulatedFailure):
        upstream.make()


# What the upstream forbids, and what would multiply


@pytest.mark.parametrize(
    ("stop", "headers", "attempts"),
    [
        (("x-should-retry", "false"), {"x-should-retry": "False "}, 1),
        (("x-should-retry", "false"), {"x-should-retry": "true"}, 3),
        (("x-should-retry", "false"), {}, 3),
        (("x-final", None), {"x-final": ""}, 1),
    ],
)
def test_an_answer_may_say_that_it_is_not_to_be_repeated(stop, headers, attempts):
    upstream = Upstream(SimulatedReply(503, headers), stop_header=stop)
    assert upstream.make().status_code == 503
    assert len(upstream.entries) == attempts
    assert ("says not to repeat it" in upstream.why) == (attempts == 1)


@pytest.mark.parametrize(
    ("ending", "attempts"), [(503, 1), (Failed(Fault.BROKEN), 1), (Failed(Fault.UNREACHABLE, sent=False), 2)]
)
def test_for_a_request_that_is_a_repeat_only_what_was_not_sent_is_repeated(ending, attempts):
    upstream = Upstream(ending, 200)
    upstream.made = upstream.call()
    upstream.made.repeated = True
    with contextlib.suppress(SimulatedFailure):
        ended(upstream.port, upstream.policy(upstream.made, upstream._attempt))
    assert len(upstream.entries) == attempts
    assert attempts == 2 or "the inbound request is itself a repeat" in upstream.why


# Another endpoint


def test_another_endpoint_is_tried_sooner_than_the_same_one():
    def mean_wait(*hosts):
        waits = []
        for seed in range(200):
            upstream = Upstream(503, 200, hosts=hosts, seed=seed)
            upstream.make()
            waits += upstream.waits
        return sum(waits) / len(waits)

    assert mean_wait("n1", "n2") < 0.1 * mean_wait("n1")


def test_it_has_asked_for_no_wait():
    upstream = Upstream(throttled(retry_after="3"), 200, hosts=("n1", "n2"))
    upstream.make()
    assert upstream.waits[0] <= 0.025 + 1e-9


def test_a_429_speaks_for_all_endpoints():
    upstream = Upstream(throttled(429, retry_after="3"), 200, hosts=("n1", "n2"))
    upstream.make()
    assert upstream.waits[0] >= 3.0


def test_an_endpoint_whose_circuit_is_open_is_no_other_one():
    upstream = Upstream(throttled(retry_after="3"), 200, hosts=("n1", "n2"))
    first, second = upstream.nodes.members
    second.circuit = Circuit()
    second.circuit.force_open()
    upstream.made = upstream.call()
    upstream.made.tried = (first,)
    ended(upstream.port, upstream.policy(upstream.made, upstream._attempt))
    assert upstream.waits[0] >= 3.0


# The budget is for what is sent twice


def test_a_call_of_which_nothing_was_sent_goes_elsewhere_without_a_token():
    budget = RetryBudget(0.0, 0.0)
    while budget.withdraw(0.0):
        pass
    upstream = Upstream(Failed(Fault.UNREACHABLE, sent=False), 503, 200, budget=budget)
    assert upstream.make().status_code == 503
    assert [entry.decision for entry in upstream.entries] == ["retry", "return"]
    assert "the retry budget is used up" in upstream.why


# Observing


def test_a_policy_that_only_observes_says_what_it_would_have_repeated():
    upstream = Upstream(503, 200, observe=True)
    assert upstream.make().status_code == 503
    assert len(upstream.entries) == 1
    (observed,) = [event for event in upstream.events if isinstance(event, Observed)]
    assert (observed.upstream, observed.policy) == ("payments", "retry")
    assert observed.would.startswith("repeat in 0.")
    assert upstream.tally.as_dict() == {"suppressed: observe": 1}


def test_one_that_only_observes_takes_nothing_from_the_budget_that_hedges_share():
    budget = RetryBudget(0.0, 0.0)
    upstream = Upstream(503, 503, observe=True, budget=budget)
    upstream.make()
    upstream.make()
    assert budget.tokens(upstream.port.now()) == RetryBudget(0.0, 0.0).tokens(0.0)


def test_what_was_decided_is_counted():
    upstream = Upstream(500)
    upstream.make()
    upstream.make(method="POST", repeatable=False)
    assert upstream.tally.as_dict() == {"made": 2, "suppressed: attempts": 1, "suppressed: not idempotent": 1}


def test_what_is_asked_for_is_obeyed_up_to_the_longest_wait_itself():
    for seed in range(20):
        upstream = Upstream(throttled(503, retry_after="5"), 200, seed=seed)
        assert upstream.make(within=60.0).status_code == 200
        assert upstream.port.now() == pytest.approx(5.0, abs=0.2)
