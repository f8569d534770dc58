"""Option keys in upper case, and mistakes told as the user wrote them."""

import pytest

from resilient_http import Settings, SettingsError

PAYMENTS = {"ENDPOINTS": [{"URL": "http://10.0.0.1:8080", "WEIGHT": 2}]}


def refused(raw):
    with pytest.raises(SettingsError) as caught:
        Settings.from_upper_case(raw)
    return caught.value


def test_option_keys_are_upper_case_and_names_stay_as_they_are():
    settings = Settings.from_upper_case({"UPSTREAMS": {"payments": {**PAYMENTS, "RETRY": {"MAX_ATTEMPTS": 5}}}})

    assert settings.upstreams["payments"].retry.max_attempts == 5
    assert settings.upstreams["payments"].endpoints[0].weight == 2


def test_lower_case_keys_are_understood_too():
    assert Settings.from_upper_case({"inbound": {"TIMEOUT": 2.0}}).inbound.timeout == 2.0


def test_settings_pass_as_they_are():
    settings = Settings(enabled=False)

    assert Settings.from_upper_case(settings) is settings


def test_a_mistake_is_told_with_the_path_that_the_user_wrote_and_the_value():
    error = refused({"UPSTREAMS": {"payments": {**PAYMENTS, "RETRY": {"MAX_ATTEMPTS": 0}}}})

    assert error.path == 'RESILIENT_HTTP["UPSTREAMS"]["payments"]["RETRY"]["MAX_ATTEMPTS"]'
    assert error.value == 0
    assert str(error).startswith(f"{error.path}: ")
    assert "(got 0)" in str(error)


def test_a_place_in_a_list_is_told_by_its_position():
    error = refused({"UPSTREAMS": {"payments": {"ENDPOINTS": ["http://a", {"URL": "nonsense"}]}}})

    assert error.path == 'RESILIENT_HTTP["UPSTREAMS"]["payments"]["ENDPOINTS"][1]["URL"]'


def test_an_upstream_that_is_named_like_a_host_is_told_whole():
    error = refused({"UPSTREAMS": {"api.example.com": PAYMENTS}})

    assert error.path == 'RESILIENT_HTTP["UPSTREAMS"]["api.example.com"]'


def test_an_unknown_key_comes_with_the_nearest_known_one_in_upper_case():
    error = refused({"DEFAULTS": {"RETRY": {"MAX_ATEMPTS": 3}}})

    assert "did you mean MAX_ATTEMPTS?" in str(error)
    assert error.mistakes[0].known == ("MAX_ATTEMPTS",)


def test_all_mistakes_are_told_at_once():
    error = refused({"INBOUND": {"TIMEOUT": -1}, "UPSTREAMS": {"payments": {**PAYMENTS, "TIMEOUT": {"READ": "soon"}}}})

    assert [mistake.path for mistake in error.mistakes] == [
        ('RESILIENT_HTTP["INBOUND"]["TIMEOUT"]',),
        ('RESILIENT_HTTP["UPSTREAMS"]["payments"]["TIMEOUT"]["READ"]',),
    ]


def test_a_mistake_in_the_defaults_is_not_told_again_for_each_upstream():
    error = refused({"DEFAULTS": {"RETRY": {"MAX_ATTEMPTS": 0}}, "UPSTREAMS": {"payments": PAYMENTS}})

    assert len(error.mistakes) == 1


def test_a_key_in_both_cases_is_refused():
    assert "given twice" in str(refused({"INBOUND": {"TIMEOUT": 1, "timeout": 2}}))


@pytest.mark.parametrize("raw", [None, [], "payments"])
def test_something_else_than_a_dict_is_refused(raw):
    assert "RESILIENT_HTTP is a dict" in str(refused(raw))


def test_an_answer_and_the_names_of_guards_stay_as_they_are_written():
    settings = Settings.from_upper_case({
        "GUARDS": {"inventory-db": {"TIMEOUT": {"TOTAL": 3}}},
        "DEFAULTS": {"FALLBACK": {"RESPONSE": {"HEADERS": {"X-From": "Us"}, "BODY": {"Price": {"EUR": 1}}}}},
    })  # fmt: skip
    assert settings.guards["inventory-db"].timeout.total == 3
    assert settings.defaults.fallback.response.body == {"Price": {"EUR": 1}}
    assert settings.defaults.fallback.response.lines == (("content-type", "application/json"), ("x-from", "Us"))


def test_an_engine_that_cannot_do_it_is_told_as_it_was_written():
    assert Settings.from_upper_case({"ENGINE": "aiohttp"}).engine == "aiohttp"
    with pytest.raises(SettingsError) as caught:
        Settings.from_upper_case({"ENGINE": "aiohttp", "DEFAULTS": {"HTTP2": True}})
    assert caught.value.path == 'RESILIENT_HTTP["DEFAULTS"]["HTTP2"]'
