"""The read-only page in Django's admin: who gets in, what it shows, and that nothing can be changed there."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from resilient_http_django import conf, get_client, get_resilience
from tests.live.servers import answer
from tests.resilient_http_django import console_project

PAGE = "/admin/resilient_http_django/console/"
TWO = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]
ALONE = {"RETRY": None, "CIRCUIT": {"STREAK": 2, "QUIET_STREAK": 2}}

pytestmark = pytest.mark.django_db


class Urls:
    """URLs of a project that has the admin, which can be asked for them while its app is installed."""

    def __init__(self, *others):
        from django.contrib import admin

        self.urlpatterns = [path("admin/", admin.site.urls), *others]


@pytest.fixture
def log(project, transactional_db):
    """The table of the admin's own, which its index reads; the project that the database is made for has no admin."""
    from django.contrib.admin.models import LogEntry

    with connection.schema_editor() as editor:
        editor.create_model(LogEntry)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(LogEntry)


@pytest.fixture(autouse=True)
def project(settings, monkeypatch):
    """The console's project; no page is mounted in the tests after it."""
    monkeypatch.setattr(conf, "_mounted", set(conf._mounted))
    settings.INSTALLED_APPS = console_project.INSTALLED_APPS
    settings.ROOT_URLCONF = Urls(path("resilience/", include("resilient_http_django.urls")))
    settings.MIDDLEWARE = console_project.MIDDLEWARE
    settings.TEMPLATES = console_project.TEMPLATES
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": TWO}}}
    conf.mount_console()


@pytest.fixture
def who():
    """Makes somebody, with permissions."""

    def make(*permissions, staff=True):
        user = User.objects.create_user("ann", password="x", is_staff=staff)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        return user

    return make


@pytest.fixture
def staff(who):
    """A client of one who may look."""
    client = Client()
    client.force_login(who("view_console"))
    return client


def test_the_index_has_a_link_to_it_for_those_who_may_look(log, staff):
    index = staff.get("/admin/").content.decode()
    assert f'href="{PAGE}"' in index
    assert f'href="{PAGE}add/"' not in index


def test_it_has_the_admins_own_look_and_a_link_to_the_live_page(staff):
    answered = staff.get(PAGE)
    text = answered.content.decode()

    assert answered.status_code == 200
    assert "no-store" in answered.headers["Cache-Control"]
    assert "admin/base.html" in [template.name for template in answered.templates]
    assert '<a href="/resilience/">Open the live page</a>' in text
    content = text[text.index('id="content-main"') :]
    assert "<script" not in content
    assert "style=" not in content
    assert "<form" not in content


def test_it_shows_circuits_switches_and_degraded_calls(staff, fault_server, settings):
    server = fault_server(answer(503))
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": [server.url]}}, "DEFAULTS": ALONE}
    for _ in range(2):
        get_client().get("http://payments/charges?card=4711", headers={"Authorization": "Bearer sesame"})
    get_resilience().switch("payments").retries_off(for_=60, by="bob <script>")
    text = staff.get(PAGE).content.decode()
    get_resilience().switch("payments").lift(by="the end")

    assert "<h2>payments: down</h2>" in text
    assert "1 of 1 circuits open" in text
    assert f"<td>{server.url}</td>" in text
    assert "<td>open (failures in a row)</td>" in text
    assert "<td>retries off</td><td>bob &lt;script&gt;</td>" in text
    assert text.count("<td>GET payments</td>") == 2
    assert text.count("<td>failed</td>") == 2
    assert "4711" not in text
    assert "sesame" not in text


def test_without_the_live_page_there_is_no_link_and_nobody_keeps_degraded_calls(staff, settings, monkeypatch):
    monkeypatch.setattr(conf, "_mounted", set())
    settings.ROOT_URLCONF = Urls()
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": TWO}}}
    before = get_resilience()._hub.listeners
    text = staff.get(PAGE).content.decode()

    assert "<h2>payments: ok</h2>" in text
    assert "live page</a>" not in text
    assert "degraded calls" not in text
    assert get_resilience()._hub.listeners == before


@pytest.mark.parametrize(("permissions", "staff", "status"), [
    ((), True, 403),
    (("change_console",), True, 403),
    (("view_console",), False, 302),
    (("view_console",), True, 200),
])  # fmt: skip
def test_staff_with_the_permission_get_in_and_nobody_else(who, permissions, staff, status):
    client = Client()
    client.force_login(who(*permissions, staff=staff))
    assert client.get(PAGE).status_code == status


def test_who_is_not_logged_in_is_sent_to_the_login():
    answered = Client().get(PAGE)
    assert (answered.status_code, answered.headers["Location"]) == (302, f"/admin/login/?next={PAGE}")


def test_nothing_can_be_changed_there(who):
    client = Client()
    client.force_login(who("view_console", "change_console"))
    assert client.post(PAGE, {"action": "delete_selected"}).status_code == 405
    for below in ("add/", "1/change/", "1/delete/"):
        assert client.get(PAGE + below).status_code == 404


def test_its_model_which_has_no_table_is_not_asked_for(staff):
    staff.get(PAGE)
    with CaptureQueriesContext(connection) as queries:
        staff.get(PAGE)
    assert "resilient_http_django_console" not in "".join(query["sql"] for query in queries)


@pytest.mark.django_db(transaction=True)  # what is written in another thread is not rolled back
async def test_under_asgi_too(who):
    client = AsyncClient()
    await client.aforce_login(await sync_to_async(who)("view_console"))
    assert b"Open the live page" in (await client.get(PAGE)).content
