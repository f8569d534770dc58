"""resilient-http status, calls, circuit and top: what they say of a real service, and do in it, over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import httpx
import pytest

from resilient_http import Resilience
from resilient_http.cli import main
from resilient_http.commands.rows import TITLES
from resilient_http.console.remote import TOKEN
from tests.live.processes import served
from tests.live.servers import answer
from tests.live.test_hedge import by_turns

SECRET = "0123456789abcdef-of-the-tests"
# Also where a shell has started the tests in the background, and has them ignore Ctrl-C.
INTERRUPTIBLE = """
import signal, sys
from resilient_http.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""
ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\u202e\nforged"
FRESH = 0.6  # seconds after which a console looks anew
STARTS = 5.0  # seconds after which a command has asked at least once, also on a busy machine
UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "warning", "tests.commands.console_app:app"]


class Service:
    """A running service with a live page."""

    def __init__(self, url):
        self.url = url
        self.page = f"{url}/resilience/"

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=20) as response:
            return json.load(response)


@pytest.fixture
def node(fault_server):
    return fault_server(answer(200))


@pytest.fixture
def service(node, monkeypatch):
    monkeypatch.setenv(TOKEN, SECRET)
    with served(UVICORN, {"NODE": node.url, "TOKEN": SECRET}) as running:
        yield Service(running.url)


@pytest.fixture
def ask(service, capsys):
    """Runs a command against the service: its exit status, and what it wrote."""

    def ask(*arguments):
        status = main([*arguments, "--url", service.page])
        said = capsys.readouterr()
        return status, said.out + said.err

    return ask


def test_status_tells_how_the_upstreams_stand(service, ask):
    for _ in range(3):
        assert service.get("call") == 200
    status, out = ask("status")
    title, columns, payments = out.splitlines()
    assert status == 0
    assert "not seen without a shared Redis" in title
    assert columns.split()[:3] == ["upstream", "calls/s", "success"]
    assert payments.split()[0] == "payments"
    assert "100.0%" in payments
    assert "1 closed" in payments


def test_status_ends_with_1_where_there_is_trouble(service, ask):
    assert ask("circuit", "open", "payments", "--for", "60")[0] == 0
    assert service.get("call") == 0
    status, out = ask("status")
    assert status == 1
    assert "1 of 1 circuits open" in out
    assert json.loads(ask("status", "--json")[1])["upstreams"]["payments"]["trouble"]["score"] > 0


def test_circuits_are_forced_for_a_time_and_left_to_themselves(service, ask, node):
    status, out = ask("circuit", "open", "payments", "--for", "300", "--by", "ann")
    assert (status, out) == (0, "payments: circuits open for 300 s, by ann, in this process\n")
    assert service.get("switches") == ["circuit forced open"] or service.get("switches") == ["circuit open"]
    assert service.get("call") == 0
    assert node.requests == []
    assert ask("circuit", "auto", "payments")[0] == 0
    assert service.get("switches") == []
    assert service.get("call") == 200


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("circuit", "open", "nobody"), "no upstream 'nobody'; known: "),
        (("circuit", "open", "payments", "--endpoint", "http://10.0.0.1:1"), "10.0.0.1"),
    ],
)
def test_what_cannot_be_done_is_refused(ask, arguments, wrong):
    status, out = ask(*arguments)
    assert status == 2
    assert wrong in out


@pytest.mark.parametrize("lasts", ["0", "-1", "nan", "inf", "soon"])
def test_how_long_it_lasts_is_a_number(ask, lasts):
    with pytest.raises(SystemExit) as exit_:
        ask("circuit", "open", "payments", "--for", lasts)
    assert exit_.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("calls", "--follow", "--seconds", "nan"), "invalid number of seconds above 0 value: 'nan'"),
        (("top", "--seconds", "-1"), "invalid number of seconds above 0 value: '-1'"),
        (("status", "--header", "cookie"), "invalid 'NAME: VALUE' value: 'cookie'"),
    ],
)
def test_what_an_argument_must_be_is_told(arguments, wrong, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--url", "http://127.0.0.1:9/"])
    assert exit_.value.code == 2
    assert wrong in capsys.readouterr().err


def test_calls_tells_what_became_of_degraded_calls(service, ask, node):
    assert ask("calls") == (0, "no call was degraded lately\n")
    time.sleep(FRESH)
    node.play(by_turns(answer(503), answer(200)))
    assert service.get("call") == 200
    status, out = ask("calls")
    first, second, third = out.splitlines()
    assert status == 0
    assert "retried: GET payments: 200 after " in first
    assert second.startswith(f"    attempt 1 at {node.url}: 503 after ")
    assert "-> retry: " in second
    assert third.startswith(f"    attempt 2 at {node.url}: 200 after ")
    assert ask("calls", "--upstream", "others")[1] == "no call was degraded lately\n"


def test_calls_goes_on_and_tells_each_one_once(service, ask, node):
    node.play(by_turns(answer(503), answer(200), answer(503), answer(200)))
    service.get("call")
    timer = threading.Timer(1.5, service.get, ["call"])
    timer.start()
    status, out = ask("calls", "--follow", "--seconds", "3.5")
    timer.join()
    assert status == 0
    assert out.count("retried: GET payments: 200 after ") == 2


def test_calls_goes_on_while_the_service_is_away(fault_server, capsys):
    empty = {"upstreams": {}, "degraded": [], "processes": []}
    snapshots = [empty, None, empty]
    page = fault_server(by_turns(*(answer(200, json.dumps(each)) if each else answer(502) for each in snapshots)))
    assert main(["calls", "--follow", "--seconds", "2.5", "--url", page.url]) == 0
    away, again = capsys.readouterr().out.splitlines()
    assert away == f"{page.url}/ is no live page (502); see docs/live-page.md for how to mount one"
    assert again == "it answers again"


def test_without_the_token_nobody_gets_in(service, ask, monkeypatch):
    monkeypatch.setenv(TOKEN, "another-token-of-somebody")
    status, out = ask("status")
    assert status == 2
    assert f"set {TOKEN} to its console.token" in out
    assert "this page is for the token alone" in out
    assert "another-token" not in out


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://127.0.0.1:9/", "does not answer: ConnectError"),
        ("127.0.0.1:8000", "is no address of a live page"),
        ("ftp://127.0.0.1/", "is no address of a live page"),
        ("http://[::1", "is no URL"),
    ],
)
def test_an_address_that_is_none_is_told(url, wrong, capsys):
    assert main(["status", "--url", url]) == 2
    assert wrong in capsys.readouterr().err


