"""The live page in FastAPI: it is mounted with a guard or not at all, and what it answers."""

from __future__ import annotations

import json
import time

import anyio
import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

from resilient_http.events import SwitchThrown
from resilient_http_fastapi import ResilientHttpMiddleware, dashboard

TOKEN = "0123456789abcdef-of-the-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ANN = {"x-user": "ann"}
ACTION = {"upstream": "payments", "what": "retries off", "seconds": 60}
PATHS = ["", "/", "/snapshot.json", "/settings.json", "/events"]


def staff_only(request: Request) -> None:
    if request.headers.get("x-user") != "ann":
        raise HTTPException(401)


def app_of(*, debug=False, token=TOKEN, **options):
    app = FastAPI(debug=debug)
    settings = {"upstreams": {"payments": {"endpoints": ["http://n1"]}}, "console": {"token": token}}
    app.add_middleware(ResilientHttpMiddleware, settings=settings)
    dashboard(app, **options)
    return app


@pytest.fixture
def client():
    with TestClient(app_of(dependencies=[Depends(staff_only)])) as made:
        yield made
        made.app.state.resilient_http._control.switching.lift("payments", None, "the end")


def switches(client):
    status = client.app.state.resilient_http.status()
    return [each["what"] for each in status["upstreams"]["payments"]["switches"]]


def test_without_a_guard_it_is_not_mounted():
    with pytest.raises(ValueError, match=r"dependencies=\[Depends\(staff_only\)\]"):
        dashboard(FastAPI())


@pytest.mark.parametrize("path", PATHS)
def test_the_guard_lets_in_or_refuses(client, path):
    assert client.get(f"/resilience{path}").status_code == 401
    assert client.get(f"/resilience{path}", headers={"x-user": "bob"}).status_code == 401
    assert client.post("/resilience/actions", json=ACTION).status_code == 401
    assert switches(client) == []
    if path != "/events":
        assert client.get(f"/resilience{path}", headers=ANN).status_code == 200


def test_everything_is_told(client):
    page = client.get("/resilience/", headers=ANN)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    snapshot = client.get("/resilience/snapshot.json", headers=ANN).json()
    assert snapshot["upstreams"]["payments"]["traffic"]["calls"] == 0
    settings = client.get("/resilience/settings.json", headers=ANN).json()["settings"]
    assert {each["path"]: each["value"] for each in settings}["console.token"] == "***"
    assert TOKEN not in json.dumps(settings)
    assert client.get("/resilience/snapshot.json?process=none", headers=ANN).status_code == 404
    assert "/resilience/" not in client.get("/openapi.json").text


def test_the_token_lets_in_past_the_guard(client):
    assert client.get("/resilience/snapshot.json", headers=BEARER).status_code == 200
    done = client.post("/resilience/actions", json={**ACTION, "by": "bob"}, headers=BEARER).json()
    assert (done["by"], switches(client)) == ("bob", ["retries off"])
    assert client.get("/resilience/snapshot.json", headers={"authorization": f"Bearer {TOKEN}x"}).status_code == 401


def test_an_action_of_somebody_who_is_let_in_is_an_event_with_his_name():
    heard = []
    app = app_of(dependencies=[Depends(staff_only)], by=lambda request: request.headers["x-user"] + "\nERROR forged")
    with TestClient(app) as client:
        resilience = app.state.resilient_http
        resilience._hub.add(heard.append)
        assert client.post("/resilience/actions", json={**ACTION, "by": "bob"}, headers=ANN).status_code == 200
        assert client.post("/resilience/actions", json={**ACTION, "what": "lift"}, headers=ANN).status_code == 400
        assert (
            client.post("/resilience/actions", json={"upstream": "*", "what": "lift"}, headers=ANN).status_code == 200
        )
        assert switches(client) == ["retries off"]  # those of all were lifted: there were none
        resilience._control.switching.lift("payments", None, "the end")
    assert [each.by for each in heard if isinstance(each, SwitchThrown)] == ["ann ERROR forged"]


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://[evil"},
    ],
    ids=["origin", "null", "fetch", "malformed"],
)
def test_another_site_cannot_act(client, foreign):
    answer = client.post("/resilience/actions", json=ACTION, headers={**ANN, **foreign})
    assert (answer.status_code, switches(client)) == (403, [])


