"""A request may not last longer than gunicorn lets its worker live; and what gunicorn's workers share."""

import json
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.core.checks import run_checks

from resilient_http_django.gunicorn import worker_timeout
from tests.live.behaviours import answer
from tests.live.processes import served
from tests.live.servers import FaultServer


@pytest.fixture(autouse=True)
def _nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GUNICORN_CMD_ARGS", raising=False)
    monkeypatch.setattr(sys, "argv", ["manage.py", "check"])


def configured(tmp_path, text, name="gunicorn.conf.py"):
    (tmp_path / name).write_text(text)


def warnings_of(settings, timeout):
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": timeout}}
    return [check for check in run_checks(tags=["resilient_http"]) if check.id == "resilient_http.W002"]


def test_where_nothing_is_known_nothing_is_said(settings):
    assert worker_timeout() is None
    assert warnings_of(settings, 1000.0) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("timeout = 20\n", 20.0),
        ("timeout: int = 20\n", 20.0),
        ("bind = '0.0.0.0:80'\n", 30.0),
        ("timeout = 0\n", None),
        ("timeout = compute()\n", None),
        ("timeout = 20\nif production():\n    timeout = 60\n", None),
        ("timeout = compute()\ntimeout = 20\n", 20.0),
        ("worker_class = compute()\n", None),
        ("from base import *\n", None),
        ("from base import timeout\n", None),
        ("from base import *\ntimeout = 20\nworker_class = 'sync'\nthreads = 1\n", 20.0),
        ("timeout = 20\nworker_class = 'gthread'\n", None),
        ("timeout = 20\nthreads = 4\n", None),
        ("this is not Python\n", 30.0),
    ],
)
def test_the_configuration_file_is_read_and_not_run(tmp_path, text, seconds):
    configured(tmp_path, text + "raise SystemExit('it was run')\n" if "not Python" not in text else text)
    assert worker_timeout() == seconds


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ("--timeout 12", 12.0),
        ("--timeout=12 --workers 4", 12.0),
        ("-t 12", 12.0),
        ("-t12", 12.0),
        ("--workers 4", 30.0),
        ("-k uvicorn.workers.UvicornWorker -t 12", None),
        ("--threads 2 -t 12", None),
        ("--timeout 0", None),
        ("--timeout soon", 30.0),
    ],
)
def test_its_environment_variable_is_read(monkeypatch, arguments, seconds):
    monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
    assert worker_timeout() == seconds


def test_each_source_goes_over_the_one_before(monkeypatch, tmp_path):
    configured(tmp_path, "timeout = 20\n", "other.py")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-c other.py")
    assert worker_timeout() == 20.0
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-c other.py -t 15")
    assert worker_timeout() == 15.0
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gunicorn", "-t", "10", "project.wsgi"])
    assert worker_timeout() == 10.0


def test_what_the_file_computes_is_known_where_the_command_line_says_it(monkeypatch, tmp_path):
    configured(tmp_path, "timeout = compute()\n")
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-t 15")
    assert worker_timeout() == 15.0


@pytest.mark.parametrize(("timeout", "warns"), [(20.0, False), (20.5, True), (None, True)])
def test_a_default_that_is_longer_is_warned_about(settings, tmp_path, timeout, warns):
    configured(tmp_path, "timeout = 20\n")

    found = warnings_of(settings, timeout)

    assert len(found) == warns
    if warns:
        assert "but gunicorn kills a worker after 20 s" in found[0].msg
        assert "--timeout" in found[0].hint


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["prefork", "preload"])
def test_workers_share_no_connection_and_no_answer_is_mixed_up(monkeypatch, preload):
    monkeypatch.undo()

    def script(request):
        return answer(200, request.header("X-Who") or "")

    with FaultServer(script) as upstream:
        settings = {"UPSTREAMS": {"payments": {"ENDPOINTS": [upstream.url], "POOL": {"KEEPALIVE_EXPIRY": 60}}}}
        environment = {"PROJECT_RESILIENT_HTTP": json.dumps(settings)}
        if preload:
            environment["PROJECT_CALL_BEFORE_FORK"] = "yes"
        command = [
            "gunicorn",
            *preload,
            "--workers",
            "3",
            "--bind",
            "fd://FD",
            "tests.resilient_http_django.project.wsgi",
        ]
        with served(command, environment) as server, httpx.Client(timeout=30) as visitor:

            def visit(number):
                kind = "bridged" if number % 10 == 0 else "who"
                return number, visitor.get(f"{server.url}/sync/{kind}", params={"who": str(number)}).json()

            with ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(visit, range(300)))
            _, output = server.stop()

        callers = defaultdict(set)
        for request in upstream.requests:
            if request.header("X-Pid"):
                callers[request.connection].add(request.header("X-Pid"))

    assert [found["body"] for _, found in answers] == [str(number) for number, _ in answers]
    assert {len(pids) for pids in callers.values()} == {1}
    assert len({pid for pids in callers.values() for pid in pids}) >= 2
    assert "Event loop is closed" not in output
    assert "Traceback" not in output
