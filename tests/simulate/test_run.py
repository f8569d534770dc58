"""Whole runs: what is told of them is what happened, they can be repeated to the last digit, and they do not grow."""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from resilient_http import plan
from resilient_http.settings.models import Settings
from resilient_http.simulate import Scenario, load_scenario, plain, simulate, table_of

THREE = ["http://n1", "http://n2", "http://n3"]
CALM = {"duration": 10.0, "rate": 100, "every": {"latency": {"median": 0.02, "sigma": 0.4}}}


def settings(root=None, **own):
    return Settings(**(root or {}), upstreams={"payments": {"endpoints": THREE, **own}})


def run(*phases, seed=1, root=None, scenario=None, **own):
    first, *others = phases
    return simulate(settings(root, **own), Scenario(phases=[{**CALM, **first}, *others], **(scenario or {})), seed=seed)


# What is told


def test_a_calm_run():
    result = run({})
    assert result.total.calls == pytest.approx(1000, rel=0.1)
    assert result.total.success == 1.0
    assert result.total.requests == 1.0
    assert result.total.useful == pytest.approx(1.0, abs=0.01)
    assert result.total.p50 == pytest.approx(0.02, rel=0.1)
    assert 0.03 < result.total.p99 < 0.08
    assert result.total.circuits_open == 0.0
    assert (result.total.begin, result.total.end) == (0.0, 10.0)


def test_faults_that_are_injected_on_purpose_are_left_out():
    allowed = {"chaos": {"allowed": ["payments"]}}
    chaos = {"chaos": {"error": 503, "lasts": 60}, "routes": {"GET /a": {"chaos": {"latency": 1, "lasts": 60}}}}
    assert run({}, root=allowed, **chaos).total.success == 1.0


def test_calls_in_step_come_in_step():
    result = run({"arrivals": "constant"})
    assert {one.calls for one in result.series} <= {49, 50, 51}


def test_every_call_is_one_of_the_kinds():
    result = run({"deadline": 0.5}, {"duration": 10, "every": {"failures": 0.3, "workers": 1, "latency": 0.1}})
    assert sum(result.total.kinds.values()) == result.total.calls
    assert sum(one.calls for one in result.series) == result.total.calls
    assert sum(phase.calls for phase in result.phases) == result.total.calls
    assert result.phases[1].kinds["exceeded"] + result.phases[1].kinds["refused"] > 100


def test_phases_are_found_by_name():
    result = run({"name": "calm"})
    assert result.phase("calm") is result.phases[0]
    with pytest.raises(KeyError, match="known: calm"):
        result.phase("storm")


def test_a_dead_node_costs_nobody_anything():
    result = simulate(settings(), load_scenario("dead-node"))
    dead = result.phase("dead")
    assert dead.success >= 0.999
    assert dead.requests <= 1.02
    assert dead.circuits_open > 0.0


def test_circuits_of_nodes_that_are_all_dead_are_open():
    result = run({}, {"duration": 20, "every": {"outage": "refuse"}})
    assert 0.9 < result.phases[1].circuits_open <= 1.0
    assert result.series[-1].circuits_open == pytest.approx(1.0)
    assert result.phases[1].kinds["refused"] > 0.9 * result.phases[1].calls
    assert result.phases[1].requests < 0.01


def test_retries_are_requests_and_their_decisions_are_counted():
    result = run({"every": {"failures": 0.1}}, circuit=None)
    assert 1.05 < result.total.requests < 1.2
    assert result.decisions["retries"]["made"] > 50
    assert result.total.budget == pytest.approx(result.series[-1].budget)


def test_writes_are_not_repeated():
    bad = {"every": {"failures": 0.2}}
    assert run({**bad, "writes": 1.0}).total.success == pytest.approx(0.8, abs=0.05)
    assert run(bad).total.success > 0.95


def test_hedges_are_sent():
    result = run({"every": {"latency": {"median": 0.02, "tail": {"share": 0.05, "least": 0.5}}}}, hedge={"delay": 0.1})
    assert result.decisions["hedges"]["won"] > 10
    assert result.total.p99 < 0.3


def test_a_fallbacks_answer_is_one_of_its_own():
    result = run({}, {"duration": 5, "every": {"outage": 503}}, fallback={"response": {"body": []}})
    assert result.phases[1].kinds["fallback"] == result.phases[1].calls
    assert result.phases[1].success == 1.0
    assert result.phases[1].goodput == 0.0


