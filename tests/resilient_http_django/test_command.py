"""manage.py resilient_http."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command


@pytest.fixture
def command(capsys):
    def command(*arguments):
        call_command("resilient_http", *arguments)
        return capsys.readouterr().out

    return command


def test_the_plan_of_the_settings(settings, command):
    settings.RESILIENT_HTTP = {
        "UPSTREAMS": {"payments": {"ENDPOINTS": ["http://n1"], "TIMEOUT": {"TOTAL": 2.0}, "CIRCUIT": None}}
    }
    assert command("plan").splitlines()[2].split()[:5] == ["payments", "2", "s", "3", "requests"]
    told = json.loads(command("plan", "--rate", "10", "--json"))
    assert (told["rate"], told["upstreams"]["payments"]["worst_case"]) == (10.0, 2.0)


def test_settings_that_are_wrong_are_told(settings, command):
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINT": ["http://n1"]}}}
    with pytest.raises(CommandError, match="ENDPOINTS"):
        command("plan")


def test_a_subcommand_is_needed(command):
    with pytest.raises(CommandError, match="SUBCOMMAND"):
        command()
