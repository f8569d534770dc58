"""A rate limit that several processes share through a real Redis."""

from __future__ import annotations

import os
import random
import signal
import time

import httpx
import pytest

from resilient_http import Resilience
from resilient_http.state.leased_bucket import Ask
from resilient_http.upstreams.shared_rates import LEASE, NOW
from tests.live.servers import answer
from tests.live.sharing_process import KINDS, processes, within
from tests.state.leases import AWAITED, SharedBucket

RATE = 60
KEY = "resilient-http:rate:payments"


@pytest.fixture(name="start")
def _start():
    with processes() as start:
        yield start


@pytest.fixture
def redis(redis_server):
    return redis_server("hunter2")


@pytest.fixture
def server(fault_server):
    return fault_server(lambda request: answer(200))


def sharing(server, url, *, rate_limit=None, **shared):
    return {
        "shared": {"redis": url, "interval": 0.15, "expires": 0.6, **shared},
        "upstreams": {
            "payments": {
                "endpoints": [server.url],
                "retry": None,
                "rate_limit": {"rate": RATE, "shared": True, **(rate_limit or {})},
            }
        },
    }


def connected(process):
    return process.status()["shared"]["connected"]


def ready(*all_of_them):
    """Each has called once, and knows the others."""
    for process in all_of_them:
        process.call("/good")
    for process in all_of_them:
        within(5.0, lambda process=process: rates(process) == {"processes": len(all_of_them), "alone": False})
        within(5.0, lambda process=process: tokens(process) > 1)


def rates(process):
    return process.status()["shared"]["rates"]["payments"]


def tokens(process):
    return process.status()["upstreams"]["payments"]["rate_limit"]["tokens"]


def flood(seconds, *all_of_them, gaps=None):
    """Each makes calls for so long, all at once. What each saw."""
    for process, gap in zip(all_of_them, gaps or [0.002] * len(all_of_them), strict=True):
        process.begin_flood(seconds, gap)
    return [process.end_flood() for process in all_of_them]


def over(went, rate=RATE, burst=RATE):
    """By how much the worst span of time is above the rate and the burst; below 0 when none is."""
    went = sorted(went)
    return max(
        last - first + 1 - burst - rate * (went[last] - went[first])
        for first in range(len(went))
        for last in range(first, len(went))
    )


