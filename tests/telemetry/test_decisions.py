"""The span of a call tells what was decided in it; over real sockets."""

import asyncio
import threading

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from resilient_http import Cancellation, CircuitOpen, DeadlineExceeded, Resilience, Scope, deadline, enter_scope
from tests.live.callers import Caller
from tests.live.servers import answer, delay, hang, reset
from tests.live.test_hedge import by_turns
from tests.telemetry.sdk import tracing

QUICK = {"backoff": {"base": 0.001, "throttled_base": 0.001, "elsewhere": 1.0}}


@pytest.fixture(params=["sync", "asyncio", "trio"])
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["ours", "contrib"])
def spans(request):
    with tracing(instrumented=request.param) as made:
        yield made


def run(kind, nodes, *, seconds=None, times=1, scope=None, raised=(Exception,), **settings):
    """Call the upstream; what came of it last."""
    outcome = None

    async def body(client):
        nonlocal outcome
        for _ in range(times):
            try:
                outcome = await client.get("http://payments/charges")
            except raised as exc:
                outcome = exc

    caller = Caller(kind, "httpx")
    settings = {"upstreams": {"payments": {"endpoints": [node.url for node in nodes], "retry": QUICK, **settings}}}
    with enter_scope(scope or Scope()), deadline(9.0 if seconds is None else seconds):
        caller.run(caller.resilience(settings), body)
    return outcome


def events(span):
    """Its events: name without the prefix, and attributes without theirs."""
    return [
        (
            event.name.removeprefix("resilient_http."),
            {name.removeprefix("resilient_http."): value for name, value in event.attributes.items()},
        )
        for event in span.events
    ]


def test_a_call_that_nothing_was_decided_about_has_no_events(kind, fault_server, spans):
    run(kind, [fault_server()])

    assert spans.calls[0].events == ()


def test_a_repeat_says_why_when_and_how_much_of_the_deadline_was_left(kind, fault_server, spans):
    run(kind, [fault_server([answer(503), answer()])], retry={"backoff": {"throttled_base": 0.4}})

    (the_call,), (first, second) = spans.calls, spans.attempts
    ((name, told),) = events(the_call)
    assert (name, told["attempt"], told["why"]) == ("retry", 1, "status 503")
    assert 0 < told["deadline.left"] <= 9.0
    assert 0.2 <= told["delay"] <= 0.4
    # Nanoseconds. The clock of the wall and the monotonic one are read one after the other; it is told before the wait.
    margin = 100_000_000
    assert first.start_time - margin <= the_call.events[0].timestamp <= second.start_time - margin
    assert the_call.attributes["resilient_http.deadline.left"] <= told["deadline.left"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"retry": {"max_attempts": 1}}, "status 503, 1 of 1 attempts made"),
        ({"retry": {**QUICK, "budget": {"ratio": 0.0, "floor": 0.0}}}, "status 503, the retry budget is used up"),
    ],
    ids=["attempts", "budget"],
)
def test_a_repeat_that_was_not_made_says_why(kind, fault_server, spans, settings, why):
    run(kind, [fault_server(answer(503))], times=5, circuit=None, **settings)

    assert events(spans.calls[-1])[-1][0] == "retry_suppressed"
    assert events(spans.calls[-1])[-1][1]["why"] == why


def test_an_open_circuit_is_told_with_its_next_probe(kind, fault_server, spans):
    error = run(kind, [fault_server(reset())], times=6, retry=None)

    assert isinstance(error, CircuitOpen)
    ((name, told),) = events(spans.calls[-1])
    assert name == "refused"
    assert "next probe in" in told["why"]


def test_a_wait_for_a_permit_is_told(fault_server, spans):
    node, caller = fault_server(delay(0.1, answer())), Caller("asyncio", "httpx")
    settings = {"upstreams": {"payments": {"endpoints": [node.url], "concurrency": {"limit": 1}}}}

    async def body(client):
        await asyncio.gather(client.get("http://payments/"), client.get("http://payments/"))

    caller.run(caller.resilience(settings), body)

    queued = [told for call in spans.calls for told in events(call) if told[0] == "queued"]
    assert len(queued) == 1
    assert queued[0][1]["queued"] > 0


def test_a_hedge_is_linked_to_the_attempt_that_took_long(kind, fault_server, spans):
    script = by_turns(hang(), answer(200))
    run(kind, [fault_server(script), fault_server(script)], hedge={"delay": 0.1})

    (the_call,), (first, hedge) = spans.calls, spans.attempts
    assert {span.parent.span_id for span in (first, hedge)} == {the_call.context.span_id}
    assert {first.context.trace_id, hedge.context.trace_id} == {the_call.context.trace_id}
    assert [link.context.span_id for link in hedge.links] == [first.context.span_id]
    assert [name for name, _ in events(the_call)] == ["lost", "hedge"]


def test_the_loser_of_a_hedge_ends_as_lost_and_is_no_error(kind, fault_server):
    script = by_turns(hang(), answer(200))
    with tracing(instrumented=False) as spans:
        run(kind, [fault_server(script), fault_server(script)], hedge={"delay": 0.1})
        first = spans.attempts[0]

    assert first.attributes["resilient_http.outcome"] == "lost"
    assert first.status.status_code is StatusCode.UNSET


