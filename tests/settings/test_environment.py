"""The environment: any setting by a variable, without a framework."""

from __future__ import annotations

import pytest

from resilient_http import SettingsError, load_settings
from resilient_http.settings.environment import unknown_variables
from resilient_http.settings.models import Settings

PAYMENTS = {"RESILIENT_HTTP_UPSTREAMS__PAYMENTS__ENDPOINTS": '["http://10.0.0.1:8080"]'}


def read(environment, *sources):
    named = {f"RESILIENT_HTTP_{name}": text for name, text in environment.items()}
    return load_settings(*sources, environment=PAYMENTS | named | {"PATH": "/bin", "RESILIENT_HTTPS": "no"})


@pytest.mark.parametrize(
    ("variable", "text", "path", "value"),
    [
        ("UPSTREAMS__PAYMENTS__RETRY__MAX_ATTEMPTS", "2", "upstreams.payments.retry.max_attempts", 2),
        ("DEFAULTS__RETRY", "null", "defaults.retry", None),
        ("DEFAULTS__RETRY", "false", "defaults.retry", None),
        ("DEFAULTS__TIMEOUT__TOTAL", "false", "defaults.timeout.total", None),
        ("ENABLED", "false", "enabled", False),
        ("ENABLED", "off", "enabled", False),
        ("DEFAULTS__HEDGE__DELAY", "p95", "defaults.hedge.delay", "p95"),
        ("DEFAULTS__HEDGE", '{"delay": 0.5}', "defaults.hedge.delay", 0.5),
        ("ZONE", "7", "zone", "7"),
        ("ZONE", "true", "zone", "true"),
        ("ZONE", '"7"', "zone", "7"),
        ("DEFAULTS__TLS__VERIFY", "false", "defaults.tls.verify", False),
        ("DEFAULTS__CIRCUIT__OUTCOMES__429", "failure", "defaults.circuit.outcomes", {429: "failure"}),
        ("DEFAULTS__DEADLINE_HEADER", "grpc-timeout", "defaults.deadline_header.unit", "grpc"),
        ("defaults__priority", "critical", "defaults.priority", "critical"),
        ("ZONE", "", "zone", None),
    ],
)
def test_a_value_is_json_or_a_plain_text(variable, text, path, value):
    found = read({variable: text})
    for key in path.split("."):
        found = found[key] if isinstance(found, dict) else getattr(found, key)
    assert found == value


def test_what_stands_deeper_goes_over_what_stands_above_it():
    settings = read(
        {
            "DEFAULTS__RETRY__MAX_ATTEMPTS": "2",
            "DEFAULTS": '{"retry": {"max_attempts": 5}, "timeout": {"read": 1}}',
        }
    )
    assert (settings.defaults.retry.max_attempts, settings.defaults.timeout.read) == (2, 1.0)


def test_an_underscore_stands_for_the_hyphen_of_a_name():
    settings = read(
        {
            "UPSTREAMS__CARD_PAYMENTS__ENDPOINTS": '["http://n1"]',
            "UPSTREAMS": '{"card-payments": {"timeout": {"total": 4}}}',
            "GUARDS__INVENTORY_DB__TIMEOUT__TOTAL": "2",
        }
    )
    assert settings.upstreams["card-payments"].timeout.total == 4.0
    assert list(settings.guards) == ["inventory-db"]


def test_routes_are_given_as_json():
    settings = read({"UPSTREAMS__PAYMENTS__ROUTES": '{"GET /x": {"retry": null}}'})
    assert settings.upstreams["payments"].routes["GET /x"].retry is None


def test_every_mistake_names_its_variable():
    with pytest.raises(SettingsError) as caught:
        read({"UPSTREAM__PAYMENTS": "1", "DEFAULTS__RETRY__MAX_ATTEMPTS": "0", "INBOUND__TIMEOUT": "soon"})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "environment RESILIENT_HTTP_UPSTREAM__PAYMENTS: upstream: unknown key; did you mean upstreams?" in lines
    assert any(line.startswith("environment RESILIENT_HTTP_DEFAULTS__RETRY__MAX_ATTEMPTS: defaults.retry.max_attempts")
               and "(got 0)" in line for line in lines)  # fmt: skip


def test_what_begins_like_json_and_is_none_is_refused_all_of_it():
    with pytest.raises(SettingsError, match="environment RESILIENT_HTTP_UPSTREAMS: upstreams: not JSON") as caught:
        read({"UPSTREAMS": "{payments}", "DEFAULTS": "[1"})
    assert len(caught.value.mistakes) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [('{"retry": null, "retry": {}}', "retry is given twice"), ("[" * 100_000, "nested too deeply")],
    ids=["twice", "deep"],
)
def test_json_is_read_as_that_of_a_file(text, why):
    with pytest.raises(SettingsError, match=f"environment RESILIENT_HTTP_DEFAULTS: defaults: not JSON: {why}"):
        read({"DEFAULTS": text})


def test_a_secret_is_not_told():
    with pytest.raises(SettingsError) as caught:
        read({"SHARED__REDIS": "memcached://:hunter2@host"})
    assert "hunter2" not in str(caught.value)


def test_the_environment_is_read_unless_it_is_not_wanted(monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "2")
    assert load_settings().inbound.timeout == 2.0
    assert load_settings(environment=None).inbound.timeout == 10.0


def test_variables_that_name_no_setting_can_be_asked_for():
    assert unknown_variables({"RESILIENT_HTTP_URL": "", "RESILIENT_HTTP_ZONE": "", "PATH": ""}, Settings) == [
        "RESILIENT_HTTP_URL"
    ]
