"""What the benchmarks compute, in literals."""

import asyncio
import math

import pytest
from harness.cell import Count, Window
from harness.growth import Samples, compared
from harness.machine import BUSY, described, machine
from harness.nodes import Tail
from harness.report import Table
from harness.rounds import added, interleaved, quantile, ratio
from harness.users import Visit
from storm import Storm, turn_of


def test_rounds_are_interleaved():
    order = []
    interleaved({"a": "a", "b": "b"}, 2, order.append)

    assert order == ["a", "b", "a", "b"]


def test_a_ratio_compares_each_round_with_the_base_of_the_same_round():
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 2.0]) == 2.0
    assert added([2.0, 20.0, 2.0], [1.0, 10.0, 2.0]) == 1.0


def test_there_is_no_ratio_to_nothing():
    assert ratio([1.0, 1.0], [1.0, 0.0]) is None


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)])
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(share, value):
    assert quantile(range(1, 101), share) == value


def test_a_table_shows_nothing_as_a_dash():
    table = Table("name", [("ms", ".1f"), ("how", "")], [("a", 1.25, "well"), ("b", None, "not")], "A note.")

    assert table.text().splitlines() == ["name   ms   how", "a     1.2  well", "b       -   not", "A note."]


def test_a_window_begins_when_every_worker_has_had_an_answer():
    count = Count(2)
    looks = Window(count, seconds=0.0, patience=60.0).looks()
    count.done[0] = 500
    next(looks)
    next(looks)
    count.done[1] = 1

    with pytest.raises(StopIteration) as ended:
        next(looks)

    assert ended.value.value["steady"]
    assert ended.value.value["calls"] == 0, "what came before the window is not in it"


def test_a_window_begins_anyway_when_patience_is_at_its_end():
    with pytest.raises(StopIteration) as ended:
        next(Window(Count(2), seconds=0.0, patience=0.0).looks())

    assert not ended.value.value["steady"]


def grown(**series):
    samples = [dict(zip(series, values, strict=True)) for values in zip(*series.values(), strict=True)]
    return [one.what for one in compared(samples, ("minutes",)) if one.grown]


def test_what_holds_more_in_the_last_third_than_in_the_first_has_grown():
    assert grown(minutes=range(6), threads=[9, 9, 9, 12, 12, 12]) == ["threads"]
    assert grown(**{"my.Thing": [300, 310, 350, 400, 500, 600], "objects": [90_000] * 6}) == ["my.Thing"]


def test_what_varies_or_grows_within_the_tolerance_has_not():
    assert grown(threads=[9, 12, 9, 12, 9, 12], tasks=[10, 10, 10, 11, 11, 11]) == []
    assert grown(blocks=[90_000, 90_000, 90_000, 91_000, 91_000, 91_000]) == []
    assert grown(**{"my.Thing": [0, 0, 0, 0, 90, 90], "memory, MB": [100, 100, 101, 110, 112, 117]}) == []


def test_a_single_sample_that_is_out_of_the_ordinary_is_no_growth():
    assert grown(sockets=[10, 10, 10, 10, 10, 10, 10, 500, 10]) == []


def test_a_sample_sees_what_the_process_holds(tmp_path):
    class Thing:
        pass

    kept = [Thing() for _ in range(60)]

    samples = Samples(tmp_path / "samples")
    taken = asyncio.run(take(samples))

    assert next(count for name, count in taken.items() if name.endswith("Thing")) == len(kept)
    assert samples.read() == [taken]


async def take(samples):
    return samples.take(minutes=0.5)


def test_the_same_request_takes_the_same_time_at_the_same_node():
    one, other = Tail("node 1"), Tail("node 2")

    assert one.takes("node 1 7", 0.02) == Tail("node 1").takes("node 1 7", 0.02)
    assert one.takes("node 1 7", 0.02) != other.takes("node 2 7", 0.02)
    assert sum(one.takes(f"{key}", 0.02) >= Tail.FROM for key in range(5000)) == pytest.approx(100, rel=0.3)


def test_a_run_on_a_busy_machine_says_so():
    quiet = machine(["httpx"]) | {"cpus": 2, "load": 1.9}

    assert BUSY not in described(quiet)
    assert BUSY in described(quiet | {"load": 2.1})


STORM = Storm(before=1, outage=1, after=4, kind="hang")


def turn(*statuses, took=0.1):
    """A user each second, of whom each is answered so."""
    return turn_of([Visit(100.5 + at, took, status) for at, status in enumerate(statuses)], {}, 0, 100.0, STORM)


def test_all_is_well_again_from_the_first_of_three_good_seconds():
    assert turn(200, 502, 502, 200, 200, 200).well_again(STORM) == 1
    assert turn(200, 502, 200, 200, 502, 200).well_again(STORM) == math.inf


def test_a_good_answer_that_comes_too_late_is_none():
    assert turn(200, 200, 200, 200, 200, 200, took=1.5).share(0, 6) == 0.0


def test_requests_at_the_upstream_are_counted_from_the_first_user_on():
    storm = turn_of([Visit(100.5, 0.1, 200)], {999: 7, 1000: 1, 1009: 1, 1010: 5}, 0, 100.0, STORM)

    assert storm.upstream == [2, 5, 0, 0, 0, 0]
    assert storm.amplified(0, 1) == 2.0
