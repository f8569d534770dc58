"""What is measured of calls over real sockets, and that it is what the table says."""

from __future__ import annotations

import gc
import weakref

import pytest
from opentelemetry.metrics import _internal as api

from resilient_http import Cancellation, Resilience, Scope, deadline, enter_scope
from resilient_http.events import CallFinished
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.telemetry import metrics
from resilient_http.telemetry.instruments import BY_NAME, CALL_OUTCOMES, COUNTED, GAUGE, INSTRUMENTS
from resilient_http.telemetry.labels import ENDPOINTS, EVER, OTHER, Labels
from resilient_http.telemetry.metrics import outcome_of
from resilient_http.telemetry.readings import COUNTS, GAUGES, READ
from tests.live.callers import Caller
from tests.live.servers import answer, delay, hang, reset
from tests.live.test_hedge import by_turns
from tests.telemetry.sdk_metrics import metering

QUICK = {"backoff": {"base": 0.001, "throttled_base": 0.001, "elsewhere": 1.0}}


@pytest.fixture
def measured():
    with metering() as measurements:
        yield measurements


@pytest.fixture(params=["sync", "asyncio", "trio"])
def kind(request):
    return request.param


def run(kind, nodes, *, times=1, seconds=9.0, inside=None, url="http://payments/", resilience=None, **settings):
    caller = Caller(kind, "httpx")
    own = {"endpoints": [node.url for node in nodes], "retry": QUICK, **settings}
    resilience = resilience or caller.resilience({"upstreams": {"payments": own}})

    async def body(client):
        for _ in range(times):
            try:
                await client.get(url)
            except Exception:  # noqa: BLE001 - it is measured, whatever it is
                continue
        if inside is not None:
            inside(resilience)

    with deadline(seconds):
        caller.run(resilience, body)
    return resilience


def test_a_call_and_its_attempts_are_measured_by_outcome(kind, fault_server, measured):
    node = fault_server([answer(503), answer(), answer(404), answer(500)])
    run(kind, [node], times=3, retry={**QUICK, "statuses": [503]})

    assert measured.of("call.duration") == {
        ("payments", "success"): 1,
        ("payments", "client_error"): 1,
        ("payments", "server_error"): 1,
    }
    assert measured.of("attempt.duration") == {
        ("payments", node.url, "failure"): 1,
        ("payments", node.url, "success"): 2,
        ("payments", node.url, "error"): 1,
    }
    assert measured.of("retries")["payments", "made"] == 1


def test_failures_and_timeouts_have_durations_too(kind, fault_server, measured):
    run(kind, [fault_server([hang(), reset()])], times=2, retry=None, timeout={"total": 5.0, "attempt": 0.2})

    assert measured.of("call.duration") == {("payments", "failed"): 2}
    assert measured.sums("call.duration")["payments", "failed"] >= 0.2


def test_a_call_is_measured_by_its_route(kind, fault_server, measured):
    run(kind, [fault_server()], url="http://payments/charges/42", routes={"GET /charges/{id}": {"retry": None}})

    assert measured.of("call.duration") == {("payments", "GET /charges/{id}", "success"): 1}


def test_a_repeat_that_was_not_made_is_counted_by_reason(kind, fault_server, measured):
    run(kind, [fault_server(answer(503))], retry={**QUICK, "max_attempts": 2})

    assert measured.of("retries") == {("payments", "made"): 1, ("payments", "suppressed", "attempts"): 1}


def test_hedges_are_counted_by_what_became_of_them(kind, fault_server, measured):
    script = by_turns(hang(), answer())
    run(kind, [fault_server(script), fault_server(script)], hedge={"delay": 0.1})

    assert measured.of("hedges") == {("payments", "sent"): 1, ("payments", "won"): 1}


def test_an_open_circuit_is_a_state_a_transition_and_refused_calls(kind, fault_server, measured):
    node = fault_server(reset())
    resilience = run(kind, [node], times=7, retry=None)

    assert measured.of("circuit.state") == {("payments", node.url): 2}
    assert measured.of("circuit.transitions") == {("payments", node.url, "open"): 1}
    assert measured.of("call.duration") == {("payments", "failed"): 5, ("payments", "circuit_open"): 2}
    assert measured.of("endpoints") == {
        ("payments", "healthy"): 0, ("payments", "ejected"): 0, ("payments", "open"): 1,
    }  # fmt: skip
    resilience.circuits("payments")[node.url].close()
    assert measured.of("circuit.state") == {("payments", node.url): 0}