def test_the_page_itself_can(client):
    own = {**ANN, "origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert client.post("/resilience/actions", json=ACTION, headers=own).status_code == 200


def test_a_form_cannot(client):
    assert client.post("/resilience/actions", data=ACTION, headers=ANN).status_code == 415


class TestInDebugMode:
    def ask(self, peer="127.0.0.1", host="localhost:8000", **headers):
        app = app_of(debug=True)
        with TestClient(app, client=(peer, 50000), base_url=f"http://{host}") as client:
            return client.get("/resilience/snapshot.json", headers=headers)

    @pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
    def test_who_is_on_the_same_machine_gets_in(self, host):
        assert self.ask(host=host).status_code == 200

    def test_nobody_else(self):
        assert self.ask(peer="10.0.0.5").status_code == 403

    @pytest.mark.parametrize("host", ["[::1", "]", "", "localhost.evil.example"])
    def test_nor_who_asks_for_no_name_at_all(self, host):
        with TestClient(app_of(debug=True), client=("127.0.0.1", 50000), base_url="http://localhost") as client:
            assert client.get("/resilience/snapshot.json", headers={"host": host}).status_code == 403

    def test_no_name_that_another_site_may_have_given_the_machine(self):
        assert self.ask(host="evil.example").status_code == 403

    @pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded", "x-real-ip"])
    def test_nobody_through_a_proxy_on_the_same_machine(self, name):
        assert self.ask(**{name: "127.0.0.1"}).status_code == 403


def test_a_stream_tells_of_changes_alone(client):
    with client.stream("GET", "/resilience/events", headers=ANN) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = []
        for line in answer.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))
            if len(events) == 1 and not switches(client):
                client.app.state.resilient_http.switch("payments").hedges_off(for_=60, by="ann")
            if len(events) == 2:
                break
    whole, change = events
    assert "series" in whole["upstreams"]["payments"]
    assert [each["what"] for each in change["upstreams"]["payments"]["switches"]] == ["hedges off"]
    assert "concurrency" not in change["upstreams"]["payments"]


def test_calls_are_seen_from_the_start_on(client):
    resilience = client.app.state.resilient_http
    with resilience.client(transport=httpx.MockTransport(lambda _: httpx.Response(503))) as outbound:
        outbound.post("http://payments/charges?card=4111")
    snapshot = client.get("/resilience/snapshot.json", headers=ANN)
    told = snapshot.json()
    assert told["upstreams"]["payments"]["traffic"]["failed"] == 1
    assert told["upstreams"]["payments"]["trouble"]["score"] >= 100
    [degraded] = told["degraded"]
    assert (degraded["kind"], degraded["status"], degraded["method"]) == ("failed", 503, "POST")
    assert [attempt["endpoint"] for attempt in degraded["attempts"]] == ["http://n1"]
    assert "4111" not in snapshot.text


async def test_looking_does_not_hold_up_the_event_loop(monkeypatch):
    """A look takes as long as there are upstreams; the loop goes on meanwhile."""
    app = app_of(dependencies=[Depends(staff_only)])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=ANN) as client:
        await client.get("/resilience/snapshot.json")
        console = app.state.resilient_http.console
        look = console.snapshot

        def slow(*arguments):
            time.sleep(0.5)
            return look(*arguments)

        monkeypatch.setattr(console, "snapshot", slow)
        longest = 0.0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get, "/resilience/snapshot.json")
            for _ in range(30):
                begun = time.monotonic()
                await anyio.sleep(0.01)
                longest = max(longest, time.monotonic() - begun)
    assert longest < 0.4
    await app.state.resilient_http.aclose()
