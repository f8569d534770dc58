"""The live page in Django: who gets in, what is checked, and what is answered."""

from __future__ import annotations

import json
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import AsyncClient, Client

from resilient_http.events import SwitchEnded, SwitchThrown
from resilient_http_django import conf, get_resilience
from tests.resilient_http_django import console_project

TOKEN = "0123456789abcdef-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ACTION = {"upstream": "payments", "what": "retries off", "seconds": 60}
JSON_PATHS = ["snapshot.json", "settings.json", "events"]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def project(settings, monkeypatch):
    """The console's project; no page is mounted in the tests after it."""
    monkeypatch.setattr(conf, "_mounted", set(conf._mounted))
    settings.ROOT_URLCONF, settings.MIDDLEWARE = console_project.ROOT_URLCONF, console_project.MIDDLEWARE
    settings.TEMPLATES = console_project.TEMPLATES
    upstreams = {"payments": {"ENDPOINTS": ["http://n1"]}}
    settings.RESILIENT_HTTP = {"UPSTREAMS": upstreams, "CONSOLE": {"TOKEN": TOKEN}}
    yield
    get_resilience()._control.switching.lift("payments", None, "the end")


@pytest.fixture
def who():
    """Logs somebody in, with permissions."""

    def log_in(*permissions, staff=True, **options):
        user = User.objects.create_user("ann", password="x", is_staff=staff)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client(**options)
        client.force_login(user)
        return client

    return log_in


def post(client, action=ACTION, **more):
    return client.post("/resilience/actions", json.dumps(action), content_type="application/json", **more)


def switches():
    return [each["what"] for each in get_resilience().status()["upstreams"]["payments"]["switches"]]


def test_who_is_not_logged_in_is_sent_to_the_login_and_back():
    answer = Client().get("/resilience/")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=%2Fresilience%2F")


@pytest.mark.parametrize("path", JSON_PATHS)
def test_what_is_not_the_page_is_refused_then(path):
    answer = Client().get(f"/resilience/{path}")
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    assert b"upstreams" not in answer.content


@pytest.mark.parametrize("path", ["", *JSON_PATHS])
@pytest.mark.parametrize("staff", [True, False], ids=["staff", "no-staff"])
def test_staff_without_the_permission_and_others_with_it_are_refused(who, path, staff):
    client = who(*([] if staff else ["view_console", "change_console"]), staff=staff)
    answer = client.get(f"/resilience/{path}")
    assert answer.status_code == 403
    assert b"resilient_http_django.view_console" in answer.content
    assert post(client).status_code == 403
    assert switches() == []


