"""Fallback on a virtual clock: what it answers for, with what, and what it leaves alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from resilient_http.errors import Cancelled, CircuitOpen, DeadlineExceeded, Saturated
from resilient_http.events import FallbackUsed, Observed
from resilient_http.policies.fallback import MARKER
from resilient_http.ports.simulated import SimulatedFailure, SimulatedReply
from resilient_http.scope import Cancellation
from resilient_http.state.outcome import Fault
from tests.simulation.world import HANG, REFUSE, World, script

FIXED = {"response": {"status": 203, "headers": {"X-From": "us"}, "body": {"price": None}}}
ONCE = {"retry": None}


PRICES = httpx.URL("http://payments/prices")


@dataclass
class Asked:
    """A request, as far as policies look at it."""

    url: httpx.URL = PRICES
    headers: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


def test_a_fixed_answer_for_a_failing_upstream():
    world = World(script(503), **ONCE, fallback=FIXED)
    made = world.make()
    assert (made.status, json.loads(made.response.body)) == (203, {"price": None})
    assert dict(made.response.headers) == {"content-type": "application/json", "x-from": "us", MARKER: "fixed"}
    assert made.journal.notes == ("fallback: answered (fixed) for status 503",)
    assert world.told(FallbackUsed) == [FallbackUsed("payments", "fixed", "status 503")]
    assert world.upstream.status(0.0)["fallbacks"] == {"fixed": 1}


@pytest.mark.parametrize("answer", [REFUSE, *((0.01, fault) for fault in (
    Fault.BROKEN, Fault.TIMEOUT, Fault.LOCAL, Fault.UNTRUSTED))])  # fmt: skip
def test_it_answers_for_the_networks_faults(answer):
    assert World(script(answer), **ONCE, fallback=FIXED).make().status == 203


def test_it_answers_for_a_deadline_that_has_passed():
    made = World(script(HANG), fallback=FIXED).make(within=0.5)
    assert (made.status, made.took) == (203, 0.5)
    assert "DeadlineExceeded" in made.journal.notes[0]


def test_it_answers_for_an_open_circuit_and_a_full_limit():
    world = World(script(REFUSE), **ONCE, fallback=FIXED)
    for _ in range(6):
        world.make()
    assert "CircuitOpen" in world.make().journal.notes[0]
    world = World(script((1.0, 200)), **ONCE, fallback=FIXED, concurrency={"limit": 1, "queue": 0})
    first, second = world.spawn(), world.spawn()
    world.port.run()
    assert (first.status, second.status) == (200, 203)
    assert "Saturated" in second.journal.notes[0]


@pytest.mark.parametrize("status", [200, 302, 400, 404, 408, 429, 501])
def test_it_never_answers_for_what_is_an_answer(status):
    made = World(script(status), **ONCE, fallback=FIXED).make()
    assert made.status == status
    assert made.journal.notes == ()


def test_a_head_is_answered_without_a_body():
    for own in (FIXED, {"function": lambda call, failure: {"price": None}}):
        response = World(script(503), **ONCE, fallback=own).make("HEAD").response
        assert (response.body, response.headers["content-type"]) == (b"", "application/json")


def test_which_statuses_fail_is_a_setting():
    world = World(script(501), **ONCE, fallback={**FIXED, "statuses": [501]})
    assert world.make().status == 203


@pytest.mark.parametrize("fault", [Fault.INVALID, Fault.FOREIGN])
def test_it_never_hides_what_the_program_did_wrong(fault):
    made = World(script((0.0, fault)), **ONCE, fallback=FIXED).make()
    assert isinstance(made.error, SimulatedFailure)


def test_it_never_hides_an_error_in_a_hook_that_ran_after_a_failure():
    def classify(outcome):
        raise LookupError("a typo")

    made = World(script(REFUSE), retry={"classify": classify}, fallback=FIXED).make()
    assert isinstance(made.error, LookupError)


@pytest.mark.parametrize("answer", [200, REFUSE])
def test_it_never_hides_an_error_of_the_network_that_a_hook_raised(answer):
    def classify(outcome):
        raise SimulatedFailure(Fault.TIMEOUT)  # it asks somebody else

    made = World(script(answer), retry={"classify": classify}, fallback=FIXED).make()
    assert (made.error.fault, made.journal.notes) == (Fault.TIMEOUT, ())


def test_a_hook_that_raises_the_failure_it_was_given_hides_nothing():
    def classify(outcome):
        raise outcome

    assert World(script(REFUSE), retry={"classify": classify}, fallback=FIXED).make().status == 203


def test_a_hook_that_raised_once_does_not_speak_for_the_next_try_of_a_call():
    asked = []

    def classify(outcome):
        asked.append(outcome)
        if len(asked) == 1:
            raise LookupError

    async def again(call, proceed):
        try:
            return await proceed(call)
        except LookupError:
            return await proceed(call)

    world = World(
        script(REFUSE), retry={"classify": classify, "max_attempts": 1}, fallback=FIXED, middleware={"call": [again]}
    )
    assert world.make().status == 203
    assert len(asked) == 2


def test_it_never_answers_somebody_who_has_gone():
    world = World(script(503, 503), fallback=FIXED)
    call = world.open_call()
    call.cancellation = Cancellation()
    call.cancellation.request()

    async def make():
        with pytest.raises(Cancelled):
            await world.upstream.pipeline.run(call)

    world.port.spawn(make())
    world.port.run()
    assert world.told(FallbackUsed) == []


def test_it_never_answers_somebody_who_goes_while_the_call_fails():
    gone = Cancellation()

    def respond(attempt, now):
        gone.request()
        return 0.01, Fault.BROKEN

    world = World(respond, **ONCE, fallback=FIXED)
    call = world.open_call()
    call.cancellation = gone

    async def make():
        with pytest.raises(SimulatedFailure):
            await world.upstream.pipeline.run(call)

    world.port.spawn(make())
    world.port.run()
    assert world.told(FallbackUsed) == []


# A function


def test_a_function_is_given_the_call_and_its_failure():
    seen = []

    def answer(call, failure):
        seen.append((call.upstream, call.method, len(call.journal.attempts), failure))
        return "nothing to see"

    world = World(script(503, HANG), **ONCE, fallback={"function": answer})
    assert world.make().response.body == b"nothing to see"
    world.make(within=0.5)
    assert seen[0][:3] == ("payments", "GET", 1)
    assert seen[0][3].status_code == 503
    assert isinstance(seen[1][3], DeadlineExceeded)


@pytest.mark.parametrize(
    ("given", "status", "body"),
    [
        (b"\x00", 200, b"\x00"),
        ("ü", 200, "ü".encode()),
        ({"a": 1}, 200, b'{"a": 1}'),
        ([], 200, b"[]"),
        (SimulatedReply(418, {}, b"tea"), 418, b"tea"),
    ],
)
def test_a_function_gives_a_response_or_a_body(given, status, body):
    made = World(script(503), **ONCE, fallback={"function": lambda call, failure: given}).make()
    assert (made.status, made.response.body, made.response.headers[MARKER]) == (status, body, "function")
    assert getattr(given, "headers", {}) == {}  # what it gave is not written to


def test_a_function_that_gives_none_has_no_answer():
    world = World(script(503, REFUSE), **ONCE, fallback={"function": lambda call, failure: None})
    assert world.make().status == 503
    made = world.make()
    assert isinstance(made.error, SimulatedFailure)
    assert made.journal.notes == ("fallback: no function answer for SimulatedFailure: unreachable",)
    assert world.upstream.status(0.0)["fallbacks"] == {"function: none": 2}


@pytest.mark.parametrize("answer", [503, REFUSE])
def test_what_a_function_raises_is_raised_as_it_is(answer):
    def broken(call, failure):
        raise ZeroDivisionError

    assert isinstance(World(script(answer), **ONCE, fallback={"function": broken}).make().error, ZeroDivisionError)


def test_a_function_that_gives_something_else_is_wrong():
    made = World(script(503), **ONCE, fallback={"function": lambda call, failure: 7}).make()
    assert isinstance(made.error, TypeError)


def test_observed_it_only_tells():
    world = World(script(503), **ONCE, fallback={**FIXED, "observe": True})
    made = world.make()
    assert made.status == 503
    assert world.told(Observed) == [Observed("payments", "fallback", "answer (fixed) for status 503")]
    assert world.upstream.status(0.0)["fallbacks"] == {"fixed: observed": 1}
    assert "only observes" in made.journal.notes[0]


def test_it_answers_each_failure_after_all_repeats():
    world = World(script(503, 503, 200), fallback=FIXED)
    assert world.make().status == 200
    assert world.upstream.status(0.0)["pipeline"]["call"] == ["fallback", "deadline", "retry"]


# The last good answer

GOOD = SimulatedReply(200, {"etag": "1"}, b"old")


def stale(*answers, **own):
    return World(script(*answers), **ONCE, fallback={"stale": {"max_age": 60, **own}})


def test_the_last_good_answer_of_the_same_request():
    world = stale(GOOD, 503)
    assert MARKER not in world.make(request=Asked()).response.headers
    world.port.run(until=world.port.now() + 0)
    made = world.spawn(at=30.0, request=Asked())
    other = world.spawn(at=31.0, request=Asked(httpx.URL("http://payments/others")))
    late = world.spawn(at=61.0, request=Asked())
    world.port.run()
    assert (made.status, made.response.body) == (200, b"old")
    assert dict(made.response.headers) == {"etag": "1", "age": "30", MARKER: "stale"}
    assert other.status == 503
    assert late.status == 503
    assert world.upstream.status(0.0)["stale"]["entries"] == 0


def test_a_newer_one_takes_its_place():
    world = stale(GOOD, SimulatedReply(200, {}, b"new"), REFUSE)
    bodies = [world.make(request=Asked()).response.body for _ in range(3)]
    assert bodies == [b"old", b"new", b"new"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_never_after_a_4xx(status):
    world = stale(GOOD, status, 503)
    assert [world.make(request=Asked()).status for _ in range(3)] == [200, status, 503]


@pytest.mark.parametrize("status", [304, 408, 429])
def test_what_says_nothing_about_the_resource_leaves_it(status):
    world = stale(GOOD, status, 503)
    assert [world.make(request=Asked()).status for _ in range(3)] == [200, status, 200]


def test_a_write_makes_it_untrue_and_a_failed_one_does_not():
    world = stale(GOOD, 204, 503)
    world.make(request=Asked())
    world.make("DELETE", request=Asked())
    assert world.make(request=Asked()).status == 503
    world = stale(GOOD, 409, 503)
    world.make(request=Asked())
    world.make("PUT", request=Asked())
    assert world.make(request=Asked()).status == 200


def test_a_write_is_never_answered_by_what_was_read():
    world = stale(GOOD, 503)
    world.make(request=Asked())
    assert world.make("POST", request=Asked()).status == 503
    assert world.make("HEAD", request=Asked()).status == 503


def test_requests_with_credentials_need_a_key():
    mine, yours, none = ({"authorization": name} for name in ("mine", "yours", "none"))
    world = stale(GOOD, 503)
    world.make(request=Asked(headers=mine))
    assert world.make(request=Asked(headers=mine)).status == 503

    world = stale(GOOD, 503)
    world.make(request=Asked())  # nobody's, so everybody's; but who asks by name may expect an answer of his own
    assert world.make(request=Asked(headers=mine)).status == 503

    def owner(request):
        return None if request.headers["authorization"] == "none" else request.headers["authorization"]

    world = stale(GOOD, GOOD, 503, key=owner)
    for headers in (mine, none):
        world.make(request=Asked(headers=headers))
    assert world.make(request=Asked(headers=mine)).status == 200
    assert world.make(request=Asked(headers=yours)).status == 503
    assert world.make(request=Asked(headers=none)).status == 503


def test_a_key_may_be_anything_that_can_be_written_down():
    world = stale(GOOD, 503, key=lambda request: 42)
    world.make(request=Asked())
    assert world.make(request=Asked()).status == 200


def test_a_request_for_another_target_than_its_url_says_is_left_alone():
    world = stale(GOOD, GOOD, 503)
    other = {"target": b"/others"}
    world.make(request=Asked())
    world.make(request=Asked(extensions=other))
    assert world.make(request=Asked(extensions=other)).status == 503
    assert world.make(request=Asked()).status == 200


def test_tenants_that_only_the_host_header_tells_apart_do_not_get_each_others_answers():
    mine, yours = ({"host": name} for name in ("mine", "yours"))
    for own in ({}, {"key": lambda request: "everybody"}, {"store": Outside()}):
        world = stale(GOOD, 503, **own)
        world.make(request=Asked(headers=mine))
        assert world.make(request=Asked(headers=yours)).status == 503
        assert world.make(request=Asked(headers=mine)).status == 200


@pytest.mark.parametrize("other", ["https://payments/prices", "http://payments/price", "http://payments/prices?page=2"])
def test_another_url_is_another_question(other):
    world = stale(GOOD, 503)
    world.make(request=Asked())
    assert world.make(request=Asked(url=httpx.URL(other))).status == 503
    assert world.make(request=Asked(url=httpx.URL("http://payments/prices#top"))).status == 200  # the same, elsewhere


def test_a_host_that_middleware_gave_an_attempt_is_not_mixed_up_with_others():
    async def address(attempt, proceed):
        attempt.headers += (("Host", "mine"),)
        return await proceed(attempt)

    world = World(script(GOOD, 503), **ONCE, fallback={"stale": {}}, middleware={"attempt": [address]})
    world.make(request=Asked())
    assert world.make(request=Asked()).status == 503


@pytest.mark.parametrize("headers", [{"content-length": "9"}, {"transfer-encoding": "chunked"}])
def test_a_get_with_a_body_is_left_alone(headers):
    for own in ({}, {"key": lambda request: "me"}):
        world = stale(GOOD, 503, **own)
        world.make(request=Asked(headers=headers))
        assert world.make(request=Asked(headers=headers)).status == 503
        world = stale(GOOD, 503, **own)
        world.make(request=Asked())
        assert world.make(request=Asked(headers=headers)).status == 503
        world = stale(GOOD, 503, **own)
        world.make(request=Asked(headers=headers))
        assert world.make(request=Asked()).status == 503


def test_a_get_that_says_it_has_no_body_has_none():
    world = stale(GOOD, 503)
    world.make(request=Asked())
    assert world.make(request=Asked(headers={"content-length": "0"})).status == 200


def test_a_key_that_is_empty_keeps_none():
    world = stale(GOOD, 503, key=lambda request: "")
    world.make(request=Asked())
    assert world.make(request=Asked()).status == 503


def test_an_attempt_that_middleware_signed_is_somebodys():
    async def sign(attempt, proceed):
        attempt.headers += (("Authorization", "us"),)
        return await proceed(attempt)

    world = World(script(GOOD, 503), **ONCE, fallback={"stale": {}}, middleware={"attempt": [sign]})
    world.make(request=Asked())
    assert world.make(request=Asked()).status == 503


def test_what_was_signed_once_is_not_given_to_who_asks_without():
    async def sign(attempt, proceed):
        if attempt.call.port.now() == 0:
            attempt.headers += (("Authorization", "us"),)
        return await proceed(attempt)

    world = World(script(GOOD, 503), **ONCE, fallback={"stale": {}}, middleware={"attempt": [sign]})
    world.make(request=Asked())
    assert world.make(request=Asked()).status == 503


class Outside:
    """A store outside of the process."""

    def __init__(self):
        self.kept = {}
        self.broken = False

    def get(self, key):
        if self.broken:
            raise ConnectionError
        return self.kept.get(key)

    def set(self, key, value, ttl):
        if self.broken:
            raise ConnectionError
        assert ttl == 60
        self.kept[key] = value

    def delete(self, key):
        del self.kept[key]


def test_a_store_outside_is_given_bytes_under_names_that_tell_nothing():
    store = Outside()
    world = stale(GOOD, 503, store=store)
    world.make(request=Asked(httpx.URL("http://payments/?token=secret")))
    ((key, value),) = store.kept.items()
    assert "secret" not in key
    assert isinstance(value, bytes)
    assert world.make(request=Asked(httpx.URL("http://payments/?token=secret"))).response.body == b"old"
    assert world.upstream.status(0.0)["stale"] is None


def test_a_store_that_is_down_fails_no_call():
    store = Outside()
    store.broken = True
    world = stale(GOOD, 503, store=store)
    assert [world.make(request=Asked()).status for _ in range(2)] == [200, 503]
    assert world.upstream.status(0.0)["fallbacks"] == {"stale: none": 1, "store failed": 2}


def test_what_a_store_gives_that_is_no_answer_counts_as_nothing():
    store = Outside()
    world = stale(GOOD, 503, store=store)
    world.make(request=Asked())
    for key in store.kept:
        store.kept[key] = b"[" * 100_000
    assert world.make(request=Asked()).status == 503
    assert world.upstream.status(0.0)["fallbacks"] == {"stale: none": 1, "store failed": 1}


def test_a_store_outside_forgets_and_keeps_variants_too():
    store = Outside()
    german, english = ({"accept-language": name} for name in ("de", "en"))
    replies = [SimulatedReply(200, {"vary": "accept-language"}, body) for body in (b"de", b"en")]
    world = stale(*replies, 503, 404, 503, store=store)
    for headers in (german, english):
        world.make(request=Asked(headers=headers))
    assert world.make(request=Asked(headers=german)).response.body == b"de"
    world.make(request=Asked(headers=german))
    assert store.kept == {}


def test_the_memory_keeps_variants_too():
    german, english = ({"accept-language": name} for name in ("de", "en"))
    replies = [SimulatedReply(200, {"vary": "accept-language"}, body) for body in (b"de", b"en")]
    world = stale(*replies, 503)
    for headers in (german, english):
        world.make(request=Asked(headers=headers))
    bodies = [world.make(request=Asked(headers=headers)).response.body for headers in (german, english)]
    assert bodies == [b"de", b"en"]


def test_refusals_are_named_in_the_journal():
    world = World(script(REFUSE), **ONCE, fallback={"function": lambda call, failure: type(failure).__name__})
    names = {world.make().response.body for _ in range(8)}
    assert CircuitOpen.__name__.encode() in names
    assert Saturated.__name__.encode() not in names
