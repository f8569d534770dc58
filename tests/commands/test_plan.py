"""resilient-http plan."""

from __future__ import annotations

import json

import pytest

from resilient_http.cli import main

TOML = """
[upstreams.payments]
endpoints = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]
timeout.total = 2.0
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(TOML)
    return str(file)


def test_a_table_for_a_person(file, capsys):
    assert main(["plan", file]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.startswith("at 100 calls/s")
    assert row.split()[:5] == ["payments", "2", "s", "3", "requests"]


def test_json_at_a_rate(file, capsys):
    assert main(["plan", file, "--rate", "20", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rate"] == 20.0
    assert told["upstreams"]["payments"]["worst_case"] == 2.0


def test_a_json_file_is_read_too(tmp_path, capsys):
    file = tmp_path / "settings.json"
    file.write_text('{"upstreams": {"payments": {"endpoints": ["http://n1"], "circuit": null}}}')
    assert main(["plan", str(file)]) == 0
    assert "never opens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("settings.toml", "upstreams = [", "settings.toml: "),
        ("settings.json", "[]", "a mapping"),
        ("settings.toml", "[upstreams.payments]\nendpoints = ['http://n1']\nretries = 1", "did you mean retry?"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, capsys, name, text, said):
    file = tmp_path / name
    file.write_text(text)
    assert main(["plan", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_and_a_rate_that_is_none(file, capsys):
    assert main(["plan", "no-such.toml"]) == 2
    assert "no-such.toml" in capsys.readouterr().err
    assert main(["plan", file, "--rate", "0"]) == 2
    assert "more than 0 calls a second" in capsys.readouterr().err
