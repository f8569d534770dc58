"""manage.py resilient_http status, calls, circuit, check: asked of real workers, over HTTP and through their Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from tests.live.processes import served
from tests.live.servers import answer

TOKEN = "0123456789abcdef-of-the-tests"
GUNICORN = [
    "gunicorn", "--workers", "2", "--bind", "fd://FD", "--no-control-socket",
    "tests.resilient_http_django.project.wsgi",
]  # fmt: skip
PROJECT = "tests.resilient_http_django.console_project"


@pytest.fixture
def workers(fault_server, redis_server):
    """Starts two workers, with a Redis that they share or without; gives the URL of their server, and the settings."""
    node = fault_server(answer(200))

    def start(*, shared):
        upstreams = {"payments": {"ENDPOINTS": [node.url]}}
        settings = {"UPSTREAMS": upstreams, "CONSOLE": {"TOKEN": TOKEN}}
        if shared:
            settings["SHARED"] = {"REDIS": redis_server().url}
        environment = {"PROJECT_RESILIENT_HTTP": json.dumps(settings), "DJANGO_SETTINGS_MODULE": PROJECT}
        return served(GUNICORN, environment), {**os.environ, **environment}

    return start


def manage(environment, *arguments):
    """Runs `manage.py resilient_http ...` in a process of its own."""
    command = [sys.executable, "-m", "django", "resilient_http", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    return done.returncode, done.stdout, done.stderr


def call(url):
    with urllib.request.urlopen(f"{url}/call", timeout=20) as response:
        return json.load(response)


def call_all(url):
    """Has each of the two workers call once at least."""
    pids, until = set(), time.monotonic() + 20
    while len(pids) < 2 and time.monotonic() < until:
        pids.add(call(url)["pid"])
    return pids


def test_all_workers_are_asked_through_their_redis(workers):
    server, environment = workers(shared=True)
    with server as running:
        call_all(running.url)
        status, out, err = manage(environment, "status", "--json")
        assert (status, err) == (0, "")
        snapshot = json.loads(out)
        assert len(snapshot["processes"]) == 3  # the command is one of them
        assert snapshot["upstreams"]["payments"]["traffic"]["calls"] >= 2

        status, out, err = manage(environment, "circuit", "open", "payments", "--for", "60", "--by", "ann")
        assert (status, err) == (0, "")
        assert out.startswith("payments: circuits open for 60 s, by ann, in all processes that share the Redis")
        time.sleep(1.5)  # within a second in every process
        assert {status_of_call(running.url) for _ in range(12)} == {503}

        status, out, _ = manage(environment, "status")
        assert status == 1
        assert "circuits open" in out


def status_of_call(url):
    try:
        return call(url)["status"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_one_worker_is_asked_by_its_address_with_the_token_of_the_settings(workers):
    server, environment = workers(shared=False)
    with server as running:
        call(running.url)
        status, out, err = manage(environment, "status", "--url", f"{running.url}/resilience/")
        assert (status, err) == (0, "")
        assert "other workers are not seen without a shared Redis" in out
        assert "payments" in out
        assert manage(environment, "calls", "--url", f"{running.url}/resilience/")[1] == "no call was degraded lately\n"


@pytest.mark.parametrize("command", [("status",), ("calls",), ("circuit", "open", "payments")])
def test_without_either_it_says_what_is_needed(command):
    with pytest.raises(CommandError, match="give --url"):
        call_command("resilient_http", *command)


def test_a_server_that_is_away_is_told():
    with pytest.raises(CommandError, match="does not answer"):
        call_command("resilient_http", "status", "--url", "http://127.0.0.1:9/")


@pytest.mark.parametrize(
    ("command", "said"), [("status", "not understood: traffic, endpoints"), ("calls", "    not understood: at, kind")]
)
def test_what_a_worker_of_another_version_says_is_told_as_far_as_it_is_understood(fault_server, capsys, command, said):
    told = {"upstreams": {"payments": {}}, "degraded": [{"upstream": "payments"}], "processes": []}
    page = fault_server(answer(200, json.dumps(told)))
    with pytest.raises(SystemExit) as exit_:
        call_command("resilient_http", command, "--url", page.url)
    assert exit_.value.code == 2
    assert said in capsys.readouterr().out


def test_what_is_refused_is_told_through_a_redis_too(redis_server, settings):
    shared = {"REDIS": redis_server().url}
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://n1"]}}, "SHARED": shared}
    with pytest.raises(CommandError, match=r"no upstream 'nobody'; known: \*, payments"):
        call_command("resilient_http", "circuit", "open", "nobody")


def test_check_says_what_is_likely_wrong(settings, capsys):
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://n1"], "TIMEOUT": {"TOTAL": 60}}}}
    call_command("resilient_http", "check")
    assert "resilient_http.W007" in capsys.readouterr().err
    with pytest.raises(SystemCheckError, match="W007"):
        call_command("resilient_http", "check", "--fail-level", "WARNING")