def test_what_limits_hold_is_read_when_somebody_asks(kind, fault_server, measured):
    resilience = run(kind, [fault_server()], concurrency={"limit": 7}, rate_limit={"rate": 5, "burst": 10})

    assert measured.of("concurrency.limit") == {("payments",): 7}
    assert measured.of("concurrency.in_flight") == {("payments",): 0}
    resilience.dispatcher.registry.named["payments"].limit.admit("default")
    assert measured.of("concurrency.in_flight") == {("payments",): 1}
    assert measured.of("concurrency.queued") == {("payments",): 0}
    assert 8 < measured.of("rate_limit.tokens")["payments",] <= 10
    assert measured.of("retry_budget.tokens")["payments",] >= 2


def test_connections_are_counted_by_endpoint(kind, fault_server, measured):
    node, seen = fault_server(), []
    run(kind, [node], times=2, inside=lambda _: seen.append(measured.of("pool.connections")))

    assert seen == [{("payments", node.url): 1}]
    assert measured.of("pool.connections") == {("payments", node.url): 0}


def test_deadlines_are_measured_at_both_ends_and_overruns_counted(kind, fault_server, measured):
    run(kind, [fault_server(delay(0.05, answer()))], seconds=3.0)

    assert measured.of("deadline.at_start") == measured.of("deadline.at_end") == {("payments",): 1}
    start, end = measured.sums("deadline.at_start")["payments",], measured.sums("deadline.at_end")["payments",]
    assert 0 < end < start - 0.04 < 3.0
    assert measured.of("deadline.overruns") == {}


def test_a_fallback_is_counted(kind, fault_server, measured):
    run(kind, [fault_server(answer(503))], retry=None, fallback={"response": {"status": 200, "body": {}}})

    assert measured.of("fallbacks") == {("payments", "fixed"): 1}


def test_injected_faults_are_counted_by_kind(kind, fault_server, measured):
    own = {"endpoints": [fault_server(answer()).url], "retry": None}
    own["chaos"] = {"latency": 0.01, "error": 503, "lasts": 60}
    settings = {"chaos": {"allowed": ["payments"]}, "upstreams": {"payments": own}}
    run(kind, [], times=2, resilience=Caller(kind, "httpx").resilience(settings))

    assert measured.of("chaos.faults") == {("payments", "error"): 2, ("payments", "latency"): 2}


def test_a_call_that_was_cancelled_is_no_failure(fault_server, measured):
    node, cancellation = fault_server(hang()), Cancellation()
    cancellation.request()
    with enter_scope(Scope(cancellation=cancellation)):
        run("sync", [node])

    assert measured.of("call.duration") == {("payments", "cancelled"): 1}


def test_unnamed_upstreams_are_one_however_many_there_are(fault_server, measured):
    nodes = [fault_server(answer(503)) for _ in range(3)]
    resilience = Resilience({"defaults": {"retry": {**QUICK, "max_attempts": 2}}})
    with resilience, resilience.client() as client:
        for node in nodes:
            client.get(node.url)

    assert measured.of("call.duration") == {("other", "server_error"): 3}
    assert measured.of("attempt.duration") == {("other", "other", "failure"): 6}
    assert measured.of("retries")["other", "made"] == 3
    assert measured.of("circuit.state") == {}
    assert measured.of("endpoints")["other", "healthy"] == 3


def test_what_a_dropped_unnamed_upstream_counted_stays(fault_server, measured):
    nodes = [fault_server(answer(503)) for _ in range(3)]
    resilience = Resilience({"unnamed_upstreams": 1, "defaults": {"retry": {**QUICK, "max_attempts": 2}}})
    with resilience, resilience.client() as client:
        for node in nodes:
            client.get(node.url)

    assert len(resilience.dispatcher.registry.all()) == 1
    assert measured.of("retries")["other", "made"] == 3


def test_a_guarded_function_is_measured_by_its_name(measured):
    resilience = Resilience()
    resilience.guard("inventory-db")(lambda: 1)()

    assert measured.of("call.duration") == {("inventory-db", "success"): 1}


