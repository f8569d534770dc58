"""`manage.py check` says what is wrong in RESILIENT_HTTP, and where."""

import json
import os
import subprocess
import sys

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError

MIDDLEWARE = "resilient_http_django.middleware.ResilientHttpMiddleware"


def found():
    return {(message.id, message.msg, message.hint) for message in run_checks(tags=["resilient_http"])}


def test_right_settings_pass(settings, capsys):
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.1:8080"]}}}

    call_command("check", tags=["resilient_http"], fail_level="WARNING")  # not what other tests have installed

    assert "no issues" in capsys.readouterr().out


def test_a_wrong_value_is_an_error_with_path_value_and_hint(settings):
    settings.RESILIENT_HTTP = {
        "UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.1:8080"], "RETRY": {"MAX_ATTEMPTS": 0}}}
    }

    (error,) = run_checks(tags=["resilient_http"])

    assert error.id == "resilient_http.E001"
    assert error.msg.startswith('RESILIENT_HTTP["UPSTREAMS"]["payments"]["RETRY"]["MAX_ATTEMPTS"]: ')
    assert "(got 0)" in error.msg
    assert error.hint == "Correct it in RESILIENT_HTTP, or leave it out for the default."


def test_an_unknown_key_comes_with_the_one_that_was_meant(settings):
    settings.RESILIENT_HTTP = {"DEFAULTS": {"TIMEOUT": {"TOTAAL": 1.0}}}

    (error,) = run_checks(tags=["resilient_http"])

    assert error.hint == "Did you mean TOTAL?"


def test_a_key_that_resembles_none_comes_with_those_that_are_known(settings):
    settings.RESILIENT_HTTP = {"XYZ": 1}

    (error,) = run_checks(tags=["resilient_http"])

    assert error.hint.startswith("Known here: ENABLED, BACKEND, ")


def test_each_mistake_is_an_error_of_its_own(settings):
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": -1, "RESERVE": "some"}}

    assert [error.id for error in run_checks(tags=["resilient_http"])] == ["resilient_http.E001"] * 2


@pytest.mark.parametrize("value", [None, ["payments"]])
def test_something_else_than_a_dict_is_an_error(settings, value):
    settings.RESILIENT_HTTP = value

    (error,) = run_checks(tags=["resilient_http"])

    assert error.msg.startswith("RESILIENT_HTTP is a dict")


def test_a_missing_middleware_is_a_warning_that_says_what_to_add(settings):
    settings.MIDDLEWARE = []

    (warning,) = run_checks(tags=["resilient_http"])

    assert warning.id == "resilient_http.W001"
    assert MIDDLEWARE in warning.hint


def advice(*, deploy=False):
    return [
        (message.id.removeprefix("resilient_http."), message.msg)
        for message in run_checks(tags=["resilient_http"], include_deployment_checks=deploy)
    ]


def test_what_is_likely_wrong_is_a_warning_that_says_where_it_stands(settings):
    settings.RESILIENT_HTTP = {"DEFAULTS": {"TIMEOUT": {"TOTAL": 60.0}, "CIRCUIT": {"WINDOW_SPAN": 1}}}

    (window, total) = advice()

    assert window[0] == "W003"
    assert total[0] == "W007"
    assert total[1].startswith('RESILIENT_HTTP["DEFAULTS"]["TIMEOUT"]["TOTAL"]: 60 s is longer than an inbound request')


def test_what_lets_others_in_is_a_warning_of_a_deployment(settings):
    settings.RESILIENT_HTTP = {"DEFAULTS": {"TLS": {"VERIFY": False}}}

    assert advice() == []
    assert [id_ for id_, _ in advice(deploy=True)] == ["W101"]


def test_faults_that_are_injected_are_a_mistake_unless_they_are_allowed_and_then_a_warning_of_a_deployment(settings):
    own = {"ENDPOINTS": ["http://10.0.0.1:8080"], "CHAOS": {"ERROR": 503, "LASTS": 60}}
    settings.DEBUG = False
    settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": own}}
    (error,) = run_checks(tags=["resilient_http"])
    assert error.id == "resilient_http.E001"
    assert error.msg.startswith('RESILIENT_HTTP["UPSTREAMS"]["payments"]["CHAOS"]: faults are injected where the root')

    settings.RESILIENT_HTTP = {"CHAOS": {"ALLOWED": ["payments"]}, "UPSTREAMS": {"payments": own}}
    assert advice() == []
    ((id_, message),) = advice(deploy=True)
    assert (id_, "faults are injected into its calls, for 60 s" in message) == ("W106", True)


def test_a_call_that_outlives_gunicorns_worker_is_a_warning(settings, monkeypatch):
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--timeout 20")
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": None}, "DEFAULTS": {"TIMEOUT": {"TOTAL": 60.0}}}

    assert sorted(id_ for id_, _ in advice()) == ["W002", "W008"]


def test_a_variable_that_names_no_setting_is_a_warning_and_one_that_does_goes_over_the_setting(settings, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_PAYMENTS_URL", "http://10.0.0.1")
    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "-1")
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": 2.0}}

    (error,) = run_checks(tags=["resilient_http"])
    assert error.msg.startswith("environment RESILIENT_HTTP_INBOUND__TIMEOUT: inbound.timeout: ")
    assert error.hint.startswith("Correct it in environment RESILIENT_HTTP_INBOUND__TIMEOUT")

    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "1")
    assert [id_ for id_, _ in advice()] == ["W009"]


def test_the_setting_may_name_a_file(settings, tmp_path):
    file = tmp_path / "settings.toml"
    settings.RESILIENT_HTTP = file
    (error,) = run_checks(tags=["resilient_http"])
    assert "No such file" in error.msg

    file.write_text("inbound.timeout = 0")
    (error,) = run_checks(tags=["resilient_http"])
    assert error.msg.startswith(f"{file}: inbound.timeout: ")

    file.write_text("inbound.timeout = 3")
    assert advice() == []


def test_the_check_command_fails_on_a_mistake(settings):
    settings.RESILIENT_HTTP = {"ENABLED": "perhaps"}

    with pytest.raises(SystemCheckError, match=r'RESILIENT_HTTP\["ENABLED"\]'):
        call_command("check")


def test_manage_py_check_fails_in_a_process_of_its_own():
    environment = os.environ | {"PROJECT_RESILIENT_HTTP": json.dumps({"UPSTREAMS": {"payments": {}}})}
    command = [sys.executable, "-m", "django", "check"]

    checked = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert '(resilient_http.E001) RESILIENT_HTTP["UPSTREAMS"]["payments"]["ENDPOINTS"]: at least one' in checked.stderr
