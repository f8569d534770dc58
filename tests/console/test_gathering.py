"""Several processes on one page: what they tell each other through a Redis, and what is done in all of them."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time

import httpx
import pytest

from resilient_http import Resilience
from resilient_http.console.actions import ActionRefused
from tests.live.sharing_process import within

N1 = "http://n1"


class Worker:
    """A Resilience with a console, as a process would have it; its upstream answers what it is told to."""

    def __init__(self, url, **own):
        self.status = 200
        shared = {"redis": url, "interval": 0.05, "timeout": 0.25, "expires": 0.5, "max_backoff": 0.2}
        upstreams = {"payments": {"endpoints": [N1], "retry": None, **own}}
        self.resilience = Resilience({"shared": shared, "upstreams": upstreams})
        self.console = self.resilience.console
        self.client = self.resilience.client(transport=httpx.MockTransport(lambda _: httpx.Response(self.status)))

    def call(self, times=1):
        for _ in range(times):
            self.client.get("http://payments/")

    def switches(self):
        return [each["what"] for each in self.resilience.status()["upstreams"]["payments"]["switches"]]

    def close(self):
        for name in ("*", "payments"):
            self.resilience._control.switching.lift(name, None, "the end")
        self.resilience.close()


@pytest.fixture
def worker(redis_server):
    made, server = [], redis_server("secret")

    def build(**own):
        made.append(Worker(server.url, **own))
        return made[-1]

    build.server = server
    yield build
    for each in made:
        each.close()


def known(worker):
    return len(worker.console.snapshot()["processes"])


def test_all_are_on_one_page_and_each_by_itself(worker):
    one, other = worker(), worker()
    one.call(3)
    other.status = 503
    other.call(2)
    within(10, lambda: known(one) == 2)
    within(10, lambda: one.console.snapshot()["upstreams"]["payments"]["traffic"]["calls"] == 5)
    together = one.console.snapshot()
    assert (together["gathered"], together["shown"]) == (True, "all")
    traffic = together["upstreams"]["payments"]["traffic"]
    assert (traffic["good"], traffic["failed"], traffic["success"]) == (3, 2, 0.6)
    assert len(together["degraded"]) == 2
    ids = {each["process"] for each in together["processes"]}
    theirs = next(iter(ids - {together["answered_by"]}))
    assert one.console.snapshot(theirs)["upstreams"]["payments"]["traffic"]["calls"] == 2
    assert one.console.snapshot(together["answered_by"])["upstreams"]["payments"]["traffic"]["calls"] == 3
    with pytest.raises(KeyError, match="may have ended"):
        one.console.snapshot("somebody")


def test_one_that_is_asked_for_the_first_time_knows_the_others_at_once(worker):
    one, other = worker(), worker()
    within(10, lambda: known(one) == 2)
    ids = {each["process"] for each in one.console.snapshot()["processes"]}
    begun = time.monotonic()
    assert {each["process"] for each in other.console.snapshot()["processes"]} == ids
    assert time.monotonic() - begun < 0.5


def test_an_action_is_done_in_all_of_them_and_over_in_all_of_them(worker):
    one, other = worker(), worker()
    done = one.console.act({"upstream": "payments", "what": "retries off", "seconds": 3}, "ann")
    begun = time.monotonic()
    assert done["reaches"].startswith("all processes")
    assert one.switches() == ["retries off"]
    within(5, lambda: other.switches() == ["retries off"])
    assert time.monotonic() - begun < 2.0
    [switch] = other.resilience.status()["upstreams"]["payments"]["switches"]
    assert switch["by"] == "ann"
    assert switch["for"] == pytest.approx(3 - (time.monotonic() - begun), abs=0.3)
    within(10, lambda: other.switches() == [] and one.switches() == [])


def test_one_that_starts_later_does_it_too_for_what_is_left(worker):
    one = worker()
    one.console.act({"upstream": "payments", "what": "shed", "share": 0.5, "seconds": 60}, "ann")
    time.sleep(1.5)
    late = worker()
    within(5, lambda: late.switches() == ["shed 0.5"])
    assert 55 < late.resilience.status()["upstreams"]["payments"]["switches"][0]["for"] < 58.8


def test_what_was_lifted_is_not_thrown_again_by_one_that_starts_later(worker):
    one, other = worker(), worker()
    one.console.act({"upstream": "payments", "what": "retries off", "seconds": 60}, "ann")
    within(5, lambda: other.switches() == ["retries off"])
    other.console.act({"upstream": "payments", "what": "lift"}, "bob")
    within(5, lambda: one.switches() == [])
    late = worker()
    time.sleep(1.5)
    assert late.switches() == []


def test_nobody_writes_how_he_stands_while_nobody_looks(worker):
    one, other = worker(), worker()
    other.call()
    time.sleep(1.5)
    with worker.server.client() as redis:
        assert not list(redis.scan_iter("*:console:shows:*"))
        within(10, lambda: known(one) == 2)
        assert list(redis.scan_iter("*:console:shows:*"))
        assert all(redis.pttl(key) > 0 for key in redis.scan_iter("*:console:*"))


def test_one_that_has_ended_is_gone_at_once(worker):
    one, other = worker(), worker()
    within(10, lambda: known(one) == 2)
    other.resilience.close()
    within(5, lambda: known(one) == 1)


def test_when_redis_is_away_the_page_goes_on_alone_and_an_action_reaches_the_others_later(worker):
    one, other = worker(), worker()
    within(10, lambda: known(one) == 2)
    worker.server.kill()
    within(10, lambda: known(one) == 1 and one.console.snapshot()["shared"]["connected"] is False)
    one.console.act({"upstream": "payments", "what": "retries off", "seconds": 60}, "ann")
    assert one.switches() == ["retries off"]
    assert one.resilience.status()["shared"]["actions_to_tell"] == 1
    worker.server.start()
    within(10, lambda: other.switches() == ["retries off"])
    assert one.resilience.status()["shared"]["actions_to_tell"] == 0


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"upstreams": []}', '{"upstreams": {"payments": {}}}', "5", '{"action": {"upstream": "payments"}}',
     '{"action": {"upstream": "no-such", "what": "lift"}, "by": "x"}', '{"action": {"what": "shed"}, "by": null}',
     "[" * 9000],
)  # fmt: skip
def test_what_a_stranger_has_written_is_left_out(worker, text):
    one = worker()
    with worker.server.client() as redis:
        prefix = "resilient-http:console"
        redis.zadd(f"{prefix}:processes", {"stranger": int(time.time()) + 100})
        redis.set(f"{prefix}:shows:stranger", text, px=20_000)
        redis.zadd(f"{prefix}:actions", {"1": 1, "2": 2})
        redis.set(f"{prefix}:action:1", text, px=20_000)
    one.console.snapshot()
    time.sleep(2.2)
    snapshot = one.console.snapshot()
    assert len(snapshot["processes"]) == 1
    assert snapshot["shared"]["connected"] is True
    assert one.switches() == []


def of_another_version(snapshot, change):
    """How a process stands that differs from ours in one thing."""
    theirs = {**copy.deepcopy(snapshot), "process": "stranger"}
    change(theirs, theirs["upstreams"]["payments"])
    return json.dumps(theirs)


@pytest.mark.parametrize(
    "change",
    [
        lambda _, row: row.pop("series"),
        lambda one, _: one.pop("enabled"),
        lambda one, _: one.update(pid="x"),
        lambda one, _: one.update(host=5),
        lambda one, _: one.update(process="somebody else"),
        lambda one, _: one.update(degraded=5),
        lambda one, _: one.update(started=float("nan")),
        lambda _, row: row["series"].update(end="x"),
        lambda _, row: row["endpoints"][0]["circuit"].update(state="ajar"),
        lambda _, row: row.update(retry_budget={"tokens": "x"}),
    ],
    ids=range(10),
)
def test_who_cannot_be_shown_beside_the_others_is_left_out(worker, change):
    one = worker()
    one.call()
    with worker.server.client() as redis:
        prefix = "resilient-http:console"
        for name, text in [
            ("stranger", of_another_version(one.console._stands(), change)),
            ("twin", of_another_version(one.console._stands(), lambda them, _: them.update(process="twin"))),
        ]:
            redis.zadd(f"{prefix}:processes", {name: int(time.time()) + 100})
            redis.set(f"{prefix}:shows:{name}", text, px=20_000)
    within(10, lambda: known(one) == 2)
    time.sleep(1.2)
    assert {"twin", one.console._process} == {each["process"] for each in one.console.snapshot()["processes"]}
    assert one.console.snapshot("twin")["shown"] == "twin"
    with pytest.raises(KeyError, match="may have ended"):
        one.console.snapshot("stranger")


def stranger(redis, told):
    """Has another process say that of itself."""
    prefix = "resilient-http:console"
    redis.zadd(f"{prefix}:processes", {"stranger": int(time.time()) + 100})
    redis.set(f"{prefix}:shows:stranger", told, px=20_000)


@pytest.mark.parametrize(
    "strange", [{"at": "x"}, {"attempts": None}, {"attempts": [{}]}, {"took": "x"}, {"notes": [5]}]
)
def test_of_its_calls_those_that_make_no_sense_are_left_out(worker, strange):
    one = worker()
    one.status = 503
    one.call()
    (call,) = one.console._stands()["degraded"]

    def change(them, _):
        them.update(degraded=[{**call, **strange}, {**call, "took": 7.0}])

    with worker.server.client() as redis:
        stranger(redis, of_another_version(one.console._stands(), change))
    within(10, lambda: known(one) == 2)
    assert {each["took"] for each in one.console.snapshot()["degraded"]} == {7.0, call["took"]}


AHEAD = """
import json, sys, time
real = time.time
time.time = lambda: real() + 86_400
import httpx
from resilient_http import Resilience