def test_a_provider_that_is_set_late_is_found_by_the_next_call_and_nobody_listens_before(fault_server):
    node = fault_server()
    resilience = Resilience({"upstreams": {"payments": {"endpoints": [node.url]}}})
    with resilience, resilience.client() as client:
        client.get("http://payments/")
        assert resilience._hub.listeners == ()
        with metering() as measured:
            client.get("http://payments/")
            assert measured.of("call.duration") == {("payments", "success"): 1}
        client.get("http://payments/")
        assert resilience._hub.listeners == ()


def test_metrics_can_be_switched_off(fault_server, measured):
    node = fault_server()
    resilience = Resilience({"telemetry": {"metrics": False}, "upstreams": {"payments": {"endpoints": [node.url]}}})
    with resilience, resilience.client() as client:
        client.get("http://payments/")

    assert measured.names() == set()


def test_a_resilience_that_nobody_holds_is_not_kept_to_be_measured(measured):
    resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:1"]}}})
    assert measured.of("concurrency.limit") == {("payments",): 100}
    held = weakref.ref(resilience)
    del resilience
    gc.collect()

    assert held() is None
    assert measured.of("concurrency.limit") == {}


def test_labels_are_those_of_the_table(fault_server, measured):
    node = fault_server([reset(), answer()])
    run("sync", [node], times=9, rate_limit={"rate": 500}, hedge={"delay": 2})

    for name in measured.names():
        row = BY_NAME[name.removeprefix("resilient_http.")]
        assert measured.labels(name.removeprefix("resilient_http.")) == set(row.labels), name


def test_every_instrument_that_is_read_has_somebody_who_reads_it():
    assert {name for name, row in BY_NAME.items() if row.kind == COUNTED} == set(COUNTS)
    gauges = {name for name, row in BY_NAME.items() if row.kind == GAUGE}
    assert gauges == {*GAUGES, "circuit.state", "pool.connections"}
    assert set(READ) == {*COUNTS, *gauges}


def test_names_are_unique_also_as_prometheus_has_them():
    assert len({row.name for row in INSTRUMENTS}) == len({row.prometheus for row in INSTRUMENTS}) == len(INSTRUMENTS)


@pytest.mark.parametrize(
    ("status", "error", "cancelled", "outcome"),
    [
        (200, None, False, "success"),
        (302, None, False, "success"),
        (404, None, False, "client_error"),
        (502, None, False, "server_error"),
        (None, "ConnectError", False, "failed"),
        (None, "DeadlineExceeded", False, "deadline"),
        (None, "CircuitOpen", False, "circuit_open"),
        (None, "RateLimited", False, "rate_limited"),
        (None, "Saturated", False, "saturated"),
        (None, "NoEndpoint", False, "no_endpoint"),
        (None, "CancelledError", True, "cancelled"),
    ],
)
def test_a_call_ends_as_one_of_the_outcomes(status, error, cancelled, outcome):
    event = CallFinished("payments", "GET", 0.1, 1, status, error, cancelled=cancelled)
    assert outcome_of(event) == outcome
    assert outcome in CALL_OUTCOMES


def test_labels_are_few_however_many_endpoints_come_and_go():
    labels = Labels()
    given = {labels.endpoint("payments", f"http://n{number}") for number in range(3 * ENDPOINTS)}
    assert len(given) == ENDPOINTS + 1
    assert OTHER in given
    for number in range(3 * EVER):
        labels.forget("payments", tuple(given))
        given.add(labels.endpoint("payments", f"http://m{number}"))
    assert len(given) <= EVER + 1
    assert labels.endpoint("https://example.com", "https://example.com") == OTHER
    assert labels.endpoint("payments", "") == ""


def test_an_endpoint_that_is_gone_makes_room_for_the_name_of_another(measured):
    resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:1"]}}})
    nodes = resilience.dispatcher.registry.named["payments"].nodes
    for number in range(1000, 1000 + ENDPOINTS + 10):
        nodes.replace([EndpointSettings(url=f"http://10.0.0.1:{number}")], 0.0)
        assert measured.of("circuit.state") == {("payments", f"http://10.0.0.1:{number}"): 0}


def test_the_name_of_opentelemetrys_that_we_lean_on_is_there():
    with metering():
        assert metrics.current_provider() is api.get_meter_provider()
