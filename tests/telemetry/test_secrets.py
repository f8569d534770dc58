"""A secret goes in at every place where one may stand, and comes out nowhere.

Not in logs, spans, metrics, the status, errors, events, journals, the live page, or what repr() says.
"""

from __future__ import annotations

import io
import logging
import pickle
import traceback

import pytest
from opentelemetry import baggage, context

from resilient_http import DeadlineExceeded, Resilience, Scope, deadline, enter_scope
from resilient_http.settings.changes import changes
from resilient_http.settings.models import Settings
from tests.live.callers import Caller
from tests.live.servers import answer, hang, redirect, reset
from tests.telemetry.sdk import tracing
from tests.telemetry.sdk_metrics import metering

SECRET = "hunter2"
URL = f"http://user:{SECRET}@payments/charges?card={SECRET}&{SECRET}#{SECRET}"
HEADERS = {
    "authorization": f"Bearer {SECRET}", "cookie": f"session={SECRET}", "x-api-key": SECRET,
    "proxy-authorization": SECRET,
}  # fmt: skip


@pytest.fixture(params=["sync", "asyncio", "trio"])
def kind(request):
    return request.param


@pytest.fixture
def logged():
    """All that is logged below resilient_http, httpx and httpx2, with every field of each record."""
    written, handler = io.StringIO(), logging.Handler()
    handler.emit = lambda record: written.write(f"{record.getMessage()} {vars(record)!r} {handler.format(record)}\n")
    loggers = [logging.getLogger(name) for name in ("resilient_http", "httpx", "httpx2")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield written
    for logger, level in zip(loggers, before, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("instrumented", [False, True], ids=["ours", "contrib"])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_no_surface_shows_a_secret(kind, fault_server, logged, instrumented, library):
    elsewhere = fault_server(answer(200, SECRET, [("set-cookie", SECRET)]))
    scripts = [
        answer(503, SECRET, [("set-cookie", f"s={SECRET}"), ("location", f"/?token={SECRET}")]),
        redirect(f"{elsewhere.url}/?token={SECRET}"), reset(), reset(), reset(), hang(),
    ]  # fmt: skip
    node, shown, caller = fault_server(scripts), [], Caller(kind, library)
    settings = {
        "logging": {"fold": None},
        "defaults": {"retry": {"backoff": {"base": 0.001, "throttled_base": 0.001}}, "propagate": "all"},
        "upstreams": {"payments": {"endpoints": [node.url], "timeout": {"attempt": 0.3}}},
    }
    resilience = caller.resilience(settings, listeners=[lambda event: shown.append(repr(event))])
    console = resilience.console

    async def body(client):
        for seconds in (9.0, 9.0, 9.0, 0.2, 9.0):
            with deadline(seconds):
                try:
                    response = await client.request(
                        "PUT", URL, headers=HEADERS, content=f"pin={SECRET}", follow_redirects=True
                    )
                except Exception as exc:  # noqa: BLE001 - it is looked at, whatever it is
                    ours = type(exc).__module__.startswith("resilient_http")
                    # Not what pickle keeps of an exception: httpx gives each its request, and that is all there.
                    shown.extend([str(exc), repr(exc), str(exc.journal), repr(exc.journal.as_dict())])
                    if ours:
                        shown.append("".join(traceback.format_exception_only(exc)))
                else:
                    journal = response.extensions["resilient_http"]
                    shown.extend([str(journal), repr(journal), repr(journal.as_dict()), repr(pickle.dumps(journal))])
        shown.extend([repr(resilience), repr(resilience.status())])
        shown.append(on_the_page := console.web.snapshot().body.decode())
        assert "DeadlineExceeded" in on_the_page

    token = context.attach(baggage.set_baggage("user", SECRET))
    try:
        with tracing(instrumented=instrumented) as spans, metering() as measured, enter_scope(Scope()):
            caller.run(resilience, body)
            shown.extend(span.to_json() for span in spans.all())
            shown.append(repr(measured._points()))
    finally:
        context.detach(token)

    told = logged.getvalue()
    assert len(spans.attempts) >= 4
    assert "resilient_http.calls" in told
    assert "resilient_http.attempts" in told
    assert any("DeadlineExceeded" in each for each in shown)
    assert SECRET not in told
    assert [each for each in shown if SECRET in each] == []


def test_secrets_of_the_settings_are_not_shown(logged):
    def settings(secret):
        return {
            "shared": {"redis": f"redis://:{secret}@127.0.0.1:1/0"},
            "console": {"token": f"{secret}-of-the-console"},
            "upstreams": {
                "payments": {"endpoints": ["http://127.0.0.1:1"], "proxy": f"http://me:{secret}@127.0.0.1:1"}
            },
        }

    resilience = Resilience(settings(SECRET))
    with resilience, resilience.client() as client, pytest.raises(Exception) as caught:  # noqa: PT011
        client.get("http://payments/")
    shown = [
        repr(resilience), repr(resilience.settings), str(resilience.settings), repr(resilience.status()),
        repr(changes(resilience.settings, Settings(**settings("other")))), str(caught.value),
        str(caught.value.journal), logged.getvalue(),
    ]  # fmt: skip
    web = resilience.console.web
    replies = web.snapshot(), web.settings(), web.settings("payments"), web.page(), web.one_event()
    shown += [each.body.decode() for each in replies]
    assert "***" in shown[-4]

    assert [each for each in shown if SECRET in each] == []


def test_an_error_of_ours_says_nothing_of_the_request(fault_server):
    node = fault_server(hang())
    resilience = Resilience({"upstreams": {"payments": {"endpoints": [node.url]}}})
    with resilience, resilience.client() as client, deadline(0.2), pytest.raises(DeadlineExceeded) as caught:
        client.get(URL, headers=HEADERS)

    assert SECRET not in f"{caught.value!r}{caught.value}"