def test_a_caller_that_leaves_is_given_no_answer_and_work_for_him_is_none_of_use():
    slow = {"deadline": 0.5, "every": {"latency": 0.6}}
    told = run(slow, circuit=None, retry=None)
    assert told.total.success == 0.0
    assert told.total.kinds["exceeded"] == told.total.calls
    assert told.total.useful == 0.0
    assert told.total.p99 == pytest.approx(0.45)  # 50 ms are kept for answering
    untold = run(slow, circuit=None, retry=None, root={"inbound": {"deadline_headers": []}})
    assert untold.total.kinds["late"] == untold.total.calls
    assert untold.total.p99 == 0.5


def test_a_server_that_heeds_deadlines_does_less_in_vain():
    stalled = [
        {"deadline": 0.5, "every": {"latency": 0.1, "workers": 5, "queue": 500}},
        {"duration": 5, "every": {"outage": "hang"}},
        {"duration": 5, "every": {"outage": "none"}},
    ]
    off = {"circuit": None, "retry": None, "deadline_header": "x-request-timeout-ms"}
    blind = run(*stalled, **off).phases[2]
    stalled[0]["every"]["heeds_deadline"] = True
    heeding = run(*stalled, **off).phases[2]
    assert blind.success < 0.7
    assert heeding.success > 0.95


def test_sockets_wait_no_longer_than_their_phases():
    off = {"circuit": None, "retry": None, "timeout": {"connect": 0.25, "read": 0.75}}
    for outage, waited in [("unreachable", 0.25), ("hang", 0.75)]:
        result = run({"every": {"outage": outage}}, **off)
        assert result.total.kinds["failed"] == result.total.calls
        assert result.total.p50 == pytest.approx(waited)


def test_a_call_that_nothing_bounds_is_never_answered():
    none = dict.fromkeys(("total", "attempt", "connect", "read", "write", "pool"))
    result = run({"every": {"outage": "hang"}}, circuit=None, timeout=none, root={"inbound": {"timeout": None}})
    assert result.total.kinds["late"] == 200  # as many permits, and places in the queue, as there are
    assert result.total.kinds["refused"] == result.total.calls - 200


def test_processes_have_circuits_of_their_own():
    dead = [{"rate": 50}, {"duration": 10, "every": {"outage": "refuse"}}]
    one, many = run(*dead), run(*dead, scenario={"clients": 10})
    assert many.clients == 10
    # Each has to learn it by itself.
    assert 5 * one.phases[1].kinds["failed"] < many.phases[1].kinds["failed"]


def test_a_hash_balances_by_keys():
    result = run({}, balance={"by": "hash", "header": "x-tenant"})
    assert result.total.success == 1.0


def test_disabled_it_is_plain_httpx():
    result = run({"every": {"failures": 0.2}}, root={"enabled": False})
    assert result.total.success == pytest.approx(0.8, abs=0.05)


async def passed_on(call, proceed):
    return await proceed(call)


def test_code_of_the_users_is_left_out_and_that_is_told():
    own = {
        "health": "/health",
        "middleware": {"call": [passed_on]},
        "retry": {"classify": lambda outcome: None},
        "balance": {"by": "hash", "key": lambda request: "k"},
        "fallback": {"function": lambda call, failure: None},
        "circuit": {"shared": {}},
        "rate_limit": {"rate": 1000, "shared": True},
    }
    result = run({"duration": 1.0}, root={"shared": {"redis": "redis://x"}}, **own)
    assert result.left_out == (
        "health", "middleware", "fallback", "retry.classify", "balance.key", "circuit.shared", "rate_limit.shared",
    )  # fmt: skip
    assert "left out: health, middleware, fallback," in result.as_table()


def test_nodes_that_are_still_to_be_found_have_others_stand_in_for_them():
    found = Settings(upstreams={"payments": {"discovery": {"dns": {"name": "payments.svc", "port": 8080}}}})
    short = Scenario(phases=[{**CALM, "duration": 1.0}])
    for each in (found, plain(found)):
        result = simulate(each, short)
        assert result.nodes == ("http://node-1", "http://node-2", "http://node-3")
        assert result.total.success == 1.0
    assert "discovery" in simulate(found, short).left_out[0]
    assert plan(found).upstream("payments").as_dict()["endpoints"] == 3