def test_all_together_have_the_rate_and_each_its_part_and_a_busy_one_what_idle_ones_leave(start, server, redis):
    settings = sharing(server, redis.url)
    everybody = [start(kind, settings) for kind in KINDS]
    ready(*everybody)
    saw = flood(2.0, *everybody)

    went = [at for each in saw for at in each["went"]]
    assert over(went) <= 0.5  # a call is timed before it takes its token
    assert len(went) >= 0.8 * (2.0 * RATE + RATE / 2)  # the idle ones had leased half of the burst
    assert min(len(each["went"]) for each in saw) >= 0.5 * len(went) / 3
    assert all(each["refused"] for each in saw)

    # Each holds its part of half the burst again: nobody wants what the flood had it want.
    within(3.0, lambda: all(tokens(process) >= RATE // 6 for process in everybody))
    busy, *idle = flood(1.0, *everybody, gaps=[0.002, 0.3, 0.3])
    assert len(busy["went"]) >= 0.8 * RATE
    assert [each["refused"] for each in idle] == [0, 0]


def test_one_that_waits_has_its_turn(start, server, redis):
    settings = sharing(server, redis.url, rate_limit={"rate": 20, "burst": 10, "wait": 1.0})
    a, b = start("sync", settings), start("asyncio", settings)
    ready(a, b)
    saw = flood(1.0, a, b, gaps=[0.0, 0.0])

    went = [at for each in saw for at in each["went"]]
    assert [each["refused"] for each in saw] == [0, 0]
    assert 0.8 * 20 <= len(went) <= 32


def test_when_one_is_killed_the_others_have_its_part(start, server, redis):
    a, b = (start("sync", sharing(server, redis.url)) for _ in range(2))
    ready(a, b)
    os.kill(b.pid, signal.SIGKILL)
    within(2.0, lambda: rates(a)["processes"] == 1)
    (saw,) = flood(0.6, a)

    assert 0.8 * 0.6 * RATE <= len(saw["went"]) <= 1.6 * RATE + 2


def test_with_redis_away_no_call_is_held_up_and_each_has_its_share_and_says_so_until_it_is_back(start, server, redis):
    a, b = (start("sync", sharing(server, redis.url, max_backoff=0.3)) for _ in range(2))
    ready(a, b)
    redis.freeze()
    saw = flood(1.0, a, b)
    assert max(each["slowest"] for each in saw) < 0.2
    assert 0.8 * RATE <= sum(len(each["went"]) for each in saw) <= 2 * RATE + 2
    assert rates(a) == {"processes": 2, "alone": True}

    redis.kill()
    within(3.0, lambda: not connected(a) and not connected(b))
    redis.start()
    within(3.0, lambda: all(rates(process) == {"processes": 2, "alone": False} for process in (a, b)))
    saw = flood(0.5, a, b)
    assert sum(len(each["went"]) for each in saw) >= 0.8 * RATE / 2
    assert [each.partition("(")[0] for each in a.events() if "Sharing" in each] == ["SharingLost", "SharingRestored"]


def test_every_key_expires_and_says_nothing_of_one_that_has_ended(start, server, redis):
    settings = sharing(server, redis.url, rate_limit={"burst": 15})
    process = start("sync", settings)
    ready(process)
    with redis.client() as client, Resilience(settings) as own:
        with own.client() as calling:
            calling.get("http://payments/good")
            within(3.0, lambda: len(client.hgetall(KEY)) == 4)  # two processes, and two numbers
        assert client.keys() == [KEY]
        assert 0 < client.pttl(KEY) <= 1450
        own.close()
        within(3.0, lambda: len(client.hgetall(KEY)) == 3)
        process.kill()
        within(4.0, lambda: not client.keys())


def test_the_first_call_goes_before_redis_was_asked(server, redis):
    redis.freeze()
    with Resilience(sharing(server, redis.url)) as own, own.client() as client:
        began = time.monotonic()
        assert client.get("http://payments/good").status_code == 200
        assert time.monotonic() - began < 0.2
    redis.thaw()


def test_an_unnamed_upstream_shares_too(redis):
    settings = {
        "shared": {"redis": redis.url},
        "defaults": {"rate_limit": {"rate": 5, "burst": 5, "shared": True}, "circuit": None},
    }
    engine = httpx.MockTransport(lambda request: httpx.Response(200))
    with Resilience(settings) as own, own.client(transport=engine) as client, redis.client() as looking:
        client.get("http://pay.example/")
        within(3.0, lambda: looking.keys() == ["resilient-http:rate:http://pay.example"])


def test_the_script_does_what_the_model_does(redis):
    """The model is what tests/state goes by."""
    rng = random.Random(7)
    with redis.client() as client:
        script = client.register_script(LEASE.replace(NOW, "local now = tonumber(ARGV[13])\n"))
        for rate, burst in [(60.0, 60.0), (7.5, 2.0), (0.5, 9.0)]:
            model, now = SharedBucket(rate, burst), 1_700_000_000.0
            client.delete(KEY)
            for _ in range(300):
                now += rng.choice([0.0, 0.05, 0.3, 2.5]) * rng.random()
                me, held = f"process{rng.randrange(4)}", rng.randrange(4)
                ask = Ask(
                    held, rng.randrange(3), rng.randrange(8), rng.choice([0, 0, 0, 2]), rng.random() < 0.9,
                    rng.choice([0, 0, 0, 5]),
                )  # fmt: skip
                now = round(now, 3)
                told = script(
                    [KEY],
                    [me, rate, burst, 2.0, 0.5, ask.held, ask.back, ask.want, ask.spent, int(ask.known), ask.crowd,
                     AWAITED, now],
                )  # fmt: skip
                expected = model.lease(me, ask, now)
                assert told[:3] == [expected.granted, expected.processes, expected.claimants]
                assert float(told[3]) == pytest.approx(expected.level, abs=1e-3)
