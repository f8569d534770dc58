"""Settings from the environment, from a settings module, or as they are given."""

import sys

import pytest

from resilient_http import SettingsError
from resilient_http_fastapi import settings_from_environment, settings_from_module
from resilient_http_fastapi.settings import settings_of

ENDPOINTS = 'RESILIENT_HTTP_UPSTREAMS__PAYMENTS__ENDPOINTS=["http://10.0.0.1:8080"]'


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, each written as in a shell, and reads the settings from them."""

    def read(*variables):
        for variable in variables:
            name, _, value = variable.partition("=")
            monkeypatch.setenv(name, value)
        return settings_from_environment()

    return read


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a settings module, and reads the settings from it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "service_settings", raising=False)

    def read(text):
        (tmp_path / "service_settings.py").write_text(text)
        return settings_from_module("service_settings")

    return read


def test_an_empty_environment_gives_the_defaults(environment):
    assert environment().inbound.timeout == 10.0


def test_two_underscores_go_one_level_down(environment):
    settings = environment(ENDPOINTS, "RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__MAX_ATTEMPTS=2")

    assert settings.upstreams["payments"].endpoints[0].url == "http://10.0.0.1:8080"
    assert settings.upstreams["payments"].retry.max_attempts == 2


def test_a_level_can_be_json(environment):
    settings = environment('RESILIENT_HTTP_UPSTREAMS={"payments": {"endpoints": ["http://10.0.0.1"]}}')

    assert settings.upstreams["payments"].endpoints[0].url == "http://10.0.0.1"


def test_a_variable_further_down_goes_over_the_json_above_it(environment):
    settings = environment(
        'RESILIENT_HTTP_DEFAULTS={"retry": {"max_attempts": 5}, "timeout": {"read": 1}}',
        "RESILIENT_HTTP_DEFAULTS__RETRY__MAX_ATTEMPTS=2",
    )

    assert settings.defaults.retry.max_attempts == 2
    assert settings.defaults.timeout.read == 1.0


def test_defaults_are_inherited_by_the_upstreams(environment):
    settings = environment(ENDPOINTS, "RESILIENT_HTTP_DEFAULTS__TIMEOUT__TOTAL=1.5")

    assert settings.upstreams["payments"].timeout.total == 1.5


def test_null_switches_a_policy_off(environment):
    settings = environment("RESILIENT_HTTP_DEFAULTS__RETRY=null", "RESILIENT_HTTP_DEFAULTS__TIMEOUT__TOTAL=null")

    assert settings.defaults.retry is None
    assert settings.defaults.timeout.total is None


def test_everything_can_be_switched_off(environment):
    assert environment("RESILIENT_HTTP_ENABLED=false").enabled is False


def test_an_underscore_stands_for_the_hyphen_of_a_name(environment):
    settings = environment(
        'RESILIENT_HTTP_UPSTREAMS__CARD_PAYMENTS__ENDPOINTS=["http://10.0.0.1"]',
        "RESILIENT_HTTP_GUARDS__INVENTORY_DB__TIMEOUT__TOTAL=2",
    )
    assert settings.guards["inventory-db"].timeout.total == 2

    assert list(settings.upstreams) == ["card-payments"]


def test_a_wrong_value_is_told_with_its_path(environment):
    with pytest.raises(SettingsError) as caught:
        environment(ENDPOINTS, "RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__MAX_ATTEMPTS=0")

    assert caught.value.path == "upstreams.payments.retry.max_attempts"


def test_a_variable_that_names_no_setting_is_refused_with_the_nearest_that_does(environment):
    with pytest.raises(SettingsError, match=r"did you mean upstreams\?"):
        environment("RESILIENT_HTTP_UPSTREAM__PAYMENTS__ENDPOINTS=[]")


def test_json_that_is_broken_is_refused(environment):
    with pytest.raises(SettingsError, match="not JSON"):
        environment("RESILIENT_HTTP_UPSTREAMS={payments}")


def test_a_module_holds_one_dict(module):
    settings = module("""RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://10.0.0.1"]}}}""")

    assert list(settings.upstreams) == ["payments"]


def test_a_module_holds_a_name_for_each_part(module):
    settings = module(
        """
RESILIENT_HTTP_INBOUND = {"TIMEOUT": 2.0}
RESILIENT_HTTP_UPSTREAMS = {"payments": {"endpoints": ["http://10.0.0.1"]}}
"""
    )

    assert settings.inbound.timeout == 2.0
    assert list(settings.upstreams) == ["payments"]


def test_a_part_goes_over_the_dict(module):
    settings = module(
        """
RESILIENT_HTTP = {"inbound": {"timeout": 1.0}, "ENABLED": False}
RESILIENT_HTTP_INBOUND = {"TIMEOUT": 2.0}
"""
    )

    assert settings.inbound.timeout == 2.0
    assert settings.enabled is False


def test_a_mistake_in_a_module_is_told_as_it_was_written(module):
    with pytest.raises(SettingsError, match=r'RESILIENT_HTTP\["INBOUND"\]\["TIMEOUT"\]'):
        module("""RESILIENT_HTTP_INBOUND = {"TIMEOUT": -1}""")


def test_a_module_without_any_settings_is_refused(module):
    with pytest.raises(SettingsError, match="service_settings holds neither RESILIENT_HTTP nor"):
        module("DEBUG = True")


def test_a_middleware_takes_any_of_them_and_the_environment_goes_over(module, environment, tmp_path):
    environment("RESILIENT_HTTP_INBOUND__TIMEOUT=3")
    settings = module("RESILIENT_HTTP = {'INBOUND': {'TIMEOUT': 2.0, 'MAX': 20.0}}")
    file = tmp_path / "settings.toml"
    file.write_text("inbound.max = 30.0")

    assert settings_of(settings) is settings
    assert settings_of({"enabled": False}) == {"enabled": False}
    for source, most in [("service_settings", 20.0), (file, 30.0), (str(file), 30.0), (None, 60.0)]:
        inbound = settings_of(source).inbound
        assert (inbound.timeout, inbound.max) == (3.0, most)  # the environment goes over a module and a file