def test_the_only_upstream_is_meant_or_one_that_is_named():
    two = Settings(upstreams={"a": {"endpoints": THREE}, "b": {"endpoints": THREE[:1]}})
    short = Scenario(phases=[{**CALM, "duration": 1.0}])
    assert simulate(two, short, upstream="b").nodes == ("http://n1",)
    with pytest.raises(KeyError, match="which upstream"):
        simulate(two, short)
    with pytest.raises(KeyError, match="no upstream 'c'; known: a, b"):
        simulate(two, short, upstream="c")


# A service that stays down under plain retries


@functools.cache
def metastable():
    ours = Settings(upstreams={"payments": {"endpoints": [f"http://10.0.0.{node}:8080" for node in (1, 2, 3)]}})
    scenario = load_scenario("metastable")
    return {"the defaults": simulate(ours, scenario), "plain retries": simulate(plain(ours), scenario)}


def test_plain_retries_keep_a_service_down_that_the_defaults_let_recover():
    recovered, kept_down = metastable().values()

    assert kept_down.phase("calm").success > 0.99
    assert recovered.phase("calm").success > 0.99
    # Forty-five seconds after its cause is over, with as many workers as before, and as many calls:
    last = [[one for one in result.series if one.begin >= 85.0] for result in (kept_down, recovered)]
    assert max(one.success for one in last[0]) < 0.05
    assert min(one.success for one in last[1]) > 0.99
    assert min(one.requests for one in last[0]) > 2.5
    assert kept_down.phase("as before").useful < 0.05
    assert recovered.phase("as before").useful > 0.95


def test_the_docs_show_the_table_of_that():
    page = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()
    assert table_of(metastable()) in page, "run: python docs/pictures/scenarios.py --tables-only"


def test_it_would_stay_up_under_plain_retries_but_for_those_ten_seconds():
    calm = load_scenario("metastable")
    steady = calm.model_copy(update={"phases": (calm.phases[0].model_copy(update={"duration": 60.0}),)})
    assert simulate(plain(settings()), steady).total.success > 0.99


# The same again


def fingerprint(seed=1):
    result = run({}, {"duration": 5, "nodes": {"1": {"failures": 0.5}}}, seed=seed)
    return hashlib.sha256(json.dumps(result.as_dict()).encode()).hexdigest()


def test_the_same_seed_is_the_same_run_to_the_last_digit_also_in_another_process():
    code = "from tests.simulate.test_run import fingerprint; print(fingerprint())"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    assert told == {fingerprint()}


def test_another_seed_is_another_run():
    assert fingerprint(1) != fingerprint(2)


def test_calls_come_at_the_same_instants_whatever_the_settings():
    one, other = run({"every": {"failures": 0.5}}), run({"every": {"failures": 0.5}}, retry=None, circuit=None)
    assert [each.calls for each in one.series] == [each.calls for each in other.series]


def test_two_runs_in_one_table():
    scenario = Scenario(phases=[{**CALM, "duration": 1.0, "name": "calm"}])
    table = table_of({name: simulate(settings(), scenario) for name in ("before", "after")})
    head, before, after, *_ = (line.split() for line in table.splitlines()[2:])
    assert head[:2] == ["phase", "settings"]
    assert before[:4] == ["calm", "(0-1", "s)", "before"]
    assert after == ["after", *before[4:]]


# Memory


def peak(duration):
    """Most bytes that were in use at once, and points of the series."""
    scenario = Scenario(
        clients=2,
        phases=[
            {
                **CALM,
                "rate": 60,
                "duration": duration,
                "deadline": 1.0,
                "every": {"latency": 0.02, "failures": 0.05, "workers": 9},
            }
        ],
    )
    gc.collect()
    tracemalloc.start()
    result = simulate(settings(), scenario)
    bytes_, _ = tracemalloc.get_traced_memory()[1], tracemalloc.stop()
    return bytes_, len(result.series), result.total.calls


def test_a_run_twice_as_long_takes_no_more_memory():
    peak(5.0)  # what is imported, and cached, once
    short, points, calls = peak(120.0)
    long, more, many = peak(240.0)
    assert many > 1.9 * calls
    assert (points, more) == (240, 240)
    assert long < 1.15 * short
