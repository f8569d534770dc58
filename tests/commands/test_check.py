"""resilient-http check: what is wrong in files, for people and for programs."""

from __future__ import annotations

import json

import pytest

from resilient_http.cli import main

RIGHT = '[upstreams.payments]\nendpoints = ["http://10.0.0.1:8080"]\n'


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Writes a file, checks it with some options; the exit status and what was printed."""
    monkeypatch.chdir(tmp_path)

    def run(content, *options):
        (tmp_path / "settings.toml").write_text(content)
        status = main(["check", "settings.toml", *options])
        return status, capsys.readouterr().out

    return run


def test_right_settings_are_right(check):
    assert check(RIGHT, "--deploy", "--worker-timeout", "30") == (0, "0 wrong, 0 likely wrong\n")


def test_every_mistake_is_told_with_its_file(check):
    status, out = check("defaults.retry.max_attempts = 0\ninbound.timout = 1")
    assert status == 1
    assert "settings.toml: defaults.retry.max_attempts: " in out
    assert "settings.toml: inbound.timout: unknown key (got 1); did you mean timeout?" in out
    assert out.endswith("2 wrong, 0 likely wrong\n")


def test_a_file_that_cannot_be_understood_is_wrong(check):
    status, out = check("defaults =\n\n")
    assert status == 1
    assert out.startswith("settings.toml: Invalid value (at line 1")


def test_what_is_likely_wrong_is_told_with_a_hint_and_can_be_ignored(check):
    status, out = check(RIGHT + "timeout.total = 60")
    assert status == 1
    assert out.startswith("W007 upstreams.payments.timeout.total: 60 s is longer")
    assert "    from settings.toml: upstreams.payments.timeout.total\n    Lower it" in out
    assert check(RIGHT + "timeout.total = 60", "--ignore", "W007")[0] == 0


def test_what_matters_in_a_deployment_is_told_when_it_is_asked_for(check):
    assert check(RIGHT + "tls.verify = false")[0] == 0
    assert check(RIGHT + "tls.verify = false", "--deploy")[0] == 1


def test_the_environment_goes_over_it_when_it_is_asked_to(check, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "0")
    assert check(RIGHT)[0] == 0
    status, out = check(RIGHT, "--environment")
    assert status == 1
    assert out.startswith("environment RESILIENT_HTTP_INBOUND__TIMEOUT: inbound.timeout: ")


def test_it_is_told_as_json(check):
    wrong = json.loads(check("inbound.timout = 1", "--json")[1])
    (mistake,) = wrong["mistakes"]
    assert (mistake["path"], mistake["known"]) == (["inbound", "timout"], ["timeout"])
    assert mistake["source"] == "settings.toml"
    likely = json.loads(check(RIGHT + "timeout.total = 60", "--json")[1])
    assert [each["id"] for each in likely["advice"]] == ["W007"]
    assert likely["mistakes"] == []


def test_a_file_that_is_not_there_is_status_2(capsys):
    assert main(["check", "nowhere.toml"]) == 2
    assert "nowhere.toml" in capsys.readouterr().err
