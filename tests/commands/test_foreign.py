"""What the commands say of a service that is of another version, or strange: what is known, and what is not."""

from __future__ import annotations

import argparse
import copy
import json

import httpx
import pytest

from resilient_http import Resilience
from resilient_http.cli import main
from resilient_http.commands import calls, status
from resilient_http.console.remote import Remote
from tests.live.servers import answer, raw

MISSING = object()
STRANGE = (MISSING, None, "x", 5, -1e308, float("nan"), True, [], ["x"], {}, {"x": {}})
ESCAPES = "\x1b]0;owned\x07\x1b[2J\r\u202e\x9b31m\u2028\ud800\nforged"
OBEYED = {each for each in ESCAPES if not each.isprintable()} - {"\n"}
OPTIONS = argparse.Namespace(json=False, follow=False, upstream=None, seconds=None)


@pytest.fixture
def snapshot():
    """Of a process that has called one upstream in vain."""
    with Resilience({"upstreams": {"payments": {"endpoints": ["http://127.0.0.1:9"]}}}) as resilience:
        console = resilience.console
        with resilience.client() as client, pytest.raises(httpx.ConnectError):
            client.get("http://payments/")
        return json.loads(json.dumps(console.snapshot()))


@pytest.fixture
def page(fault_server):
    """A server whose page tells whatever it is given."""
    server = fault_server(answer(200, "{}"))
    server.tells = lambda told: server.play(answer(200, json.dumps(told)))
    return server


@pytest.fixture
def run(page, capsys):
    """Runs a command against a page that tells that: its exit status, what it wrote, and its errors."""

    def run(told, *command):
        page.tells(told)
        return main([*command, "--url", page.url]), *capsys.readouterr()

    return run


@pytest.mark.parametrize("part", ["traffic", "endpoints", "concurrency", "retry_budget"])
def test_an_upstream_that_lacks_a_part_is_shown_with_what_is_known(snapshot, run, part):
    del snapshot["upstreams"]["payments"][part]
    exit_status, out, err = run(snapshot, "status")
    assert (exit_status, err) == (1, "")  # the calls that failed are trouble, whatever else is not known
    row = out.splitlines()[-1]
    assert row.startswith("payments ")
    assert row.endswith(f"100 % of the calls not answered well; not understood: {part}")


def test_whether_there_is_trouble_is_not_known_where_that_is_not_understood(snapshot, run):
    del snapshot["upstreams"]["payments"]["trouble"]
    exit_status, out, _ = run(snapshot, "status")
    assert exit_status == 2
    assert out.splitlines()[-1].endswith("not understood: trouble")
    exit_status, out, _ = run({**snapshot, "upstreams": {"payments": 5}}, "status")
    assert exit_status == 2
    assert out.splitlines()[-1].split() == [
        "payments",
        *["-"] * 6,
        "-/-",
        "-",
        "-",
        *["not", "understood:", "all", "of", "it"],
    ]


def test_a_call_that_lacks_its_attempts_is_told_with_what_is_known(snapshot, run):
    del snapshot["degraded"][0]["attempts"]
    exit_status, out, err = run(snapshot, "calls")
    assert (exit_status, err) == (2, "")
    first, last = out.splitlines()
    assert "failed: GET payments: ConnectError after " in first
    assert last == "    not understood: attempts"


def test_of_attempts_those_that_are_understood_are_told(snapshot, run):
    first, *others = snapshot["degraded"][0]["attempts"]
    assert others
    del first["duration"], first["why"]
    _, out, _ = run(snapshot, "calls")
    assert [line.split()[:2] for line in out.splitlines()[1:-1]] == [
        ["attempt", str(each["number"])] for each in others
    ]
    assert out.splitlines()[-1] == "    not understood: attempts[0].duration, attempts[0].why"


def test_who_it_is_may_not_be_known(snapshot, run):
    del snapshot["processes"][0]["pid"], snapshot["time"]
    exit_status, out, err = run(snapshot, "status")
    assert (exit_status, err) == (1, "")
    assert out.splitlines()[0] == (
        "an unknown process, the last minute; other workers are not seen without a shared Redis;"
        " not understood: time, processes[0].pid"
    )


def test_what_is_to_be_known_of_a_process_is_told(snapshot, run):
    (process,) = snapshot["processes"]
    process |= {"pid": 17, "host": "web-2", "note": "its clock is 300 s ahead"}
    assert "; process 17 at web-2: its clock is 300 s ahead" in run(snapshot, "status")[1].splitlines()[0]
    del process["note"]  # as an older version
    assert "not understood" not in run(snapshot, "status")[1]