resilience = Resilience(json.loads(sys.argv[1]))
console = resilience.console
client = resilience.client(transport=httpx.MockTransport(lambda _: httpx.Response(503)))
print("ready", flush=True)
for line in sys.stdin:
    client.get("http://payments/")
"""


def test_a_process_whose_clock_is_a_day_ahead_is_in_the_charts_of_today(worker):
    one = worker()
    settings = {
        "shared": {"redis": worker.server.url, "interval": 0.05},
        "upstreams": {"payments": {"endpoints": [N1], "retry": None}},
    }
    command = [sys.executable, "-c", AHEAD, json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        one.status = 503
        one.call(3)
        other.stdin.write("call\n")
        other.stdin.flush()

        def charted():
            return sum(one.console.snapshot()["upstreams"]["payments"]["series"]["calls"])

        within(20, lambda: charted() == 4)
        snapshot = one.console.snapshot()
        other.stdin.close()
    theirs = next(each for each in snapshot["processes"] if each["process"] != snapshot["answered_by"])
    assert theirs["note"].startswith("its clock is 86")
    assert "ahead" in theirs["note"]
    series = snapshot["upstreams"]["payments"]["series"]
    assert series["end"] * series["step"] == pytest.approx(time.time(), abs=15.0)


def test_an_action_that_is_refused_is_told_to_nobody(worker):
    one = worker()
    with pytest.raises(ActionRefused):
        one.console.act({"upstream": "no-such", "what": "retries off", "seconds": 3}, "ann")
    assert one.resilience.status()["shared"]["actions_to_tell"] == 0


FORKED = """
import json, os, sys, time
import httpx
from resilient_http import Resilience

resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://n1"]}}})
console = resilience.console
client = resilience.client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))
client.get("http://payments/")
child = os.fork()
if child == 0:
    before = console.snapshot()
    client.get("http://payments/"); client.get("http://payments/")
    time.sleep(0.6)
    after = console.snapshot()
    calls = [each["upstreams"]["payments"]["traffic"]["calls"] for each in (before, after)]
    print(json.dumps([calls, after["processes"][0]["pid"] == os.getpid(), len(resilience._hub.listeners)]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
time.sleep(0.6)
print(json.dumps(console.snapshot()["upstreams"]["payments"]["traffic"]["calls"]))
"""


def test_a_forked_child_begins_anew():
    ran = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=50, check=False)
    assert ran.stderr == ""
    child, parent = map(json.loads, ran.stdout.splitlines())
    assert child == [[0, 2], True, 1]
    assert parent == 1
