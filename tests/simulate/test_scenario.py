"""Scenarios: what a phase does not say stays as it was, and mistakes are told with their place."""

from __future__ import annotations

import tomllib

import pytest

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings
from resilient_http.simulate import Scenario, load_scenario, shipped, simulate
from resilient_http.simulate.scenario import steps_of

THREE = ["http://10.0.0.1:8080", "http://10.0.0.2:8080", "http://10.0.0.3:8080"]


def payments(**own):
    return Settings(upstreams={"payments": {"endpoints": THREE, **own}}).upstreams["payments"]


def scenario(text):
    return Scenario(**tomllib.loads(text))


def steps(text):
    return steps_of(scenario(text), payments())


def mistake(text):
    with pytest.raises(SettingsError) as caught:
        steps(text)
    return caught.value


CALM = """
[[phases]]
duration = 10
rate = 100
deadline = 2.0
every = { workers = 4, latency = 0.1 }
"""


def test_what_a_phase_does_not_say_stays_as_it_was():
    first, second = steps(CALM + "[[phases]]\nduration = 5\nevery = { latency = 0.2 }")
    assert (second.begin, second.end) == (10.0, 15.0)
    assert (second.rate, second.deadline, second.constant) == (first.rate, first.deadline, first.constant)
    assert [node.workers for node in second.nodes] == [4, 4, 4]
    assert [node.latency.median for node in second.nodes] == [0.2, 0.2, 0.2]


def test_a_node_is_told_by_its_place_or_by_its_host():
    phase = '[[phases]]\nduration = 5\nnodes = { 1 = { outage = "refuse" }, "10.0.0.3:8080" = { workers = 1 } }'
    _, step, last = steps(CALM + phase + '\n[[phases]]\nduration = 5\nevery = { outage = "none" }')
    assert [node.outage and node.outage.kind for node in step.nodes] == ["refuse", None, None]
    assert [node.workers for node in step.nodes] == [4, 4, 1]
    assert [node.outage for node in last.nodes] == [None] * 3
    assert [node.workers for node in last.nodes] == [4, 4, 1]


def test_a_rate_of_each_node_fits_any_number_of_them():
    (step,) = steps('rate_of = "node"' + CALM)
    assert step.rate == 300.0


def test_short_forms():
    (step,) = steps(
        '[[phases]]\nduration = 1\nrate = 1\nevery = { failures = 0.1, outage = 500, workers = "unlimited" }'
    )
    node = step.nodes[0]
    assert (node.failures.share, node.failures.status) == (0.1, 503)
    assert node.outage is not None
    assert (node.outage.kind, node.outage.status) == ("status", 500)
    assert node.workers is None


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("phases = []", "phases", "at least one is needed"),
        ("[[phases]]\nduration = 1", "phases.0.rate", "the first phase has to say"),
        ("[[phases]]\nduration = 1\nrate = -1", "phases.0.rate", "greater than 0"),
        ("[[phases]]\nduration = 1\nrate = 1\ndeadlin = 1", "phases.0.deadlin", "did you mean deadline?"),
        ("[[phases]]\nduration = 1\nrate = 1\nevery = { latncy = 1 }",
         "phases.0.every.latncy", "did you mean latency?"),
        (CALM + "[[phases]]\nduration = 1\nnodes = { 4 = { workers = 1 } }", "phases.1.nodes.4", "has 3 endpoints"),
        (CALM + "[[phases]]\nduration = 1\nnodes = { 0 = { workers = 1 } }", "phases.1.nodes.0", "has 3 endpoints"),
        (CALM + '[[phases]]\nduration = 1\nnodes = { "10.0.0.4:8080" = { workers = 1 } }',
         "phases.1.nodes.10.0.0.4:8080", "did you mean 10.0.0."),
        ('[[phases]]\nduration = 1\nrate = 1\nevery = { outage = "explode" }', "phases.0.every.outage.kind", "refuse"),
        ("[[phases]]\nduration = 1\nrate = 1\nevery = { workers = 0 }", "phases.0.every.workers", "greater than"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text, path, said):
    error = mistake(text)
    assert error.path == path
    assert said in str(error)


def test_a_scenario_that_is_not_there_is_told_with_the_nearest_name():
    with pytest.raises(SettingsError, match="did you mean dead-node"):
        load_scenario("ded-node")


def test_a_file_that_is_no_toml_says_so(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("phases = [")
    with pytest.raises(SettingsError, match="not TOML"):
        load_scenario(str(file))


def test_a_file_of_ones_own_is_read(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("title = 'mine'" + CALM)
    assert load_scenario(str(file)).title == "mine"


def test_all_that_the_issue_asks_for_are_shipped():
    assert list(shipped()) == [
        "brown-out", "dead-node", "metastable", "retry-after", "retry-storm", "slow-node", "slow-tier",
        "thundering-return",
    ]  # fmt: skip


@pytest.mark.parametrize("name", shipped())
@pytest.mark.parametrize("endpoints", [THREE[:1], THREE])
def test_a_shipped_scenario_fits_any_number_of_endpoints(name, endpoints):
    full = load_scenario(name)
    short = full.model_copy(
        update={"phases": tuple(phase.model_copy(update={"duration": 0.5}) for phase in full.phases)}
    )
    settings = Settings(upstreams={"payments": {"endpoints": endpoints}})
    result = simulate(settings, short)
    assert result.total.calls > 0
    assert result.phases[0].success > 0.9