def test_top_shows_what_is_known_too(snapshot, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    del snapshot["upstreams"]["payments"]["traffic"], snapshot["time"]
    exit_status, out, err = run(snapshot, "top", "--seconds", "0.1")
    assert (exit_status, err) == (0, "")
    assert "not understood: traffic" in out
    assert "not understood: time" in out


def test_what_a_newer_version_says_beside_is_no_matter(snapshot, run):
    snapshot["more"] = snapshot["upstreams"]["payments"]["more"] = snapshot["degraded"][0]["more"] = {"x": [1]}
    assert "not understood" not in run(snapshot, "status")[1] + run(snapshot, "calls")[1]
    assert json.loads(run(snapshot, "status", "--json")[1])["more"] == {"x": [1]}


def paths(told, at=()):
    """Of all that is in it."""
    for key, value in told.items() if isinstance(told, dict) else enumerate(told):
        yield (*at, key)
        if isinstance(value, (dict, list)):
            yield from paths(value, (*at, key))


def changed(told, path, value):
    *way, last = path
    made = at = copy.deepcopy(told)
    for key in way:
        at = at[key]
    if value is MISSING:
        del at[last]
    else:
        at[last] = value
    return made


@pytest.mark.parametrize("command", [status, calls], ids=["status", "calls"])
def test_whatever_a_service_says_there_is_a_line_and_no_traceback(snapshot, page, command):
    top = {path for path in paths(snapshot) if len(path) > 1 or path[0] not in ("upstreams", "degraded", "processes")}
    tried = 0
    with Remote(page.url) as remote:
        for path in sorted(top, key=str):
            for value in STRANGE if len(path) < 5 else STRANGE[:4]:
                page.tells(changed(snapshot, path, value))
                lines = []
                assert command.tell(OPTIONS, remote, lines.append) in (0, 1, 2), (path, value)
                assert lines, (path, value)
                tried += 1
    assert tried > 500


def hostile(told):
    """The same, in which each text is another's; keys of objects that are names too."""
    if isinstance(told, dict):
        return {key: hostile(value) for key, value in told.items()}
    if isinstance(told, list):
        return [hostile(each) for each in told]
    return f"{told}{ESCAPES}" if isinstance(told, str) else told


@pytest.mark.parametrize("columns", ["80", "300"])
@pytest.mark.parametrize("numbers", [False, True], ids=["texts", "numbers too"])
@pytest.mark.parametrize(
    "command", [["status"], ["calls"], ["top", "--seconds", "0.1"]], ids=["status", "calls", "top"]
)
def test_a_terminal_obeys_no_text_in_any_place(snapshot, run, monkeypatch, command, numbers, columns):
    monkeypatch.setenv("COLUMNS", columns)
    told = hostile(snapshot)
    told["upstreams"] = {f"payments{ESCAPES}": told["upstreams"]["payments"]}
    told["answered_by"] = told["processes"][0]["process"]
    if numbers:
        told["processes"][0]["pid"] = told["degraded"][0]["pid"] = ESCAPES
        told["upstreams"]["payments" + ESCAPES]["traffic"] |= dict.fromkeys(("rate", "success", "p50", "p99"), ESCAPES)
    out, err = run(told, *command)[1:]
    assert "x1b" in "".join(out.split())
    assert not OBEYED & set(out + err)
    assert not any(line.lstrip().startswith("forged") for line in out.splitlines())


@pytest.mark.parametrize("code", [200, 400, 401, 404, 500])
@pytest.mark.parametrize("key", ["by", "error", "detail"])
def test_nor_of_the_answer_to_an_action(page, capsys, code, key):
    page.play(answer(code, json.dumps({"by": "ann", "reaches": ESCAPES} | {key: ESCAPES})))
    main(["circuit", "open", "payments", "--url", page.url])
    said = "".join(capsys.readouterr())
    assert not OBEYED & set(said)
    assert len(said.splitlines()) == 1


def test_nor_of_an_answer_that_is_no_http(page, capsys):
    page.play(raw(b"\x1b]0;owned\x07\x1b[2J\r\x9b31m\nforged"))
    assert main(["status", "--url", page.url]) == 2
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert not OBEYED & set(said)
    assert len(said.splitlines()) == 1
