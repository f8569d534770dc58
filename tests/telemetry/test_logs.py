"""What the loggers say of calls over real sockets, and what stands in a record's fields."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter

from resilient_http import Cancellation, Resilience, Scope, deadline, enter_scope
from resilient_http.events import (
    CircuitOpened,
    EndpointPaused,
    Event,
    ReloadRejected,
    SettingsReloaded,
    Stalled,
    StreamReclaimed,
)
from resilient_http.settings.telemetry import LoggingSettings
from resilient_http.telemetry.logs import LINES, EventLog
from tests.live.callers import Caller
from tests.live.servers import answer, hang, redirect, reset
from tests.live.test_hedge import by_turns
from tests.telemetry.sdk import tracing

QUICK = {"backoff": {"base": 0.001, "throttled_base": 0.001, "elsewhere": 1.0}}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(params=["sync", "asyncio", "trio"])
def kind(request):
    return request.param


@pytest.fixture
def lines(caplog):
    """The records of one logger."""
    caplog.set_level(logging.INFO)
    return lambda name="resilient_http.calls": [record for record in caplog.records if record.name == name]


def run(kind, nodes, *, times=1, seconds=9.0, scope=None, root=None, method="GET", url="http://payments/", **settings):
    caller = Caller(kind, "httpx")
    upstream = {"endpoints": [node.url for node in nodes], "retry": QUICK, **settings}

    async def body(client):
        for _ in range(times):
            try:
                await client.request(method, url, follow_redirects=True)
            except Exception:  # noqa: BLE001 - it is logged, whatever it is
                continue

    with enter_scope(scope or Scope()), deadline(seconds):
        caller.run(caller.resilience({"upstreams": {"payments": upstream}, **(root or {})}), body)


@pytest.mark.parametrize(
    ("behaviour", "settings", "outcome", "why"),
    [
        ([answer(503), answer()], {}, "retried", ""),
        (answer(503), {"retry": None}, "failed", ""),
        (reset(), {"retry": None}, "failed", "ReadError"),
        (hang(), {"retry": None, "timeout": {"total": 0.3}}, "deadline", ""),
        (answer(503), {"retry": None, "fallback": {"response": {"status": 200, "body": {}}}}, "fell back", "fallback"),
        (answer(), {"rate_limit": {"rate": 0.001, "burst": 1, "wait": 0.0}}, "refused", "rate limit"),
    ],
    ids=["retried", "status", "error", "deadline", "fallback", "refused"],
)
def test_a_degraded_call_is_one_warning(kind, fault_server, lines, behaviour, settings, outcome, why):
    node = fault_server(behaviour)
    run(kind, [node], times=2 if outcome == "refused" else 1, scope=Scope(None, (("traceparent", PARENT),)), **settings)

    (line,) = lines()
    assert line.levelno == logging.WARNING
    assert (line.upstream, line.outcome, line.method) == ("payments", outcome, "GET")
    assert line.endpoint == ("" if outcome == "refused" else node.url)
    assert line.attempt == (2 if outcome == "retried" else 1)
    assert why in line.why
    assert line.duration > 0
    assert line.trace_id == PARENT.split("-")[1]
    assert line.getMessage().startswith(outcome)
    assert "payments" in line.getMessage()


@pytest.mark.parametrize(
    "behaviour", [answer(), answer(404), [redirect("/elsewhere"), answer()]], ids=["good", "4xx", "redirect"]
)
def test_a_call_that_is_not_degraded_is_not_told(kind, fault_server, lines, behaviour):
    run(kind, [fault_server(behaviour)])

    assert lines() == []


def test_a_hedge_alone_is_no_trouble(kind, fault_server, lines):
    script = by_turns(hang(), answer())
    run(kind, [fault_server(script), fault_server(script)], hedge={"delay": 0.1})

    assert lines() == []


def test_a_call_that_nobody_waits_for_is_no_trouble(fault_server, lines):
    cancellation = Cancellation()
    cancellation.request()
    run("sync", [fault_server()], scope=Scope(cancellation=cancellation))

    assert lines() == []


def test_with_an_sdk_the_line_names_the_calls_own_span(fault_server, lines):
    with tracing(instrumented=False) as spans:
        run("sync", [fault_server([answer(503), answer()])])

    (line,), (span,) = lines(), spans.calls
    assert line.trace_id == format(span.context.trace_id, "032x")
    assert line.span_id == format(span.context.span_id, "016x")


def test_warnings_of_a_kind_are_one_line_and_their_count_comes_at_the_end(kind, fault_server, lines):
    run(kind, [fault_server(answer(503))], times=5, retry=None, circuit=None)

    first, rest = lines()
    assert (first.folded, rest.folded) == (0, 4)
    assert rest.getMessage() == "payments: 4 more calls were failed"


def test_warnings_can_be_a_line_each_or_none(fault_server, lines):
    run("sync", [fault_server(answer(503))], times=3, retry=None, root={"logging": {"fold": None}})
    assert len(lines()) == 3
    run("sync", [fault_server(answer(503))], times=3, retry=None, root={"logging": {"calls": False}})
    assert len(lines()) == 3


def test_a_circuit_that_opens_is_a_warning_and_its_way_back_is_told(kind, fault_server, lines):
    node, caller = fault_server(reset()), Caller(kind, "httpx")
    resilience = caller.resilience({"upstreams": {"payments": {"endpoints": [node.url], "retry": None}}})

    async def body(client):
        for _ in range(5):
            with pytest.raises(Exception):  # noqa: B017, PT011 - whichever way it is broken off
                await client.get("http://payments/")
        resilience.circuits("payments")[node.url].close()

    caller.run(resilience, body)

    opened, closed = lines("resilient_http.circuit")[-2:]
    assert (opened.levelno, closed.levelno) == (logging.WARNING, logging.INFO)
    assert (opened.upstream, opened.endpoint, opened.event) == ("payments", node.url, "CircuitOpened")
    assert opened.retry_in > 0


def test_each_event_that_is_told_can_be(lines, caplog):
    caplog.set_level(logging.INFO)
    log = EventLog(LoggingSettings(), lambda: 0.0)
    values = {
        "seconds": 1.0,
        "retry_in": 1.0,
        "failed_for": 1.0,
        "wanted": 1,
        "total": 2,
        "added": ("a",),
        "removed": (),
        "changes": (),
    }
    for said, kind in enumerate(LINES, 1):
        event = kind(**{name: values.get(name, "x") for name in kind._fields})
        log(event)
        assert len(caplog.records) == said
        assert "{" not in caplog.records[-1].getMessage()


def test_what_comes_often_is_folded_and_what_is_unknown_is_not_told(caplog):
    now = [0.0]
    log = EventLog(LoggingSettings(), lambda: now[0])
    for _ in range(5):
        log(Stalled("payments", "http://n1", "late"))
        log(StreamReclaimed("payments", "http://n1", "late"))
        log(EndpointPaused("payments", "http://n1", 1.0))
        log(Event("payments"))
    now[0] = 11.0
    log(Stalled("payments", "http://n1", "late"))

    assert len(caplog.records) == 4
    assert caplog.records[-1].getMessage().endswith("(and 4 more like it before)")
    for event in (CircuitOpened("p", "e", 1.0), ReloadRejected("", "cli", "x"), SettingsReloaded("", "cli", ())) * 2:
        log(event)
    assert [record.name for record in caplog.records[4:]].count("resilient_http.circuit") == 2


def test_at_debug_each_request_and_response_is_told_without_what_is_secret(kind, fault_server, caplog):
    caplog.set_level(logging.DEBUG, "resilient_http")
    node, caller = (
        fault_server(answer(201, '{"id": 1}', [("set-cookie", "s=SECRET"), ("etag", "e1")])),
        Caller(kind, "httpx"),
    )
    settings = {
        "logging": {"body": 8},
        "telemetry": {"query": ["page"]},
        "upstreams": {"payments": {"endpoints": [node.url], "attempt_header": "x-attempt"}},
    }

    async def body(client):
        await client.request(
            "POST",
            "http://payments/charges?card=SECRET&page=2",
            headers={"authorization": "SECRET"},
            content=b"amount=SECRET",
        )

    caller.run(caller.resilience(settings), body)

    sent, got = [record for record in caplog.records if record.name == "resilient_http.attempts"]
    assert sent.url == "http://payments/charges?card=REDACTED&page=2"
    assert sent.headers["authorization"] == "REDACTED"
    assert sent.headers["x-attempt"] == "REDACTED"
    assert sent.headers["content-length"] == "13"
    assert (sent.body, got.body) == ("amount=S", '{"id": 1')
    assert (got.status, got.headers["set-cookie"], got.headers["etag"]) == (201, "REDACTED", "e1")
    assert (got.upstream, got.endpoint, got.attempt) == ("payments", node.url, 1)
    assert got.duration > 0


def test_bodies_are_not_told_unless_asked(fault_server, caplog):
    caplog.set_level(logging.DEBUG, "resilient_http")
    run("sync", [fault_server(answer(200, "SECRET"))])

    records = [record for record in caplog.records if record.name == "resilient_http.attempts"]
    assert len(records) == 2
    assert not any(hasattr(record, "body") for record in records)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_what_httpx_logs_of_a_request_loses_the_same(library, fault_server, caplog):
    caplog.set_level(logging.INFO)
    node = fault_server([answer(), redirect("/?card=SECRET"), answer()])
    resilience = Resilience({"backend": library, "upstreams": {"payments": {"endpoints": [node.url]}}})
    with resilience, resilience.client() as client:
        client.get("http://payments/?card=SECRET")
        client.get("http://me:SECRET@payments/?card=SECRET", follow_redirects=True)

    told = [record.getMessage() for record in caplog.records if record.name == library]
    assert told[0] == 'HTTP Request: GET http://payments/?card=REDACTED "HTTP/1.1 200 OK"'
    assert len(told) == 3
    assert not any("SECRET" in line for line in told)


def test_a_program_without_logging_hears_nothing():
    code = """