def test_staff_with_the_permission_sees_everything(who):
    client = who("view_console")
    page = client.get("/resilience/")
    assert (page.status_code, page["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert client.get("/resilience/snapshot.json").json()["upstreams"]["payments"]["kind"] == "upstream"
    settings = client.get("/resilience/settings.json?upstream=payments").json()["settings"]
    told = {each["path"]: each["origin"] for each in settings}
    assert told["upstreams.payments.endpoints"] == 'RESILIENT_HTTP["UPSTREAMS"]["payments"]["ENDPOINTS"]'
    assert told["upstreams.payments.retry.max_attempts"] == "defaults of the library"
    assert client.get("/resilience/settings.json?upstream=paymets").status_code == 404
    assert client.get("/resilience/snapshot.json?process=none").status_code == 404


def test_looking_is_not_acting(who):
    client = who("view_console")
    assert 'data-acts="false"' in client.get("/resilience/").content.decode()
    answer = post(client)
    assert (answer.status_code, "change_console" in answer.json()["error"]) == (403, True)
    assert switches() == []


def test_an_action_throws_a_switch_and_is_an_event_with_the_name_of_the_user(who):
    heard = []
    get_resilience()._hub.add(heard.append)
    client = who("view_console", "change_console")
    done = post(client, {**ACTION, "by": "somebody else"}).json()
    assert (done["by"], switches()) == ("ann", ["retries off"])
    thrown = next(event for event in heard if isinstance(event, SwitchThrown))
    assert (thrown.upstream, thrown.what, thrown.by, round(thrown.seconds)) == ("payments", "retries off", "ann", 60)
    assert post(client, {"upstream": "payments", "what": "lift"}).status_code == 200
    assert switches() == []
    assert [event.why for event in heard if isinstance(event, SwitchEnded)] == ["lifted by ann"]


def test_an_action_needs_the_csrf_token_of_the_page(who):
    client = who("view_console", "change_console", enforce_csrf_checks=True)
    refused = post(client)
    assert (refused.status_code, "CSRF" in refused.json()["error"], switches()) == (403, True, [])
    page = client.get("/resilience/").content.decode()
    token = re.search(r'data-csrf="(\w+)"', page)[1]
    assert post(client, headers={"X-CSRFToken": token}).status_code == 200
    assert switches() == ["retries off"]


def test_a_form_of_another_site_cannot_act(who):
    client = who("view_console", "change_console")
    answer = client.post("/resilience/actions", ACTION)
    assert (answer.status_code, switches()) == (415, [])


def test_the_token_lets_in_without_a_cookie_and_needs_no_csrf():
    client = Client(enforce_csrf_checks=True, headers=BEARER)
    assert client.get("/resilience/snapshot.json").json()["actions"] is True
    done = post(client, {**ACTION, "by": "bob"}).json()
    assert (done["by"], switches()) == ("bob", ["retries off"])


@pytest.mark.parametrize("sent", ["Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer é"])
def test_another_token_does_not(sent):
    assert Client(headers={"Authorization": sent}).get("/resilience/snapshot.json").status_code == 401


def test_without_a_token_in_the_settings_none_lets_in(settings):
    settings.RESILIENT_HTTP = {}
    for sent in ("Bearer", "Bearer ", "Bearer None"):
        assert Client(headers={"Authorization": sent}).get("/resilience/snapshot.json").status_code == 401


def test_where_there_are_no_users_the_token_is_the_only_way_in(settings):
    settings.MIDDLEWARE = ["resilient_http_django.middleware.ResilientHttpMiddleware"]
    refused = Client().get("/resilience/")
    assert (refused.status_code, "console.token" in refused.json()["error"]) == (403, True)
    assert Client(headers=BEARER).get("/resilience/snapshot.json").status_code == 200


def test_actions_can_be_switched_off_in_the_settings(who, settings):
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://n1"]}}, "CONSOLE": {"ACTIONS": False}}
    client = who("view_console", "change_console")
    assert 'data-acts="false"' in client.get("/resilience/").content.decode()
    answer = post(client)
    assert (answer.status_code, answer.json()["error"]) == (400, "console.actions: is false: this page only shows")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("{", "no JSON"),
        ("[]", "a JSON object is needed"),
        ('{"upstream": "paymets", "what": "shed", "seconds": 5}', "no upstream 'paymets'"),
        ('{"upstream": "payments", "what": "shed", "seconds": 1e9}', "seconds"),
        ('{"upstream": "payments", "what": "shed"}', "how long"),
        ('{"upstream": "payments", "what": "shed", "secnds": 5}', "did you mean seconds?"),
        (f'{{"upstream": "{"x" * 20_000}"}}', "at most"),
        ("[" * 9_000, "no JSON"),
    ],
    ids=range(8),
)
def test_an_action_that_makes_no_sense_is_told_why(body, says):
    answer = Client(headers=BEARER).post("/resilience/actions", body, content_type="application/json")
    assert answer.status_code in (400, 413)
    assert says in answer.json()["error"]


def test_under_wsgi_a_stream_is_one_event_and_holds_no_worker(who):
    answer = who("view_console").get("/resilience/events")
    assert not answer.streaming
    assert answer["Content-Type"] == "text/event-stream"
    retry, event, data = answer.content.decode().strip().split("\n")
    assert (retry, event) == ("retry: 3000", "event: snapshot")
    assert json.loads(data.removeprefix("data: "))["upstreams"]["payments"]


@pytest.mark.anyio
async def test_under_asgi_it_goes_on():
    answer = await AsyncClient().get("/resilience/events", headers=BEARER)
    assert answer.streaming
    seen = []
    async for chunk in answer.streaming_content:
        seen.append(chunk.decode())
        if len(seen) == 2:
            break
    await answer.streaming_content.aclose()
    assert seen[0].startswith("retry: 1000\nevent: snapshot\ndata: {")
    assert seen[1].startswith("event: change\ndata: {")


def test_the_permissions_come_with_migrate_and_makemigrations_has_nothing_to_add():
    names = Permission.objects.filter(content_type__app_label="resilient_http_django").values_list(
        "codename", flat=True
    )
    assert sorted(names) == ["change_console", "view_console"]
    call_command("makemigrations", "resilient_http_django", check=True, dry_run=True, verbosity=0)


def test_nothing_listens_before_the_page_is_mounted(settings, monkeypatch):
    monkeypatch.setattr(conf, "_mounted", set())
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://n2"]}}}
    assert get_resilience()._hub.listeners == ()
    conf.mount_console()
    assert len(get_resilience()._hub.listeners) == 1
