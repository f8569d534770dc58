"""docs/simulate.md tells what the commands print, and every key that a scenario has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from resilient_http import plan
from resilient_http.simulate import Scenario, shipped
from resilient_http.simulate.plan import FIGURES
from resilient_http.simulate.result import COLUMNS
from resilient_http.simulate.scenario import NodeSettings, PhaseSettings

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()
SETTINGS, SCENARIO = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def test_the_plan_is_what_is_printed():
    assert plan(tomllib.loads(SETTINGS)).as_table() in PAGE, "run: python docs/pictures/scenarios.py --tables-only"


def test_the_scenario_is_one():
    assert Scenario(**tomllib.loads(SCENARIO)).duration == 90


def test_those_that_come_with_the_library_are_listed():
    told = dict(re.findall(r"^\| `([a-z]+-?[a-z]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert {name: told.get(name) for name in shipped()} == shipped()


@pytest.mark.parametrize("name", [*FIGURES, *PhaseSettings.model_fields, *NodeSettings.model_fields])
def test_every_key_and_figure_is_named(name):
    assert f"`{name}`" in PAGE or name == "name"


@pytest.mark.parametrize("heading", [heading for heading, _ in COLUMNS])
def test_every_column_is_explained(heading):
    assert heading in PAGE.split("slices, however long the run is")[1] or heading == "calls/s"
