"""What the demo says about figures that are given, not measured."""

from dataclasses import replace

import pytest

from example_project.caller import Visit
from example_project.figures import Figures, Records, Run, last_failure
from example_project.promises import broken
from example_project.story import DEAD, DOWN
from example_project.table import table

GOOD = Figures(requests=100, ok=100, p50=0.01, p99=0.02, overrun=0.0, reached=1.0, wasted=0.0)


def visit(order=1, sent=0.0, took=0.1, deadline=0.6, status=200):
    return Visit(order, "act", sent, took, deadline, status)


def run(total=GOOD, dead=GOOD, down=GOOD, recovered=0.0, late=0.0):
    return Run("resilient_http", total, {DEAD: dead, DOWN: down}, recovered, late)


def test_good_figures_break_no_promise():
    assert broken(run()) == []


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (run(dead=replace(GOOD, ok=98)), "While one of three nodes was dead, 98.00% of the requests succeeded"),
        (run(total=replace(GOOD, overrun=0.15)), "An answer came 150 ms after its caller's deadline"),
        (run(down=replace(GOOD, reached=1.4)), "1.40 requests reached them per request of a user"),
    ],
)
def test_broken_promise_is_told_in_a_sentence(figures, told):
    [sentence] = broken(figures)
    assert told in sentence


def test_overrun_is_not_held_against_the_services_while_the_demo_itself_stood_still():
    assert broken(run(total=replace(GOOD, overrun=0.25), late=0.2)) == []
    assert broken(run(total=replace(GOOD, overrun=0.35), late=0.2)) != []


def test_success_is_a_200_within_the_deadline():
    visits = [visit(1), visit(2, status=502), visit(3, took=0.7)]

    figures = Figures.of(visits, Records(["1", "2", "2", "2"]))

    assert (figures.requests, figures.ok) == (3, 1)
    assert figures.overrun == pytest.approx(0.1)
    assert figures.reached == pytest.approx(4 / 3)


def test_work_after_a_deadline_is_wasted_and_a_node_that_was_killed_has_none():
    visits = [visit(1, sent=10.0, deadline=0.6), visit(2, sent=10.0, deadline=1.2)]
    records = Records(
        ["1", "1 10.0 10.5", "1", "1 10.5 10.7", "1", "1 11.0 11.2", "2", "2 10.0 11.2", "2", "3", "3 0 9"]
    )

    figures = Figures.of(visits, records)

    assert figures.wasted == pytest.approx(0.1 + 0.2)
    assert figures.reached == pytest.approx(5 / 2)


def test_percentiles_are_of_the_answers_that_were_given():
    figures = Figures.of([visit(order, took=order / 1000) for order in range(1, 101)], Records([]))
    assert (figures.p50, figures.p99) == (0.05, 0.099)


def test_recovery_ends_with_the_last_failure():
    visits = [visit(sent=10.0, status=502), visit(sent=12.5, status=502), visit(sent=11.0), visit(sent=13.0)]
    assert last_failure(visits, since=10.0) == 2.5
    assert last_failure([visit()], since=0.0) == 0.0


def test_table_never_rounds_up_to_a_hundred_and_keeps_its_columns():
    lines = table([replace(run(total=replace(GOOD, requests=100_000, ok=99_999)), client="bare httpx"), run()])

    assert "99.9 %" in next(line for line in lines if line.startswith("success"))
    assert "100.0 %" in next(line for line in lines if line.startswith("success"))
    rows = lines[: lines.index("")]
    assert len({len(row) for row in rows}) == 1
