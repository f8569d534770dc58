"""The outbound calls of a request in the real django-debug-toolbar: sync and async views, and its history."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from resilient_http.scope import current_scope
from resilient_http_django import get_async_client, get_client, get_resilience
from resilient_http_django.panels import OutboundCallsPanel, stats_of
from tests.live.servers import answer, delay, hang

OURS = "resilient_http_django.middleware.ResilientHttpMiddleware"
THEIRS = "debug_toolbar.middleware.DebugToolbarMiddleware"
PANEL = "OutboundCallsPanel"
PAGE = "<html><body>{}</body></html>"
QUICK = {"RETRY": {"BACKOFF": {"BASE": 0.05, "THROTTLED_BASE": 0.05, "JITTER": "constant"}}}
URL = "http://payments/charges/42?card=4711"
HEADERS = {"Authorization": "Bearer sesame", "Cookie": "session=hunter2"}


def charge(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.format(get_client(request).get(URL, headers=HEADERS).text))


async def charge_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.format((await get_async_client(request).get(URL, headers=HEADERS)).text))


def two(request: HttpRequest) -> HttpResponse:
    """One in a thread of the view's own, one with a client that is not the request's."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(get_client(request).get, "http://payments/in-thread").result()
    with get_resilience().client() as client:
        client.get("http://payments/any-client")
    return HttpResponse(PAGE.format("two"))


async def two_async(request: HttpRequest) -> HttpResponse:
    client = get_async_client(request)
    await asyncio.gather(client.get("http://payments/in-thread"), client.get("http://payments/any-client"))
    return HttpResponse(PAGE.format("two"))


def none(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.format("none"))


def fail(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_client(request).get(URL).text)


def as_json(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"body": get_client(request).get(URL).text})


def break_off(request: HttpRequest) -> HttpResponse:
    get_client(request).get(URL)
    raise LookupError("broken")


urlpatterns = [
    path("sync/json", as_json),
    path("sync/break-off", break_off),
    path("sync/charge", charge),
    path("async/charge", charge_async),
    path("sync/two", two),
    path("async/two", two_async),
    path("sync/none", none),
    path("sync/fail", fail),
]


def toolbar():
    """The toolbar's class; it can be imported while its app is installed."""
    from debug_toolbar.toolbar import DebugToolbar

    return DebugToolbar


@pytest.fixture(params=[(OURS, THEIRS), (THEIRS, OURS)], ids=["ours-first", "theirs-first"])
def middleware(request):
    return request.param


@pytest.fixture(autouse=True)
def _toolbar(settings, monkeypatch, middleware):
    # First: it looks at its models when its settings change.
    settings.INSTALLED_APPS = ["django.contrib.staticfiles", "debug_toolbar", "resilient_http_django"]
    settings.DEBUG_TOOLBAR_CONFIG = {"IS_RUNNING_TESTS": False, "SHOW_TOOLBAR_CALLBACK": lambda request: True}
    settings.DEBUG_TOOLBAR_PANELS = [
        "debug_toolbar.panels.history.HistoryPanel",
        "resilient_http_django.panels.OutboundCallsPanel",
    ]
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    settings.MIDDLEWARE = list(middleware)
    settings.ROOT_URLCONF = __name__
    settings.DEBUG = True
    for cached in ("_panel_classes", "_urlpatterns"):
        monkeypatch.setattr(toolbar(), cached, None)
    from debug_toolbar import middleware as theirs

    monkeypatch.setattr(f"{__name__}.urlpatterns", [*urlpatterns, path("__debug__/", include(urls()))])
    theirs.show_toolbar_func_or_path.cache_clear()
    yield
    theirs.show_toolbar_func_or_path.cache_clear()


def urls():
    """Those of the toolbar with these panels; its module has those of the panels that it was first imported with."""
    return toolbar().get_urls(), "djdt"


@pytest.fixture
def visit():
    """Visits a page as its kind does, and gives the response."""

    def visit(url):
        if url.startswith("/async"):
            return asyncio.run(AsyncClient().get(url))
        return Client().get(url)

    return visit


def panel_of(response):
    """The stats that were stored for a request, and the panel as the toolbar's own view renders it from the store."""
    request_id = response.headers["djdt-request-id"]
    stored = toolbar().fetch(request_id, PANEL).get_panel_by_id(PANEL)
    query = {"request_id": request_id, "panel_id": PANEL}
    content = json.loads(Client().get("/__debug__/render_panel/", query).content)["content"]
    return stored, content


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_calls_of_a_request_are_shown_with_attempts_waits_and_deadline(payments, visit, kind):
    server = payments([answer(503), answer(200, "paid")], DEFAULTS=QUICK, INBOUND={"TIMEOUT": 5.0})

    response = visit(f"/{kind}/charge")
    assert response.content.count(b'id="djDebug"') == 1

    panel, content = panel_of(response)
    stats = panel.get_stats()
    (call,) = stats["calls"]
    assert (call["result"], call["degraded"], call["budget"]) == (200, "retried", "4.95 s")
    assert [attempt["result"] for attempt in call["attempts"]] == [503, 200]
    assert {attempt["endpoint"] for attempt in call["attempts"]} == {server.url}
    assert 0.025 <= call["waited"] < 2  # half of the backoff at least
    kinds = [bar["kind"] for bar in call["bars"]]
    assert (kinds.count("wait"), kinds.count("attempt")) == (1, 2)
    assert re.fullmatch(r"1 call in \d+ ms, 1 degraded", panel.nav_subtitle)
    assert 4.9 < float(stats["deadline"].removesuffix(" s")) < 10  # from the toolbar's beginning, which is before ours
    assert content.count("<rect class=") == len(kinds)
    assert "GET http://payments/charges/42?card=REDACTED" in content
    assert f"<td>{server.url}</td>" in content


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_secret_is_stored_or_shown_and_no_script_is_inline(payments, visit, kind):
    payments(answer(200, "paid"))
    panel, content = panel_of(visit(f"/{kind}/charge"))

    for shown in (json.dumps(panel.get_stats()), content):
        for secret in ("4711", "sesame", "hunter2"):
            assert secret not in shown
    assert not re.search(r"<script|style=|\son\w+=|javascript:", content)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_calls_in_threads_in_tasks_and_of_other_clients_are_the_requests_too(payments, visit, kind):
    payments(answer(200, "paid"))
    panel, _ = panel_of(visit(f"/{kind}/two"))

    urls = sorted(call["url"] for call in panel.get_stats()["calls"])
    assert urls == ["http://payments/any-client", "http://payments/in-thread"]