from resilient_http import Resilience
with Resilience({"upstreams": {"payments": {"endpoints": ["http://127.0.0.1:1"], "retry": None}}}) as resilience:
    try:
        resilience.client().get("http://payments/")
    except Exception:
        pass
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_a_json_formatter_has_all_fields(fault_server):
    handler, written = logging.Handler(), []
    handler.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s"))
    handler.emit = lambda record: written.append(json.loads(handler.format(record)))
    logger = logging.getLogger("resilient_http")
    logger.addHandler(handler)
    try:
        run("sync", [fault_server([answer(503), answer()])])
    finally:
        logger.removeHandler(handler)

    (line,) = written
    assert (line["name"], line["upstream"], line["outcome"], line["attempt"]) == (
        "resilient_http.calls", "payments", "retried", 2,
    )  # fmt: skip


def test_structlog_has_all_fields_and_what_the_request_has_bound(fault_server):
    page = (Path(__file__).parent.parent.parent / "docs/observe.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "structlog.configure" in each]
    root, written = logging.getLogger(), []
    before = list(root.handlers)
    try:
        with structlog.contextvars.bound_contextvars():
            exec(compile(example, "docs/observe.md", "exec"), {})
            (handler,) = [each for each in root.handlers if each not in before]
            handler.emit = lambda record: written.append(json.loads(handler.format(record)))
            run("sync", [fault_server([answer(503), answer()])])
    finally:
        root.handlers[:] = before
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()

    (line,) = [each for each in written if each["logger"] == "resilient_http.calls"]
    assert (line["level"], line["upstream"], line["outcome"]) == ("warning", "payments", "retried")
    assert line["request_id"] == "7f3a"
    assert line["duration"] < time.monotonic()
    assert {"trace_id", "endpoint", "attempt", "why", "folded", "timestamp", "event"} <= line.keys()