def test_another_page_is_told(service, capsys):
    assert main(["status", "--url", service.url]) == 2
    assert "is no live page (404: Not Found)" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["status"], ["calls"], ["top"], ["circuit", "open", "payments"]])
@pytest.mark.parametrize("text", ["{}", '{"upstreams": [], "degraded": {}, "processes": null, "by": 5}', "[" * 100_000])
def test_another_services_json_is_no_trouble_of_an_upstream(command, text, fault_server, capsys):
    page = fault_server(answer(200, text))
    assert main([*command, "--url", page.url]) == 2
    assert f"{page.url}/ is no live page (200)" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["status"], ["calls"], ["top", "--seconds", "0.1"]])
def test_a_terminal_obeys_nothing_of_what_others_say(command, fault_server, capsys):
    with Resilience({"upstreams": {"payments": {"endpoints": ["http://127.0.0.1:9"], "retry": None}}}) as resilience:
        console = resilience.console
        with resilience.client() as client, pytest.raises(httpx.ConnectError):
            client.get("http://payments/")
        snapshot = console.snapshot()
    row, (call,) = snapshot["upstreams"]["payments"], snapshot["degraded"]
    row["trouble"]["why"] = [ESCAPES]
    snapshot["upstreams"] = {ESCAPES: row}
    snapshot["processes"][0]["host"] = ESCAPES
    call |= {"upstream": ESCAPES, "error": ESCAPES, "route": ESCAPES, "notes": [ESCAPES]}
    call["attempts"][0] |= {"error": ESCAPES, "endpoint": ESCAPES}
    page = fault_server(answer(200, json.dumps(snapshot)))
    main([*command, "--url", page.url])
    out = capsys.readouterr().out
    assert "owned" in out
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(out)
    assert not any(line.startswith("forged") for line in out.splitlines())


def test_nor_of_a_refusal(fault_server, capsys):
    page = fault_server(answer(500, json.dumps({"error": ESCAPES})))
    assert main(["status", "--url", page.url]) == 2
    err = capsys.readouterr().err
    assert "owned" in err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("token", "header"), [("t\xf6ken-of-16-letters", "x: y"), (SECRET, "x: \xfc"), (SECRET, "\xfc: y")]
)
def test_what_cannot_be_sent_is_told(token, header, monkeypatch, capsys):
    monkeypatch.setenv(TOKEN, token)
    assert main(["status", "--url", "http://127.0.0.1:9/", "--header", header]) == 2
    err = capsys.readouterr().err
    assert "is not ASCII" in err
    assert token not in err


def test_credentials_in_the_address_are_not_told(capsys):
    assert main(["status", "--url", "http://ann:hunter2@127.0.0.1:9/"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_top_draws_the_worst_first_and_ends_with_ctrl_c(service):
    service.get("call")
    command = [sys.executable, "-c", INTERRUPTIBLE, "top", "--url", service.page]
    environment = {**os.environ, TOKEN: SECRET, "COLUMNS": "160"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as top:
        time.sleep(STARTS)
        top.send_signal(signal.SIGINT)
        out, _ = top.communicate(timeout=10)
    assert "payments" in out
    assert "100.0%" in out


@pytest.mark.parametrize(("columns", "all_shown"), [(80, False), (140, True), (200, True)])
def test_top_has_room_for_each_heading_that_it_shows_and_names_the_others(
    service, ask, monkeypatch, columns, all_shown
):
    service.get("call")
    ask("circuit", "open", "payments", "--for", "60")
    monkeypatch.setenv("COLUMNS", str(columns))
    status, out = ask("top", "--seconds", "0.1")
    assert status == 0
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= columns
    heading = next(line for line in out.splitlines() if line.startswith("upstream"))
    shown = [title for title in TITLES if title in heading]
    assert {"upstream", "success", "calls/s", "p99", "trouble"} <= set(shown)
    left_out = [title for title in TITLES if title not in shown]
    assert (not left_out) is all_shown
    assert all_shown or f"no room for: {', '.join(left_out)}" in " ".join(out.split())
    assert "1 of 1 circuits open" in " ".join(out.split())


def test_top_goes_on_while_the_service_is_away(service, ask, fault_server):
    snapshot = ask("status", "--json")[1]
    page = fault_server(by_turns(answer(200, snapshot), answer(200, snapshot), answer(502)))
    command = [sys.executable, "-m", "resilient_http", "top", "--url", page.url, "--seconds", "3"]
    environment = {**os.environ, TOKEN: SECRET, "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "payments" in done.stdout
    assert "is no live page (502)" in " ".join(done.stdout.split())
