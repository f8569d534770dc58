"""The console of one process: what it costs, what it keeps, and that it bounds itself."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import weakref

import anyio
import httpx
import pytest

from resilient_http import Refused, Resilience
from resilient_http.console.recent import MOST_ATTEMPTS
from resilient_http.console.web import STREAMS

SETTINGS = {
    "upstreams": {
        "payments": {"endpoints": ["http://n1"], "retry": {"backoff": {"base": 0.001, "throttled_base": 0.001}}}
    }
}


@pytest.fixture
def resilience():
    with Resilience(SETTINGS) as made:
        yield made
        made._control.switching.lift("payments", None, "the end")


def client_of(resilience, status=200):
    return resilience.client(transport=httpx.MockTransport(lambda _: httpx.Response(status)))


def test_nothing_listens_before_somebody_asks(resilience):
    assert resilience._hub.listeners == ()
    assert resilience._observers.keep is None
    first = resilience.console
    assert resilience.console is first
    assert len(resilience._hub.listeners) == 1


def test_it_keeps_no_resilience_alive():
    resilience = Resilience(SETTINGS)
    resilience.console.snapshot()
    gone = weakref.ref(resilience)
    resilience.close()
    del resilience
    gc.collect()
    assert gone() is None


def test_unnamed_upstreams_are_one_row_however_many(resilience):
    console = resilience.console
    with client_of(resilience) as client:
        for number in range(150):
            client.get(f"http://host-{number}.example/")
    rows = console.snapshot()["upstreams"]
    assert set(rows) == {"payments", "other"}
    assert rows["other"]["traffic"]["calls"] == 150
    assert len(rows["other"]["endpoints"]) == 100
    assert rows["other"]["left_out"] == 50


def test_a_guard_is_a_row(resilience):
    console = resilience.console

    @resilience.guard("db")
    def ask():
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        ask()
    snapshot = console.snapshot()
    assert (snapshot["upstreams"]["db"]["kind"], snapshot["upstreams"]["db"]["traffic"]["failed"]) == ("guard", 1)
    assert snapshot["degraded"][0]["upstream"] == "db"
    assert console.explained("db") == []


def test_degraded_calls_have_their_journals_and_are_bounded():
    settings = {**SETTINGS, "console": {"degraded": 3}}
    with Resilience(settings) as resilience, client_of(resilience, 503) as client:
        console = resilience.console
        for _ in range(5):
            with contextlib.suppress(Refused):  # once the circuit is open
                client.get("http://payments/x?card=4111")
        calls = console.snapshot()["degraded"]
    assert len(calls) == 3
    assert {"upstream", "method", "budget", "attempts", "notes", "kind", "took", "at", "pid"} <= set(calls[0])
    assert "4111" not in json.dumps(calls)


def test_a_call_of_very_many_attempts_is_cut_short():
    retry = {"max_attempts": 50, "budget": None, "backoff": {"base": 0.0001, "cap": 0.0002, "throttled_base": 0.0001}}
    settings = {"upstreams": {"payments": {"endpoints": ["http://n1"], "retry": retry, "circuit": None}}}
    with Resilience(settings) as resilience, client_of(resilience, 503) as client:
        console = resilience.console
        client.get("http://payments/")
        [call] = console.snapshot()["degraded"]
    assert (len(call["attempts"]), call["left_out"]) == (MOST_ATTEMPTS, 20)


def test_a_look_is_good_for_all_who_look_at_the_same_time(resilience):
    console = resilience.console
    assert console._stands() is console._stands()


def test_after_an_action_the_next_look_is_a_new_one(resilience):
    console = resilience.console
    console.snapshot()
    console.act({"upstream": "payments", "what": "hedges off", "seconds": 60}, "ann")
    [switch] = console.snapshot()["upstreams"]["payments"]["switches"]
    assert switch == {"what": "hedges off", "by": "ann", "for": 60}
    console.act({"upstream": "payments", "what": "lift", "about": "hedges"}, "ann")
    assert console.snapshot()["upstreams"]["payments"]["switches"] == []


def test_who_does_it_is_one_short_line(resilience):
    done = resilience.console.act(
        {"upstream": "payments", "what": "shed", "seconds": 5}, "ann\r\nERROR forged " + "x" * 500
    )
    assert done["by"].startswith("ann ERROR forged xxx")
    assert len(done["by"]) == 100


def test_the_settings_of_the_process_leave_out_those_of_upstreams(resilience):
    paths = {each["path"]: each for each in resilience.console.explained()}
    assert paths["enabled"] == {"path": "enabled", "value": True, "origin": "defaults of the library"}
    assert "defaults.retry.max_attempts" in paths
    assert not [path for path in paths if path.startswith("upstreams")]
    assert {each["path"] for each in resilience.console.explained("other")} == {
        path for path in paths if path.startswith("defaults.")
    }
    with pytest.raises(KeyError, match="known: payments"):
        resilience.console.explained("paymets")


def test_the_settings_are_those_after_a_reload(resilience):
    console = resilience.console
    resilience.reload({"upstreams": {"payments": {"endpoints": ["http://n1"], "retry": {"max_attempts": 7}}}})
    told = {each["path"]: each["value"] for each in console.explained("payments")}
    assert told["upstreams.payments.retry.max_attempts"] == 7


def test_an_upstream_that_a_reload_takes_away_is_forgotten(resilience):
    console = resilience.console
    with client_of(resilience) as client:
        client.get("http://payments/")
    resilience.reload({"upstreams": {"stock": {"endpoints": ["http://n1"]}}})
    assert set(console._look(resilience._control, console._recent, 0.0)["upstreams"]) == {"stock"}
    assert set(console._recent._traffic) == {"stock"}
    resilience.reload(SETTINGS)


def test_the_policy_of_the_page_is_that_of_the_page(resilience):
    page = resilience.console.web.page(csrf='"><script>alert(1)</script>')
    text = page.body.decode()
    assert 'data-csrf="&quot;&gt;&lt;script&gt;' in text
    assert text.count("<script>") == 1
    policy = page.headers["Content-Security-Policy"]
    assert "'unsafe" not in policy
    assert "default-src 'none'" in policy
    outside = [each for each in ("http://", "https://", "//cdn", "@import", "url(") if each in text]
    assert outside in ([], ["http://"])  # SVG's namespace
    assert text.count("http://") == 1


async def test_too_many_streams_get_one_event_each(resilience):
    web = resilience.console.web
    streams = [web.events() for _ in range(STREAMS)]
    for stream in streams:
        assert (await anext(stream)).startswith(b"retry: 1000\n")
    more = web.events()
    assert (await anext(more)).startswith(b"retry: 3000\nevent: snapshot\n")
    with pytest.raises(StopAsyncIteration):
        await anext(more)
    for stream in streams:
        await stream.aclose()
    again = web.events()
    assert (await anext(again)).startswith(b"retry: 1000\n")
    await again.aclose()


async def test_nor_does_the_one_event_stop_the_event_loop(resilience, monkeypatch):
    web, threads = resilience.console.web, []
    monkeypatch.setattr(web, "_streams", STREAMS)
    look = web.one_event
    monkeypatch.setattr(web, "one_event", lambda process: threads.append(threading.get_ident()) or look(process))
    assert [event.partition(b"\n")[0] async for event in web.events()] == [b"retry: 3000"]
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("endpoint", ["http://x\nERROR forged", "x", "http://ann:hunter2@10.0.0.1"])
def test_an_endpoint_that_is_no_url_is_named(resilience, endpoint):
    action = {"upstream": "payments", "what": "circuit open", "seconds": 1, "endpoint": endpoint}
    reply = resilience.console.web.act(json.dumps(action).encode(), "application/json", "ann")
    assert reply.status == 400
    assert json.loads(reply.body)["error"].startswith("endpoint: ")
    assert b"hunter2" not in reply.body


async def test_a_stream_that_is_cancelled_is_no_longer_one(resilience):
    web = resilience.console.web

    async def look():
        async for _ in web.events():
            pass

    with anyio.move_on_after(0.3):
        await look()
    await anyio.lowlevel.checkpoint()
    gc.collect()
    assert web._streams == 0


async def test_a_process_that_is_gone_is_told_and_ends_the_stream(resilience):
    events = [event async for event in resilience.console.web.events("nobody")]
    assert len(events) == 1
    assert b"event: gone" in events[0]
