"""resilient-http simulate."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from resilient_http.cli import main
from resilient_http.commands import simulate
from resilient_http.simulate import picture

SETTINGS = '[upstreams.payments]\nendpoints = ["http://n1", "http://n2"]\n'
SCENARIO = """
title = "A blip"
[[phases]]
name = "calm"
duration = 2
rate = 100
deadline = 1.0
[[phases]]
name = "blip"
duration = 2
every = { outage = 503 }
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "settings.toml").write_text(SETTINGS)
    (tmp_path / "other.toml").write_text(SETTINGS + "retry.max_attempts = 1\n")
    (tmp_path / "two.toml").write_text(SETTINGS + SETTINGS.replace("payments", "geo"))
    (tmp_path / "blip.toml").write_text(SCENARIO)
    return tmp_path


@pytest.fixture
def command(files, capsys):
    """Runs it: the exit status, and what it printed, or complained of."""

    def command(*arguments):
        told = [str(files / each) if each.endswith((".toml", ".svg", ".png", ".pdf")) else each for each in arguments]
        status = main(["simulate", *told])
        out, err = capsys.readouterr()
        return status, out, err

    return command


BLIP = ("settings.toml", "--scenario", "blip.toml")


def test_a_table_for_a_person(command):
    status, out, err = command(*BLIP)
    assert (status, err) == (0, "")
    head, _, _, calm, blip, total = out.splitlines()
    assert head == "A blip: payments, 2 nodes, 1 process, seed 1"
    assert [line.split()[0] for line in (calm, blip, total)] == ["calm", "blip", "all"]
    assert "100.0%" in calm
    assert "  0.0%" in blip


def test_json_is_the_same_to_the_last_digit_for_a_seed(command):
    runs = [command(*BLIP, "--json", "--seed", seed)[1] for seed in ("7", "7", "8")]
    assert runs[0] == runs[1] != runs[2]
    (told,) = json.loads(runs[0]).values()
    assert (told["seed"], told["upstream"]) == (7, "payments")


def test_before_and_after_in_one_table(command):
    _, out, _ = command(*BLIP, "--compare", "other.toml")
    lines = [line.split() for line in out.splitlines()]
    assert [line[3] for line in lines if line[:1] == ["calm"]] == ["settings"]
    assert [line[0] for line in lines if line].count("other") == 3


def test_beside_plain_retries(command):
    _, out, _ = command(*BLIP, "--compare", "plain")
    _, plain = (line.split() for line in out.splitlines()[5:7])
    assert plain[0] == "plain"
    assert float(plain[6 if plain[5] in ("ms", "s") else 5].rstrip("%")) >= 0
    told = json.loads(command(*BLIP, "--compare", "plain", "--json")[1])
    assert told["plain"]["phases"][1]["requests"] > 2.5
    assert told["settings"]["phases"][1]["requests"] < 1.3


def test_the_scenarios_that_come_with_it_are_listed(command):
    status, out, _ = command("--list")
    assert status == 0
    assert "dead-node          One of the nodes dies, and comes back" in out


def test_one_of_several_upstreams_is_named(command):
    assert command("two.toml", "--scenario", "blip.toml", "--upstream", "geo")[1].startswith("A blip: geo, 2 nodes")
    status, _, err = command("two.toml", "--scenario", "blip.toml")
    assert status == 2
    assert "which upstream? say it with --upstream; known: payments, geo" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("settings.toml", "--scenario", "ded-node"), "did you mean dead-node?"),
        (("settings.toml",), "--scenario are needed"),
        ((*BLIP, "--picture", "out.pdf"), "ends in .svg or .png"),
    ],
)
def test_mistakes_are_told_before_anything_is_run(command, arguments, said):
    status, out, err = command(*arguments)
    assert (status, out) == (2, "")
    assert said in err


def test_long_work_says_how_far_it_is(command, monkeypatch):
    monkeypatch.setattr(simulate, "SILENT", 0.0)
    monkeypatch.setattr(simulate, "SAID_EVERY", 0.0)
    _, out, err = command(*BLIP)
    assert "settings.toml, " in err
    assert "100%" in err
    assert "%\n" not in out.splitlines()[0]


def test_a_picture_without_matplotlib_names_the_command_that_installs_it(command, monkeypatch):
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    status, _, err = command(*BLIP, "--picture", "out.svg")
    assert status == 2
    assert 'pip install "resilient-http[docs]"' in err


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is an extra: pip install -e '.[docs]'")
def test_a_picture_of_both_comes_out_alike_each_time(command, files):
    for name in ("one.svg", "same.svg", "one.png"):
        assert command(*BLIP, "--compare", "plain", "--picture", name)[0] == 0
    svg = (files / "one.svg").read_text()
    assert "good answers" in svg
    assert "plain" in svg
    assert "blip" in svg
    assert svg == (files / "same.svg").read_text()
    assert (files / "one.png").read_bytes().startswith(b"\x89PNG")
