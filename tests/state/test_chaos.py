"""Which attempt gets which fault, with literals."""

from __future__ import annotations

import random
import threading

from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.chaos import Chaos, FaultRules, Order

MIXED = FaultRules(latency=(0.1, 0.2), latency_share=0.5, status=503, error_share=0.2, abort="after", abort_share=0.1)


def drawn(rules, count=2000, seed=1, method="GET"):
    rng = random.Random(seed)
    return [rules.draw(method, rng) for _ in range(count)]


def test_shares_are_kept_and_add_up():
    kinds = [None if fault is None else fault.kind for fault in drawn(MIXED, 20_000)]
    assert 0.19 < kinds.count("error") / 20_000 < 0.21
    assert 0.09 < kinds.count("abort") / 20_000 < 0.11
    late = [fault for fault in drawn(MIXED, 20_000) if fault is not None and fault.latency]
    assert 0.48 < len(late) / 20_000 < 0.52
    assert all(0.1 <= fault.latency <= 0.2 for fault in late)


def test_a_share_of_one_hits_every_attempt():
    assert {str(fault) for fault in drawn(FaultRules(status=503), 200)} == {"503 injected"}


def test_only_the_methods_that_are_named_are_hit():
    rules = FaultRules(status=503, methods=frozenset({"GET"}))
    assert drawn(rules, 50, method="POST") == [None] * 50
    assert None not in drawn(rules, 50)


def test_the_same_seed_gives_the_same_faults():
    assert drawn(MIXED, seed=7) == drawn(MIXED, seed=7)
    assert drawn(MIXED, seed=7) != drawn(MIXED, seed=8)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_at_its_end_it_injects_nothing_any_more(ends, now):
    chaos = Chaos(FaultRules(status=503), ends)
    assert (chaos.draw("GET", now) is None) is (now >= ends)
    assert (chaos.as_dict(now)["ends_in"] == 0.0) is (round(ends - now, 3) <= 0.0)


def test_a_fault_says_what_is_done_in_order():
    (fault,) = drawn(FaultRules(latency=(0.5, 0.5), abort="before"), 1)
    assert fault.kinds == ("latency", "abort")
    assert str(fault) == "0.5 s of latency injected, connection aborted before sending"


def test_an_order_is_obeyed_by_its_upstream_until_its_end_where_orders_are():
    order = Order("payments", 100.0, FaultRules(status=503))
    obeys, deaf = Chaos(FaultRules(), 0.0, orders=True), Chaos(FaultRules(), 0.0)
    assert str(obeys.obey(order, "payments", "GET", 99.9)) == "503 injected"
    assert obeys.obey(order, "payments", "GET", 100.0) is None
    assert obeys.obey(order, "offers", "GET", 0.0) is None
    assert deaf.obey(order, "payments", "GET", 0.0) is None
    assert obeys.obey(Order("*", 100.0, FaultRules(status=503)), "offers", "GET", 0.0) is not None


def test_threads_share_one_row_of_draws():
    alone = Chaos(MIXED, 1.0, seed=3)
    expected = sorted(str(alone.draw("GET", 0.0)) for _ in range(4000))
    shared, found = Chaos(MIXED, 1.0, seed=3), []

    def draw():
        mine = [str(shared.draw("GET", 0.0)) for _ in range(1000)]
        found.extend(mine)

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == expected