def test_no_hedge_says_why(kind, fault_server, spans):
    budget = {"ratio": 0.0, "floor": 0.0}  # holds three tokens even so, and keeps half of them for retries
    node, options = fault_server(delay(0.3, answer())), {"circuit": None, "retry": {**QUICK, "budget": budget}}
    run(kind, [node], times=3, hedge={"delay": 0.1}, **options)

    assert ("note", {"why": "no hedge: budget"}) in events(spans.calls[-1])


def test_a_fallback_is_told(kind, fault_server, spans):
    response = run(kind, [fault_server(answer(503))], retry=None, fallback={"response": {"status": 200, "body": {}}})

    assert response.status_code == 200
    assert any(name == "note" and told["why"].startswith("fallback") for name, told in events(spans.calls[0]))


def test_an_injected_fault_is_told_by_its_call(kind, fault_server, spans):
    (url, chaos) = fault_server(answer()).url, {"error": 500, "lasts": 60}
    root = {"chaos": {"allowed": ["payments"]}}
    own = {"endpoints": [url], "retry": None, "chaos": chaos}
    caller = Caller(kind, "httpx")

    async def body(client):
        await client.get("http://payments/charges")

    caller.run(caller.resilience({**root, "upstreams": {"payments": own}}), body)
    notes = [told["why"] for name, told in events(spans.calls[0]) if name == "note"]
    assert notes == ["chaos: 500 injected (attempt 1, by settings)"]


def test_a_passed_deadline_is_an_error_with_nothing_left(kind, fault_server, spans):
    error = run(kind, [fault_server(hang())], seconds=0.3)

    assert isinstance(error, DeadlineExceeded)
    (the_call,) = spans.calls
    assert the_call.attributes["error.type"] == "DeadlineExceeded"
    assert the_call.attributes["resilient_http.deadline.left"] == 0.0
    assert the_call.attributes["resilient_http.deadline.budget"] == pytest.approx(0.3)
    assert the_call.status.status_code is StatusCode.ERROR


def test_a_call_whose_inbound_caller_went_away_ends_as_cancelled(kind, fault_server):
    node, cancellation = fault_server(hang()), Cancellation()

    def leave():
        node.wait_for_requests(1)
        cancellation.request()

    with tracing(instrumented=False) as spans:
        leaving = threading.Thread(target=leave)
        leaving.start()
        run(kind, [node], scope=Scope(cancellation=cancellation))
        leaving.join()

    for span in (*spans.calls, *spans.attempts):
        assert span.attributes["resilient_http.outcome"] == "cancelled"
        assert span.status.status_code is StatusCode.UNSET
        assert span.end_time
        assert "cancelled" in [name for name, _ in events(span)]
    assert len(spans.all()) == 2


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_a_task_that_is_cancelled_leaves_no_span_open(kind, fault_server):
    node = fault_server(hang())
    caller = Caller(kind, "httpx")

    async def body(client):
        with anyio.move_on_after(5) as limit:
            async with anyio.create_task_group() as group:
                group.start_soon(client.get, "http://payments/")
                await anyio.to_thread.run_sync(node.wait_for_requests, 1)
                group.cancel_scope.cancel()
        assert not limit.cancelled_caught

    with tracing(instrumented=False) as spans:
        caller.run(caller.resilience({"upstreams": {"payments": {"endpoints": [node.url]}}}), body)

    assert [span.attributes["resilient_http.outcome"] for span in spans.all()] == ["cancelled"] * 2


def test_an_unsampled_call_has_no_spans_and_still_says_whose_trace_it_is(kind, fault_server):
    node = fault_server([answer(503), answer()])
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    with tracing(instrumented=False) as spans:
        run(kind, [node], scope=Scope(None, (("traceparent", parent),)))

    assert spans.all() == []
    sent = [request.header("traceparent").split("-") for request in node.requests]
    assert [(trace_id, flags) for _, trace_id, _, flags in sent] == [("4bf92f3577b34da6a3ce929d0e0e4736", "00")] * 2


def test_work_in_a_thread_of_the_users_stays_in_the_trace_of_its_request(fault_server, spans):
    """Context variables do not follow into a thread pool; a client that is bound to its request knows whose it is."""
    node, parent = fault_server(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    resilience = Resilience({"upstreams": {"payments": {"endpoints": [node.url]}}})
    client = resilience.client(scope=Scope(None, (("traceparent", parent),)))
    with resilience:
        worker = threading.Thread(target=client.get, args=("http://payments/",))
        worker.start()
        worker.join()

    assert {format(span.context.trace_id, "032x") for span in spans.all()} == {parent.split("-")[1]}
    assert len(spans.attempts) == 1


def test_a_hedge_that_runs_in_a_thread_of_ours_stays_in_the_callers_trace(fault_server, spans):
    script = by_turns(hang(), answer())
    with trace.get_tracer("shop").start_as_current_span("checkout") as checkout:
        run("sync", [fault_server(script), fault_server(script)], hedge={"delay": 0.1})

    assert {span.context.trace_id for span in spans.all()} == {checkout.get_span_context().trace_id}
    assert len(spans.attempts) == 2
