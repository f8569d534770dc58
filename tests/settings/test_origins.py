"""Origins: the layers in their order, and where each value comes from."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from resilient_http import Settings, SettingsError, load_settings

REPORT = "GET /v1.0/reports/{id}"
BASE = """
[defaults]
timeout.total = 8
retry.max_attempts = 4

[upstreams.payments]
endpoints = ["http://n1"]
retry.backoff.base = 0.2
proxy = "http://user:hunter2@proxy:3128"

[upstreams.payments.routes."GET /v1.0/reports/{id}"]
timeout.total = 60
"""
MORE = """
upstreams:
  payments:
    retry: {max_attempts: 5}
    hedge: {}
"""
ENVIRONMENT = {
    "RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__BACKOFF__CAP": "3",
    "RESILIENT_HTTP_DEFAULTS__TIMEOUT__READ": "2",
}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Two files, the environment and a mapping."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "more.yaml").write_text(MORE)
    return load_settings({"defaults": {"circuit": None}}, "base.toml", "more.yaml", environment=ENVIRONMENT)


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("upstreams.payments.retry.max_attempts", "more.yaml: upstreams.payments.retry.max_attempts"),
        ("upstreams.payments.retry.backoff.base", "base.toml: upstreams.payments.retry.backoff.base"),
        ("upstreams.payments.retry.backoff.cap",
         "environment RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__BACKOFF__CAP"),
        ("upstreams.payments.retry.backoff.jitter", "defaults of the library"),
        ("upstreams.payments.timeout.total", "base.toml: defaults.timeout.total"),
        ("upstreams.payments.timeout.read", "environment RESILIENT_HTTP_DEFAULTS__TIMEOUT__READ"),
        ("upstreams.payments.timeout.write", "defaults of the library"),
        ("upstreams.payments.circuit", "settings: defaults.circuit"),
        ("upstreams.payments.hedge", "more.yaml: upstreams.payments.hedge"),
        ("upstreams.payments.hedge.delay", "defaults of the library"),
        ("upstreams.payments.endpoints", "base.toml: upstreams.payments.endpoints"),
        ("upstreams.payments.endpoints.0.url", "base.toml: upstreams.payments.endpoints"),
        (f"upstreams.payments.routes.{REPORT}.timeout.total",
         f"base.toml: upstreams.payments.routes.{REPORT}.timeout.total"),
        (f"upstreams.payments.routes.{REPORT}.timeout.read", "environment RESILIENT_HTTP_DEFAULTS__TIMEOUT__READ"),
        (f"upstreams.payments.routes.{REPORT}.retry.max_attempts", "more.yaml: upstreams.payments.retry.max_attempts"),
        (("upstreams", "payments", "routes", REPORT, "timeout", "total"),
         f"base.toml: upstreams.payments.routes.{REPORT}.timeout.total"),
        ("defaults.retry.max_attempts", "base.toml: defaults.retry.max_attempts"),
        ("inbound.timeout", "defaults of the library"),
        ("zone", "defaults of the library"),
    ],
)  # fmt: skip
def test_each_value_knows_where_it_comes_from(settings, path, origin):
    assert str(settings.origin_of(path)) == origin


def test_the_layers_are_in_their_order(settings):
    payments = settings.upstreams["payments"]
    assert (payments.retry.max_attempts, payments.retry.backoff.base, payments.retry.backoff.cap) == (5, 0.2, 3.0)
    assert (payments.timeout.total, payments.timeout.read, payments.circuit) == (8.0, 2.0, None)
    assert payments.routes[REPORT].timeout.total == 60.0


def test_a_mapping_goes_over_the_environment_and_a_later_one_over_an_earlier_one():
    environment = {"RESILIENT_HTTP_INBOUND__TIMEOUT": "1", "RESILIENT_HTTP_INBOUND__MAX": "11"}
    made = load_settings({"inbound": {"timeout": 2}}, {"inbound": {"timeout": 3}}, environment=environment)
    assert (made.inbound.timeout, made.inbound.max) == (3.0, 11.0)


@pytest.mark.parametrize("path", ["upstreams.billing", "upstreams.payments.retries", "", "x", ("x",),
                                  ("upstreams", "payments", "x")])  # fmt: skip
def test_a_key_that_is_none_is_a_key_error(settings, path):
    if path == "":
        assert str(settings.origin_of(path)) == "settings"
        return
    with pytest.raises(KeyError):
        settings.origin_of(path)


def test_settings_of_an_explicit_mapping_know_their_origins_too():
    settings = Settings(defaults={"retry": {"max_attempts": 2}}, upstreams={"payments": {"endpoints": ["http://n1"]}})
    assert str(settings.origin_of("upstreams.payments.retry.max_attempts")) == "settings: defaults.retry.max_attempts"


def test_settings_in_upper_case_know_the_variable_that_holds_them():
    raw = {"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://n1"], "ROUTES": {"GET /X": {"RETRY": None}}}}}
    made = Settings.from_upper_case(raw, environment={"RESILIENT_HTTP_ZONE": "a", "RESILIENT_HTTP_OTHER": "left alone"})
    assert str(made.origin_of("upstreams.payments.endpoints")) == 'RESILIENT_HTTP["UPSTREAMS"]["payments"]["ENDPOINTS"]'
    assert str(made.origin_of("zone")) == "environment RESILIENT_HTTP_ZONE"
    assert made.upstreams["payments"].routes["GET /X"].retry is None


def test_a_mistake_in_upper_case_is_spelled_so_but_not_that_of_a_variable():
    with pytest.raises(SettingsError) as caught:
        Settings.from_upper_case({"ZONE": ""}, environment={"RESILIENT_HTTP_INBOUND__TIMEOUT": "0"})
    zone, timeout = sorted(map(str, caught.value.mistakes))
    assert zone.startswith('RESILIENT_HTTP["ZONE"]: ')
    assert timeout.startswith("environment RESILIENT_HTTP_INBOUND__TIMEOUT: inbound.timeout: ")


def test_where_values_come_from_is_no_part_of_what_they_are(settings, tmp_path):
    same = Settings(**{key: getattr(settings, key) for key in Settings.model_fields})
    assert settings == same
    assert str(settings.origin_of("inbound")) != str(same.origin_of("inbound"))
    assert repr(settings) == repr(same)
    assert settings.model_dump() == same.model_dump()


def test_copies_know_it_too(settings):
    for again in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings)), settings.model_copy()):
        assert again == settings
        assert str(again.origin_of("upstreams.payments.hedge")) == "more.yaml: upstreams.payments.hedge"


def test_the_explanation_is_json_names_every_value_and_masks_secrets(settings):
    told = {each["path"]: each for each in json.loads(json.dumps(settings.explained()))}
    assert told["upstreams.payments.retry.backoff.cap"] == {
        "path": "upstreams.payments.retry.backoff.cap",
        "value": 3.0,
        "origin": "environment RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__BACKOFF__CAP",
    }
    assert told["upstreams.payments.proxy"]["value"] == "***"
    assert told["upstreams.payments.endpoints"]["value"] == [{"url": "http://n1"}]
    assert told[f"upstreams.payments.routes.{REPORT}.timeout.total"]["value"] == 60.0
    assert "hunter2" not in str(told) + repr(vars(settings))


def test_a_value_that_follows_from_another_one_says_so():
    told = {each["path"]: each for each in Settings(defaults={"timeout": {"total": 2}}).explained()}
    assert told["defaults.timeout.attempt"]["value"] == 2.0
    assert told["defaults.timeout.attempt"]["origin"] == "follows from other settings"