def test_each_request_of_the_history_has_its_own_calls(payments, visit):
    payments(answer(200, "paid"))
    responses = [visit("/sync/none"), visit("/sync/charge"), visit("/async/charge"), visit("/sync/two")]

    panels = [panel_of(response)[0] for response in responses]
    assert [len(panel.get_stats()["calls"]) for panel in panels] == [0, 1, 1, 2]
    assert panels[0].nav_subtitle == "none"
    assert "No outbound call was made." in panel_of(responses[0])[1]
    query = {"request_id": responses[3].headers["djdt-request-id"], "exclude_history": "on"}
    history = json.loads(Client().get("/__debug__/history_sidebar/", query).content)
    assert "2 calls in" in history[PANEL]["button"]


def test_concurrent_requests_do_not_see_each_others_calls(payments, visit):
    payments(delay(0.2))

    async def both():
        client = AsyncClient()
        return await asyncio.gather(client.get("/async/charge"), client.get("/async/two"), client.get("/async/charge"))

    counts = [len(panel_of(response)[0].get_stats()["calls"]) for response in asyncio.run(both())]
    assert counts == [1, 2, 1]


def test_what_a_deadline_cuts_is_shown_as_overdue_with_the_deadline_in_the_picture(payments, visit):
    payments(hang(), INBOUND={"TIMEOUT": 0.3})
    response = visit("/sync/fail")
    assert response.status_code == 504

    panel, content = panel_of(response)
    (call,) = panel.get_stats()["calls"]
    assert (call["result"], call["degraded"], call["budget"]) == ("DeadlineExceeded", "deadline", "250 ms")
    assert "<line x1=" in content


def test_a_response_that_is_no_page_has_its_calls_in_the_history(payments, visit):
    payments(answer(200, "paid"))
    response = visit("/sync/json")
    assert response.json() == {"body": "paid"}
    assert len(panel_of(response)[0].get_stats()["calls"]) == 1


def test_nothing_is_recorded_after_a_request_also_when_its_view_has_raised(payments, visit):
    payments(answer(200, "paid"))
    for url in ("/sync/charge", "/sync/break-off"):
        with suppress(LookupError):
            visit(url)
        assert current_scope().recording is None


def test_the_time_is_told_to_the_browser_too(payments, visit):
    payments(answer(200, "paid"))
    assert "OutboundCallsPanel_outbound;dur=" in visit("/sync/charge").headers["Server-Timing"]  # fmt: skip


def test_nothing_is_recorded_where_the_panel_is_off(payments, settings):
    payments(answer(200, "paid"))
    client = Client()
    client.cookies[f"djdt{PANEL}"] = "off"
    response = client.get("/sync/charge")

    assert toolbar().fetch(response.headers["djdt-request-id"], PANEL).get_panel_by_id(PANEL).get_stats() == {}


class Recorded:
    """Stands in for a recording: calls with times that are known."""

    dropped = 3

    def __init__(self, *calls):
        self.calls = calls


class Told:
    def __init__(self, **fields):
        attempt = {
            "number": 1, "hedge": False, "endpoint": "http://n1", "started": 0.0, "queued": 0.1, "duration": 0.2,
            "status": 503, "error": None, "outcome": "failure", "decision": "retry", "why": "503",
        }  # fmt: skip
        again = attempt | {"number": 2, "started": 0.5, "queued": 0.0, "duration": 0.3, "status": 200, "decision": ""}
        self.fields = {
            "method": "GET", "url": "http://payments/", "upstream": "payments", "budget": 1.0, "notes": [],
            "started": 0.2, "took": 0.8, "left": 0.2, "status": 200, "error": None, "degraded": "retried",
            "attempts": [attempt, again],
        } | fields  # fmt: skip

    def as_dict(self):
        return self.fields


def test_the_waterfall_is_to_scale():
    stats = stats_of(Recorded(Told(), Told(started=0.4)), lasted=2.0, deadline=1.5)

    assert stats["calls"][0]["bar"] == {"kind": "call", "x": "100.00", "width": "400.00"}
    assert stats["calls"][0]["bars"] == [
        {"kind": "wait", "x": "250.00", "width": "100.00"},
        {"kind": "queue", "x": "100.00", "width": "50.00"},
        {"kind": "attempt", "x": "150.00", "width": "100.00"},
        {"kind": "queue", "x": "350.00", "width": "0.00"},
        {"kind": "attempt", "x": "350.00", "width": "150.00"},
    ]
    assert stats["busy"] == "1.00 s"  # 0.2 to 1.2: what overlaps counts once
    assert (stats["queued"], stats["waited"], stats["dropped"]) == ("200 ms", "400 ms", 3)
    assert stats["deadline_x"] == "750.00"
    assert stats_of(Recorded(), lasted=2.0, deadline=3.0)["deadline_x"] is None


def test_the_panel_is_made_for_async_views():
    assert OutboundCallsPanel.is_async
