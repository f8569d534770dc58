"""Together: what several processes say of an upstream, as one."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http import Resilience
from resilient_http.console.changes import changed
from resilient_http.console.kept import Kept
from resilient_http.console.together import picture, together
from resilient_http.console.trouble import trouble_of
from resilient_http.health_report import report_of

NOW = time.time()


def rows(status=200, calls=4, **own):
    """The rows of a process, as it tells them to others."""
    resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://n1", "http://n2"], **own}}})
    console = resilience.console
    with resilience, resilience.client(transport=httpx.MockTransport(lambda _: httpx.Response(status))) as client:
        for _ in range(calls):
            client.post("http://payments/")
        return json.loads(json.dumps(console._stands()))["upstreams"]


def circuit(row, at, state, **own):
    row["endpoints"][at]["circuit"] |= {"state": state, "cause": "failure rate", "retry_in": 4.0, **own}


def test_counts_permits_and_budgets_are_added_up():
    one, other = rows(200, 4), rows(503, 6)
    one["payments"]["concurrency"] |= {"in_flight": 3, "queued": 1}
    other["payments"]["concurrency"] |= {"in_flight": 4}
    row = together([one, other], NOW)["payments"]
    assert (row["traffic"]["calls"], row["traffic"]["success"]) == (10, 0.4)
    assert row["concurrency"] | {"decisions": None} == {
        "in_flight": 7, "queued": 1, "limit": 200, "queue": 200, "usual": None, "decisions": None,
    }  # fmt: skip
    budgets = [each["payments"]["retry_budget"]["tokens"] for each in (one, other)]
    assert row["retry_budget"]["tokens"] == pytest.approx(sum(budgets), abs=0.01)


def test_quantiles_are_those_of_all_calls_together():
    one, other = rows(), rows()
    one["payments"]["traffic"] |= {"good": 99, "latency": {"100": 99}, "longest": 1.0}
    other["payments"]["traffic"] |= {"good": 1, "latency": {"200": 1}, "longest": 60.0}
    alone = together([other], NOW)["payments"]["traffic"]
    both = together([one, other], NOW)["payments"]["traffic"]
    assert both["p50"] == both["p99"] < alone["p50"] == alone["p99"]


def test_of_an_endpoint_the_worst_circuit_is_shown_and_who_says_what():
    one, other, third = rows(), rows(), rows()
    circuit(other["payments"], 0, "open")
    row = together([one, other, third], NOW)["payments"]
    states = [each["circuit"] for each in row["endpoints"]]
    assert [(each["state"], each["said"]) for each in states] == [
        ("open", {"closed": 2, "open": 1}),
        ("closed", {"closed": 3}),
    ]
    assert row["trouble"]["why"] == ["1 of 2 circuits open"]


def test_series_are_laid_over_each_other_by_their_instants():
    one, other = rows(), rows()
    columns = ("p50", "p95", "p99")
    one["payments"]["series"] = {"step": 5.0, "end": 10, "calls": [1, 2, 3], "bad": [0, 0, 1]} | {
        key: [0.1, None, 0.3] for key in columns
    }
    other["payments"]["series"] = {"step": 5.0, "end": 11, "calls": [5, 7], "bad": [0, 0]} | {
        key: [0.2, 0.4] for key in columns
    }
    series = together([one, other], 62.0)["payments"]["series"]
    assert series["end"] == 11
    assert series["calls"] == [1, 2, 8, 7]
    assert series["bad"] == [0, 0, 1, 0]
    assert series["p95"] == [0.1, None, 0.3, 0.4]


def process(name, newest, step=5.0, calls=(1, 2, 3), at=()):
    """As it stands: its newest slice is `newest`; it had degraded calls then."""
    row = rows()
    row["payments"]["series"] = {"step": step, "end": newest, "calls": list(calls), "bad": [0] * len(calls)} | {
        key: [None] * len(calls) for key in ("p50", "p95", "p99")
    }
    return {
        "process": name, "pid": 1, "host": name, "started": 0.0, "time": (newest + 1.5) * step, "enabled": True,
        "upstreams": row, "degraded": [{"at": each} for each in at],
    }  # fmt: skip


def drawn(*processes):
    shown = picture(processes, processes)
    return shown["upstreams"]["payments"]["series"], {each["process"]: each["note"] for each in shown["processes"]}


@pytest.mark.parametrize(
    ("off", "says"), [(720, "3600 s ahead"), (-720, "3600 s behind"), (10**8, "500000000 s ahead")]
)
def test_a_clock_that_is_far_off_pushes_nobodys_points_out(off, says):
    series, notes = drawn(process("own", 1000), process("other", 1000 + off, calls=(5, 7)))
    assert (series["end"], series["calls"]) == (1000, [1, 7, 10])
    assert notes == {"own": None, "other": f"its clock is {says}, so in the charts it is moved to ours"}


def test_one_that_was_heard_of_some_seconds_ago_is_where_it_was():
    series, notes = drawn(process("own", 1000), process("other", 998, calls=(5, 7)))
    assert (series["end"], series["calls"]) == (1000, [5, 8, 2, 3])
    assert notes == {"own": None, "other": None}


def test_an_upstream_that_only_others_know_is_by_our_clock_too():
    own, ahead, right = process("own", 1000), process("ahead", 9000, calls=(5, 7)), process("right", 1000, calls=(1, 1))
    own["upstreams"]["stock"] = own["upstreams"].pop("payments")
    series, _ = drawn(own, ahead, right)
    assert (series["end"], series["calls"]) == (1000, [6, 8])


def test_slices_of_another_length_are_not_in_the_charts_of_all():
    series, notes = drawn(process("own", 1000), process("other", 5002, step=1.0, calls=(5, 7)))
    assert (series["end"], series["calls"]) == (1000, [1, 2, 3])
    assert notes["other"] == "its console.span is not the same, so the charts of all are without it"


def test_calls_of_one_whose_clock_is_ahead_do_not_stand_before_all_others():
    own, other = process("own", 1000, at=[5001.0, 5003.0]), process("other", 2000, at=[10_002.0, 9_000.0])
    told = picture([own, other], [own, other])["degraded"]
    assert [(each["host"], each["at"]) for each in told] == [
        ("own", 5003.0), ("other", 10_002.0), ("own", 5001.0), ("other", 9_000.0),
    ]  # fmt: skip


def test_one_that_knows_no_upstream_is_judged_by_what_time_it_says_that_it_is():
    own, other = process("own", 1000), process("other", 1100)
    other["upstreams"] = {}
    assert drawn(own, other)[1]["other"] == "its clock is 500 s ahead, so in the charts it is moved to ours"


def test_one_that_only_some_know_is_there():
    one, other = rows(), rows()
    other["stock"] = other.pop("payments")
    assert set(together([one, other], NOW)) == {"payments", "stock"}


def test_what_is_switched_is_told_once_and_for_as_long_as_it_lasts_anywhere():
    one, other = rows(), rows()
    one["payments"]["switches"] = [{"what": "retries off", "by": "ann", "for": 7}]
    other["payments"]["switches"] = [
        {"what": "retries off", "by": "ann", "for": 8},
        {"what": "shed", "by": "bob", "for": 2},
    ]
    assert together([one, other], NOW)["payments"]["switches"] == [
        {"what": "retries off", "by": "ann", "for": 8},
        {"what": "shed", "by": "bob", "for": 2},
    ]


def test_what_is_well_is_no_trouble():
    assert together([rows()], NOW)["payments"]["trouble"] == {"score": 0, "why": []}


def test_trouble_is_graver_the_less_is_answered():
    some, all_of_them = (together([rows(status, 6)], NOW)["payments"]["trouble"]["score"] for status in (200, 503))
    assert (some, all_of_them >= 100) == (0, True)
    row = together([rows()], NOW)["payments"]
    circuit(row, 0, "open")
    half = trouble_of(row)["score"]
    circuit(row, 1, "forced open")
    assert 30 < half < trouble_of(row)["score"] == 100
    circuit(row, 0, "half-open", retry_in=0.0)
    circuit(row, 1, "closed", retry_in=0.0)
    assert 30 < trouble_of(row)["score"] < half
    circuit(row, 1, "open")
    assert half < trouble_of(row)["score"] <= 100
    assert trouble_of(row)["why"] == ["1 of 2 circuits open", "1 of 2 circuits not closed yet"]
    row["endpoints"], row["discovery"] = [], {"failing": "refused", "where": "http://consul"}
    assert trouble_of(row) == {"score": 100.0, "why": ["discovery fails, 0 endpoints known (http://consul)"]}


def test_of_open_circuits_the_one_that_lets_no_probe_through_is_the_worst():
    one, other = rows(), rows()
    circuit(one["payments"], 0, "open", retry_in=0.0)
    circuit(other["payments"], 0, "open", retry_in=4.0)
    assert together([one, other], NOW)["payments"]["trouble"]["why"] == ["1 of 2 circuits open"]


def test_a_circuit_that_only_observes_and_nodes_nobody_has_asked_for_are_no_trouble():
    (row,) = together([rows()], NOW).values()
    circuit(row, 0, "open", observed="open")
    assert trouble_of(row)["score"] == 0
    circuit(row, 0, "forced open", observed="closed")
    assert trouble_of(row)["score"] > 30
    row["endpoints"], row["discovery"] = [], {"failing": None, "where": "http://consul"}
    assert trouble_of(row)["score"] == 0


CIRCUITS = st.none() | st.fixed_dictionaries(
    {
        "state": st.sampled_from(["closed", "open", "half-open", "forced open", "forced closed"]),
        "cause": st.sampled_from(["", "failure rate", "slow calls"]),
        "retry_in": st.sampled_from([None, 0.0, 4.0]),
        "observed": st.sampled_from([None, "open", "closed"]),
    }
)
ENDPOINTS = st.fixed_dictionaries(
    {
        "url": st.just("http://n1"),
        "circuit": CIRCUITS,
        "out": st.booleans(),
        "reasons": st.sampled_from([{}, {"ill": 1.0}]),
    }
)
CHANGES = st.fixed_dictionaries(
    {
        "endpoints": st.lists(ENDPOINTS, max_size=4),
        "discovery": st.sampled_from([None, {"failing": None, "where": "w"}, {"failing": "refused", "where": "w"}]),
        "switches": st.sampled_from([[], [{"what": "shed 0.5", "by": "ann", "for": 5}]]),
        "concurrency": st.fixed_dictionaries({"limit": st.just(2), "queue": st.integers(0, 2)})
        .flatmap(lambda limit: st.tuples(st.just(limit), st.integers(0, 2), st.integers(0, limit["queue"])))
        .map(lambda drawn: {**drawn[0], "in_flight": drawn[1], "queued": drawn[2]}),
    }
)
WELL = next(iter(together([rows()], NOW).values()))


@given(CHANGES)
def test_the_page_and_a_health_route_judge_alike(changes):
    row = {**WELL, **changes}
    score = trouble_of(row)["score"]
    verdict = report_of({"upstreams": {"payments": row}, "guards": {}}).upstreams["payments"].verdict
    assert (verdict != "down") or score >= 100
    assert (verdict == "ok") or score > 0
    assert (score < 100) or verdict != "ok"


def test_a_queue_a_spent_budget_and_a_switch_are_told():
    row = together([rows()], NOW)["payments"]
    row["concurrency"]["queued"], row["retry_budget"]["tokens"] = 7, 0.4
    row["switches"] = [{"what": "shed", "by": "ann", "for": 5}]
    assert trouble_of(row)["why"] == ["7 calls in the queue", "the retry budget is spent", "switched: shed"]


def test_a_page_that_has_the_one_makes_the_other_of_it():
    before = {"time": 1, "top": 1, "upstreams": {"a": {"x": 1, "y": 2}, "b": {"x": 1}, "c": {"x": 1}}}
    now = {"time": 2, "top": 1, "upstreams": {"a": {"x": 1, "y": 3}, "b": {"x": 1}, "d": {"x": 1}}}
    assert changed(before, now) == {"time": 2, "upstreams": {"a": {"y": 3}, "c": None, "d": {"x": 1}}}
    assert changed(now, now | {"time": 3}) == {"time": 3}


def test_many_of_one_kind_do_not_push_out_the_others():
    kept = Kept(5)
    kept.add("failed", "the first failure")
    for number in range(100):
        kept.add("refused", number)
    kept.add("failed", "another")
    assert kept.newest() == ["another", 99, 98, 97, "the first failure"]
