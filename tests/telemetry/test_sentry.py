"""Beside the real Sentry SDK: a span and a breadcrumb for each call, and trace headers where they may go."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.servers import answer, hang
from tests.telemetry.sentry_process import PARENT, SECRET

ROOT = Path(__file__).parent.parent.parent
KINDS = ["sync", "asyncio"]


class Sentry:
    """A server that takes envelopes, and what stood in them."""

    def __init__(self, server):
        self.server = server

    def items(self, kind):
        found = []
        for request in self.server.requests:
            body = request.body
            lines = (gzip.decompress(body) if request.header("content-encoding") == "gzip" else body).split(b"\n")
            heads = [json.loads(line) for line in lines[1::2] if line]
            found += [json.loads(item) for head, item in zip(heads, lines[2::2], strict=False) if head["type"] == kind]
        return found

    @property
    def breadcrumbs(self):
        return self.items("event")[-1]["breadcrumbs"]["values"]

    @property
    def text(self):
        return "".join(json.dumps(self.items(kind)) for kind in ("event", "transaction"))


@pytest.fixture
def sentry(fault_server):
    return Sentry(fault_server(answer(200, "{}")))


def run(sentry, nodes, *, library="httpx", kind="sync", inbound=""):
    command = [sys.executable, "-m", "tests.telemetry.sentry_process", library, kind, sentry.server.url, inbound]
    done = subprocess.run(
        [*command, *(node.url for node in nodes)], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_call_is_one_span_and_one_breadcrumb_however_many_attempts_it_makes(sentry, fault_server, library, kind):
    node = fault_server([answer(503), answer(200), answer(200)])
    assert run(sentry, [node], library=library, kind=kind) == [200, 200]
    assert len(node.requests) == 3

    (transaction,) = sentry.items("transaction")
    spans = [span for span in transaction["spans"] if span["op"] == "http.client"]
    assert [(span["description"], span["data"]["http.response.status_code"]) for span in spans] == [
        ("GET http://payments/charges", 200), ("GET http://payments/plain", 200),
    ]  # fmt: skip
    crumbs = [each for each in sentry.breadcrumbs if each["type"] == "http"]
    assert [each["data"]["url"] for each in crumbs] == ["http://payments/charges", "http://payments/plain"]
    # All attempts of a call carry its span.
    traces = [request.header("sentry-trace") for request in node.requests]
    assert [trace.split("-")[1] for trace in traces] == [spans[0]["span_id"], spans[0]["span_id"], spans[1]["span_id"]]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_degraded_is_a_breadcrumb_with_its_fields(sentry, fault_server, kind):
    run(sentry, [fault_server([answer(503), answer(200), answer(200)])], kind=kind)
    (degraded,) = [each for each in sentry.breadcrumbs if each["category"] == "resilient_http.calls"]
    assert (degraded["level"], degraded["data"]["upstream"], degraded["data"]["outcome"]) == (
        "warning", "payments", "retried",
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_trace_headers_go_where_propagate_lets_them(sentry, fault_server, kind, library):
    payments, partner, silent = nodes = [fault_server(answer(200)) for _ in range(3)]
    run(sentry, nodes, library=library, kind=kind)

    def told(node):
        wires = ("traceparent", "tracestate", "sentry-trace", "baggage")
        names = [name.lower() for name, _ in node.requests[0].headers]
        return [name for name in wires for _ in range(names.count(name))]

    assert told(payments) == ["sentry-trace", "baggage"]  # each once
    assert told(partner) == ["sentry-trace"]
    assert told(silent) == []


def test_the_trace_of_the_inbound_request_stands_beside_sentrys(sentry, fault_server):
    payments, partner = nodes = [fault_server(answer(200)) for _ in range(2)]
    run(sentry, nodes, inbound="inbound")
    (request,) = partner.requests
    names = [name.lower() for name, _ in request.headers]
    assert names.count("traceparent") == names.count("sentry-trace") == 1
    assert request.header("traceparent") == PARENT
    assert "baggage" not in names
    assert payments.requests[0].header("baggage").startswith("user=7,sentry-trace_id=")


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_has_its_journal_and_no_secret(sentry, fault_server, kind):
    payments, partner = fault_server(answer(200)), fault_server(hang())
    assert run(sentry, [payments, partner], kind=kind) == [200, "DeadlineExceeded", 200]

    (event,) = [each for each in sentry.items("event") if "exception" in each]
    assert event["exception"]["values"][-1]["type"] == "DeadlineExceeded"
    told = event["contexts"]["resilient_http"]
    assert (told["upstream"], told["method"]) == ("partner", "GET")
    assert told["journal"].startswith("GET partner: attempt 1 at http://127.0.0.1:")
    assert told["attempts"][0]["fault"] == "timeout"
    frames = [frame for each in event["exception"]["values"] for frame in each["stacktrace"]["frames"]]
    assert {"resilient_http.client", "resilient_http.transport"} <= {frame["module"] for frame in frames}
    assert SECRET not in sentry.text


def test_the_journal_of_the_page_is_no_harm_where_there_is_none(sentry, fault_server):
    assert run(sentry, [fault_server(answer(200))]) == [200, 200]
    (event,) = sentry.items("event")
    assert "resilient_http" not in event["contexts"]
