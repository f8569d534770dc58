"""nginx's max_fails and fail_timeout, as docs/health.md expresses them, behave as nginx's documentation says.

Source: https://nginx.org/en/docs/http/ngx_http_upstream_module.html#server: "the number of unsuccessful attempts to
communicate with the server that should happen in the duration set by the fail_timeout parameter to consider the server
unavailable for a duration also set by the fail_timeout parameter".
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from resilient_http.state.outcome import Fault
from tests.simulation.world import REFUSE, World, by_host

PAGE = Path(__file__).parents[2] / "docs" / "health.md"


def like_nginx(**parameters: Any) -> dict[str, Any]:
    """The function of the page."""
    (source,) = re.findall(r"^(def like_nginx.*?\n)\n\n", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    scope: dict[str, Any] = {}
    exec(source, scope)
    return scope["like_nginx"](**parameters)


def attempts_at_n1(answer, *, seconds: float, rate: float = 3.0, **parameters: Any) -> list[float]:
    """When n1, one of three in turn, was tried: once a second with three calls a second, if it is not out."""
    endpoints = ["http://n1", "http://n2", "http://n3"]
    circuit = like_nginx(**parameters)
    tried: list[float] = []

    def n1(attempt, now):
        tried.append(round(now, 1))
        return answer(now)

    retry = {"backoff": {"base": 0.001, "cap": 0.001}, "budget": None}  # the next one is tried at once
    world = World(by_host(n1=n1, n2=200, n3=200), endpoints=endpoints, circuit=circuit, balance="weighted", retry=retry)
    made = list(world.traffic(calls=int(seconds * rate), rate=rate))
    assert all(one.good for one in made)
    return tried


def test_max_fails_within_fail_timeout_take_it_out_for_that_long_then_one_call_tries_it():
    tried = attempts_at_n1(lambda now: REFUSE, seconds=40, max_fails=3, fail_timeout=10)
    assert len(tried) == 6
    first, _, third, *tries = tried
    assert third - first <= 3.0
    before = third
    for one in tries:
        assert 10.0 <= one - before <= 11.5
        before = one


def test_one_good_answer_after_that_and_it_is_used_as_before():
    tried = attempts_at_n1(lambda now: REFUSE if now < 8 else 200, seconds=40, max_fails=3, fail_timeout=10)
    assert tried[3] - tried[2] >= 10.0
    assert len(tried[3:]) == pytest.approx(40 - tried[3], abs=2)


def test_failures_further_apart_than_fail_timeout_never_do():
    turns = itertools.count()
    # Every sixth attempt, so every sixth second: never three within ten.
    tried = attempts_at_n1(lambda now: 200 if next(turns) % 6 else REFUSE, seconds=60, max_fails=3, fail_timeout=10)
    assert len(tried) > 50


def test_one_failure_is_enough_by_default():
    tried = attempts_at_n1(lambda now: REFUSE if now < 1.5 else 200, seconds=30)
    assert 10.0 <= tried[1] - tried[0] <= 11.5
    assert len(tried) == pytest.approx(30 - tried[1], abs=3)


@pytest.mark.parametrize("answer", [500, 502, 503, 504, 404, 403])
def test_a_status_is_no_failure_unless_told_so(answer):
    world = World(by_host(n1=answer), circuit=like_nginx(max_fails=1), retry=None)
    assert [made.status for made in world.traffic(calls=20, rate=10)] == [answer] * 20


@pytest.mark.parametrize("answer", [REFUSE, (0.02, Fault.BROKEN), (5.0, 200)], ids=["refused", "broken off", "timeout"])
def test_an_error_and_a_timeout_are(answer):
    world = World(by_host(n1=answer), circuit=like_nginx(max_fails=1), retry=None)
    world.make()
    assert world.endpoint("n1").circuit.current_state == "open"
