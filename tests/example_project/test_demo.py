"""The demo, as its users start it: it keeps its promises, and leaves nothing running however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest

ROOT = Path(__file__).parents[2]
MARK = "DEMO_TEST"


@pytest.fixture
def mark():
    """A value in the environment of the demo, which all that it starts inherits."""
    return uuid.uuid4().hex


@pytest.fixture
def kept(tmp_path_factory):
    """Where the demo keeps what is to be looked at."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def start(mark, tmp_path, kept):
    """Starts the demo, with its logs in `tmp_path`; whatever the test does, it is gone afterwards."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "example_project", *arguments],
            cwd=ROOT,
            env={**os.environ, MARK: mark, "TMPDIR": str(tmp_path), "DEMO_KEPT": str(kept)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(mark):
    """Command lines of the processes that have the mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def heads(trace):
    """What the spans of a waterfall are called."""
    return {re.split(r"  |\n", line.strip())[0] for line in trace.splitlines()}


def read_until(process, text):
    """The output of the demo, up to the line that holds `text`."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} was not told; told was:\n{''.join(lines)}")


def test_short_demo_keeps_the_promises_and_leaves_nothing_running(start, mark, tmp_path, kept):
    process = start("--quick")
    told = read_until(process, "services started")
    assert len(alive(mark)) >= 7, "the demo and its services carry the mark, else this test would see nothing"

    told += process.communicate()[0]

    assert process.returncode == 0, told
    assert "The promises of resilient_http hold." in told
    assert alive(mark) == []
    assert list(tmp_path.iterdir()) == [], "the logs are removed when all went well"
    assert re.search(r"the live page of pricing, while this goes on: http://127\.0\.0\.1:\d+/resilience/", told)
    assert (kept / "live-page.png").read_bytes().startswith(b"\x89PNG")
    trace = (kept / "checkout.txt").read_text()
    assert {"shop: GET pricing 200", "pricing: GET payments 200", "payments: GET"} <= heads(trace)
    assert "retry: " in trace
    assert ET.parse(kept / "checkout.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 3], ids=["ctrl-c", "term", "ctrl-c thrice"]
)
def test_interrupted_demo_leaves_nothing_running(start, mark, signals):
    process = start("--quick")
    told = read_until(process, "all is well")

    for number in signals:
        process.send_signal(number)
        time.sleep(0.02)
    told += process.communicate()[0]

    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert alive(mark) == []


def test_demo_interrupted_while_its_services_start_leaves_nothing_running(start, mark):
    process = start("--quick")
    told = read_until(process, "bare httpx")
    time.sleep(0.2)

    process.send_signal(signal.SIGINT)
    told += process.communicate()[0]

    assert process.returncode == 130, told
    assert alive(mark) == []


def test_served_project_says_where_it_is_and_ends_with_ctrl_c(start, mark):
    process = start("--serve")
    told = read_until(process, "curl -s http://127.0.0.1")
    command = told.splitlines()[-1].partition("#")[0].split()

    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    process.send_signal(signal.SIGINT)
    told += process.communicate()[0]

    assert '"order": 42' in answer
    assert process.returncode == 130, told
    assert alive(mark) == []


def test_served_project_has_the_live_page_of_pricing(start, mark):
    process = start("--serve")
    told = read_until(process, "the live page of pricing")
    shop = re.search(r"http://\S+/checkout/42", told)[0]
    page = re.search(r"http://\S+/resilience/", told)[0]
    httpx.get(shop, timeout=30)
    snapshot = httpx.get(f"{page}snapshot.json", timeout=30).json()
    text = httpx.get(page, timeout=30).text
    process.send_signal(signal.SIGINT)
    process.communicate()

    assert snapshot["upstreams"]["payments"]["traffic"]["calls"] >= 1
    assert "<h1>resilient_http</h1>" in text
    assert alive(mark) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's own")
def test_killed_demo_takes_its_services_along(start, mark):
    process = start("--serve")
    read_until(process, "services started")

    process.kill()
    process.communicate()

    until = time.monotonic() + 5
    while alive(mark) and time.monotonic() < until:
        time.sleep(0.05)
    assert alive(mark) == []


def test_nodes_come_and_go_through_etcd_and_no_call_fails(start, mark):
    process = start("--act", "nodes", "--quick")
    told = process.communicate()[0]
    assert process.returncode == 0, told
    assert "none failed" in told
    assert "node 5 found" in told
    assert alive(mark) == []


def test_settings_change_in_etcd_during_the_outage_and_callers_are_better_off(start, mark):
    process = start("--act", "live-change", "--quick")
    told = process.communicate()[0]
    assert process.returncode == 0, told
    assert "upstreams.payments.retry.budget.ratio: 0.02 -> 1.0" in told
    assert "no process started anew" in told
    assert alive(mark) == []
