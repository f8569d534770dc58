"""One Resilience per process, from RESILIENT_HTTP as it is at the moment."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.test import override_settings

from resilient_http import Settings, SettingsError
from resilient_http_django import get_client, get_resilience
from tests.live.servers import answer


def test_without_the_setting_the_defaults_apply(settings):
    del settings.RESILIENT_HTTP

    assert get_resilience().settings.inbound.timeout == 10.0


def test_option_keys_are_in_upper_case(settings):
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": 2.0}}

    assert get_resilience().settings.inbound.timeout == 2.0


def test_the_environment_goes_over_the_setting(settings, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "3")
    settings.RESILIENT_HTTP = {"INBOUND": {"TIMEOUT": 2.0, "MAX": 20.0}}

    assert (get_resilience().settings.inbound.timeout, get_resilience().settings.inbound.max) == (3.0, 20.0)


def test_settings_that_are_made_already_are_taken_as_they_are(settings, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_INBOUND__TIMEOUT", "3")
    settings.RESILIENT_HTTP = Settings()

    assert get_resilience().settings.inbound.timeout == 10.0


def test_the_setting_may_be_the_path_of_a_file(settings, tmp_path):
    (tmp_path / "settings.toml").write_text("inbound.timeout = 4")
    settings.RESILIENT_HTTP = str(tmp_path / "settings.toml")

    assert get_resilience().settings.inbound.timeout == 4.0


def test_a_process_has_one_resilience():
    assert get_resilience() is get_resilience()


def test_threads_that_are_first_at_once_get_the_same_one(settings):
    settings.RESILIENT_HTTP = {}
    barrier = Barrier(8)

    def first(_):
        barrier.wait()
        return get_resilience()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first, range(8)))) == 1


def test_override_settings_takes_effect_at_once_and_ends_with_its_block():
    before = get_resilience()
    with override_settings(RESILIENT_HTTP={"INBOUND": {"TIMEOUT": 1.5}}):
        assert get_resilience().settings.inbound.timeout == 1.5

    assert get_resilience() is not before
    assert get_resilience().settings.inbound.timeout == 10.0


def test_another_setting_changes_nothing():
    before = get_resilience()
    with override_settings(LANGUAGE_CODE="de"):
        assert get_resilience() is before


def test_what_is_replaced_closes_its_connections(payments, settings):
    server = payments(answer())
    get_client().get("http://payments/")
    assert server.open_connections == 1

    settings.RESILIENT_HTTP = {}

    server.wait_for_open_connections(0)


def test_a_client_that_was_made_before_the_change_still_works(payments, settings):
    payments(answer())
    client = get_client()
    client.get("http://payments/")
    settings.RESILIENT_HTTP = {}

    assert client.get("http://payments/").status_code == 200
    client._host.close()


def test_a_mistake_is_told_where_the_setting_is_read(settings):
    settings.RESILIENT_HTTP = {"DEFAULTS": {"RETRY": {"MAX_ATTEMPTS": "many"}}}

    with pytest.raises(SettingsError, match=r'RESILIENT_HTTP\["DEFAULTS"\]\["RETRY"\]\["MAX_ATTEMPTS"\]'):
        get_client()
