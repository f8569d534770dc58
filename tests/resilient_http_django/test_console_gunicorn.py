"""The live page of Django under a real gunicorn, with its users, in a real Chromium."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import httpx
import pytest
from selenium.webdriver.support.ui import Select

from tests.live.processes import served
from tests.live.servers import FaultServer, answer
from tests.live.sharing_process import within

TOKEN = "0123456789abcdef-of-the-tests"
GUNICORN = ["gunicorn", "--bind", "fd://FD", "tests.resilient_http_django.project.wsgi:application"]
SET_UP = """
import django
django.setup()
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
call_command("migrate", verbosity=0)
user = User.objects.create_user("ann", password="secret", is_staff=True)
user.user_permissions.set(Permission.objects.filter(codename__in=["view_console", "change_console"]))
"""


@pytest.fixture
def project(tmp_path):
    """Environment of a project with a database, and "ann" in it; and what it calls."""
    with FaultServer(answer(200, "paid")) as payments:

        def build(**own):
            settings = {"UPSTREAMS": {"payments": {"ENDPOINTS": [payments.url]}}, "CONSOLE": {"TOKEN": TOKEN}, **own}
            environment = {
                "DJANGO_SETTINGS_MODULE": "tests.resilient_http_django.console_project",
                "PROJECT_DATABASE": str(tmp_path / "database"),
                "PROJECT_RESILIENT_HTTP": json.dumps(settings),
            }
            subprocess.run([sys.executable, "-c", SET_UP], env=os.environ | environment, check=True, timeout=50)
            return environment

        yield build


def log_in(browser, url):
    browser.driver.delete_all_cookies()
    browser.open(f"{url}/resilience/")
    assert browser.driver.current_url == f"{url}/admin/login/?next=%2Fresilience%2F"
    browser.find("#id_username").send_keys("ann")
    browser.find("#id_password").send_keys("secret")
    browser.find("[type=submit]").click()
    browser.until(lambda: browser.text("#connection") == "live", "the page is live")


def test_two_workers_are_on_one_page_and_a_switch_is_thrown_in_both(browser, project, redis_server):
    environment = project(SHARED={"REDIS": redis_server().url})
    with served([*GUNICORN, "--workers", "2"], environment) as service:
        with httpx.Client(base_url=service.url, timeout=30) as caller:
            pids = set()

            def both_have_served():
                with httpx.Client(base_url=service.url, timeout=30) as one:
                    pids.add(one.get("/call").json()["pid"])
                return len(pids) == 2

            within(20, both_have_served)
            log_in(browser, service.url)
            browser.until(lambda: "all 2 processes" in browser.text("#process"), "both are there")
            browser.find("#rows summary").click()
            browser.find("#rows .inside > button").click()
            Select(browser.find("#what")).select_by_value("circuit open")
            browser.find("#go").click()
            assert "in all 2 processes" in browser.text("#confirm")
            browser.find("#go").click()
            browser.until(lambda: "Done by ann" in browser.text("#said"), "it is done")
            bearer = {"Authorization": f"Bearer {TOKEN}"}

            def of(process):
                snapshot = caller.get(f"/resilience/snapshot.json?process={process}", headers=bearer)
                return snapshot.json()["upstreams"]["payments"]["switches"] if snapshot.status_code == 200 else []

            processes = caller.get("/resilience/snapshot.json", headers=bearer).json()["processes"]
            assert {each["pid"] for each in processes} == pids
            for each in processes:
                within(5, lambda each=each: [one["by"] for one in of(each["process"])] == ["ann"])
                within(5, lambda each=each: [one["what"] for one in of(each["process"])] == ["circuit open"])
            browser.complaints()
        status, output = service.stop()
    assert "Traceback" not in output
    assert status == 0


def test_an_open_page_leaves_a_single_sync_worker_free(browser, project):
    with served([*GUNICORN, "--workers", "1"], project()) as service:
        log_in(browser, service.url)
        assert "Other workers of this service are not in it" in browser.text("#process-note")
        heard = browser.run("return state.heard")
        took = []
        with httpx.Client(base_url=service.url, timeout=30) as caller:
            for _ in range(20):
                begun = time.monotonic()
                assert caller.get("/call").json()["status"] == 200
                took.append(time.monotonic() - begun)
                time.sleep(0.2)
        assert browser.run("return state.heard") > heard
        assert browser.text("#connection") == "live"
        # A stream that stays open would hold the worker for as long.
        assert max(took) < 1.0
        browser.complaints()
