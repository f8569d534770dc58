"""Middleware on a virtual clock: where it stands, what it sees, and what it may do."""

from __future__ import annotations

from functools import partial

import pytest

from resilient_http.errors import DeadlineExceeded
from resilient_http.ports.simulated import SimulatedFailure, SimulatedReply
from resilient_http.state.outcome import Fault
from tests.simulation.world import HANG, REFUSE, World, script


def noted(log, name):
    async def middleware(subject, proceed):
        log.append(f"{name} in")
        try:
            return await proceed(subject)
        finally:
            log.append(f"{name} out")

    return middleware


def test_the_order_is_that_of_the_settings_and_status_shows_it():
    log = []
    inner, outer = noted(log, "b"), noted(log, "a")
    world = World(
        script(503, 200), middleware={"call": [outer, inner], "attempt": [noted(log, "x"), noted(log, "y")]},
        fallback={"response": {}}, hedge={"delay": 1.0},
    )  # fmt: skip
    assert world.make().status == 200
    assert log == [
        "a in", "b in", "x in", "y in", "y out", "x out", "x in", "y in", "y out", "x out", "b out", "a out",
    ]  # fmt: skip
    path = f"middleware {__name__}.noted.<locals>.middleware"
    assert world.upstream.status(0.0)["pipeline"] == {
        "call": ["fallback", path, path, "deadline", "retry", "hedge"],
        "attempt": ["concurrency", "balance", "timeout", path, path, "telemetry"],
    }


def test_of_a_call_it_sees_what_the_call_ends_with_and_not_the_fallback():
    seen = []

    async def look(call, proceed):
        try:
            return await proceed(call)
        except Exception as exc:
            seen.append(exc)
            raise

    world = World(script(HANG), middleware={"call": [look]}, fallback={"response": {}})
    assert world.make(within=0.5).status == 200
    assert isinstance(seen[0], DeadlineExceeded)


def test_it_may_leave_something_of_its_own_on_a_call_and_on_an_attempt():
    found = []

    async def name(call, proceed):
        call.memory["acme_tenant"] = "acme"
        return await proceed(call)

    async def number(attempt, proceed):
        attempt.memory["acme_number"] = attempt.number
        return await proceed(attempt)

    async def look(attempt, proceed):
        found.append((attempt.call.memory["acme_tenant"], attempt.memory["acme_number"]))
        return await proceed(attempt)

    world = World(script(503, 200), middleware={"call": [name], "attempt": [number, look]})
    assert world.make().status == 200
    assert found == [("acme", 1), ("acme", 2)]


def test_of_an_attempt_it_knows_the_endpoint_and_adds_headers():
    sent = []

    def respond(attempt, now):
        sent.append(attempt.headers)
        return 0.01, SimulatedReply(503 if len(sent) < 2 else 200)

    async def sign(attempt, proceed):
        attempt.headers += (("X-Signature", f"{attempt.chosen.url} {attempt.number}"),)
        return await proceed(attempt)

    world = World(respond, middleware={"attempt": [sign]}, attempt_header="x-attempt")
    assert world.make().status == 200
    assert sent == [
        (("x-attempt", "1"), ("X-Signature", "http://n1 1")),
        (("x-attempt", "2"), ("X-Signature", "http://n1 2")),
    ]


def test_it_may_wait_through_its_port_and_is_bound_by_the_total():
    async def slow(call, proceed):
        await call.port.sleep(8.0)
        return await proceed(call)

    world = World(script(HANG), middleware={"call": [slow]}, retry=None, timeout={"attempt": None, "total": 10.0})
    made = world.make()
    assert isinstance(made.error, DeadlineExceeded)
    assert made.took == pytest.approx(10.0)


def test_it_may_answer_itself():
    async def closed(call, proceed):
        return call.port.reply(204, (), b"")

    made = World(script(200), middleware={"call": [closed]}).make()
    assert made.status == 204
    assert made.journal.attempts == ()


def test_an_attempt_that_it_answers_says_nothing_about_the_endpoint():
    async def closed(attempt, proceed):
        return SimulatedReply(503)

    world = World(script(200), middleware={"attempt": [closed]})
    assert world.make().status == 503
    assert world.make().journal.attempts[0].outcome == "neutral"


@pytest.mark.parametrize("ring", ["call", "attempt"])
def test_what_it_raises_is_raised_and_is_nobodys_failure(ring):
    async def broken(subject, proceed):
        raise ZeroDivisionError

    world = World(script(200), middleware={ring: [broken]}, fallback={"response": {}})
    for _ in range(20):
        assert isinstance(world.make().error, ZeroDivisionError)
    assert world.endpoint("n1").circuit.mode == "closed"
    assert world.upstream.status(0.0)["retries"].get("made", 0) == 0


@pytest.mark.parametrize("ring", ["call", "attempt"])
def test_one_that_forgets_to_return_is_told_so(ring):
    async def forgetful(subject, proceed):
        await proceed(subject)

    made = World(script(200), middleware={ring: [forgetful]}).make()
    assert isinstance(made.error, TypeError)
    assert "as proceed() did, not NoneType" in str(made.error)


@pytest.mark.parametrize("ring", ["call", "attempt"])
def test_one_that_does_nothing_at_all_is_told_so_too(ring):
    async def idle(subject, proceed):
        """Neither proceeds nor answers."""

    made = World(script(200), middleware={ring: [idle]}, fallback={"response": {}}).make()
    assert isinstance(made.error, TypeError)
    assert "as proceed() did, not NoneType" in str(made.error)


def test_it_may_proceed_again():
    async def stubborn(call, proceed):
        reply = await proceed(call)
        return await proceed(call) if reply.status_code == 404 else reply

    made = World(script(404, 200), middleware={"call": [stubborn]}).make()
    assert made.status == 200
    assert [entry.status for entry in made.journal.attempts] == [404, 200]


def test_failures_pass_through_it():
    made = World(script(REFUSE), middleware={"attempt": [noted([], "a")], "call": [noted([], "b")]}).make()
    assert isinstance(made.error, SimulatedFailure)
    assert [entry.fault for entry in made.journal.attempts] == [Fault.UNREACHABLE] * 3


class Named:
    """An object as middleware."""

    async def __call__(self, call, proceed):
        return await proceed(call)


async def with_tag(tag, call, proceed):
    return await proceed(call)


def test_objects_and_partials_are_middleware_too():
    world = World(script(200), middleware={"call": [Named(), partial(with_tag, "x")]})
    assert world.make().status == 200
    assert world.upstream.status(0.0)["pipeline"]["call"][:2] == [
        f"middleware {__name__}.Named", f"middleware {__name__}.with_tag",
    ]  # fmt: skip


def test_middleware_costs_nothing_where_there_is_none():
    pipeline = World(script(200)).upstream.status(0.0)["pipeline"]
    assert pipeline["call"] == ["deadline", "retry"]
    assert pipeline["attempt"] == ["concurrency", "balance", "timeout", "telemetry"]
