"""Layers: what an upstream inherits, overrides, switches off and on again."""

from __future__ import annotations

from resilient_http.settings.merging import merge
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.network import TimeoutSettings
from resilient_http.settings.retry import RetrySettings


def payments(own, defaults):
    raw = {"defaults": defaults, "upstreams": {"payments": {"endpoints": ["http://n1"], **own}}}
    return Settings(**raw).upstreams["payments"]


def test_an_upstream_inherits_the_defaults():
    upstream = payments({}, {"timeout": {"total": 5.0}, "http2": True})
    assert upstream.timeout.total == 5.0
    assert upstream.timeout.attempt == 3.0
    assert upstream.http2


def test_its_own_settings_come_first_and_the_others_stay():
    upstream = payments({"timeout": {"attempt": 1.0}}, {"timeout": {"total": 5.0, "attempt": 2.0}})
    assert (upstream.timeout.total, upstream.timeout.attempt) == (5.0, 1.0)


def test_mappings_are_merged_to_any_depth():
    upstream = payments({"retry": {"backoff": {"cap": 1.0}}}, {"retry": {"max_attempts": 5, "backoff": {"base": 0.2}}})
    assert upstream.retry.max_attempts == 5
    assert (upstream.retry.backoff.base, upstream.retry.backoff.cap) == (0.2, 1.0)


def test_collections_are_replaced():
    upstream = payments({"retry": {"statuses": [503]}}, {"retry": {"statuses": [500, 502]}})
    assert upstream.retry.statuses == (503,)


def test_a_kind_of_fallback_replaces_the_one_below_it_and_the_rest_is_merged():
    below = {"fallback": {"stale": {"max_age": 60}, "statuses": [503]}}
    fallback = payments({"fallback": {"response": {"body": "x"}}}, below).fallback
    assert (fallback.response.body, fallback.stale, fallback.statuses) == ("x", None, (503,))
    fallback = payments({"fallback": {"function": str}}, {"fallback": {"response": {"body": "x"}}}).fallback
    assert (fallback.function, fallback.response) == (str, None)
    fallback = payments({"fallback": {"stale": {"wait": 1.0}}}, below).fallback
    assert (fallback.stale.max_age, fallback.stale.wait) == (60, 1.0)
    fallback = payments({"fallback": {"observe": True}}, below).fallback
    assert (fallback.stale.max_age, fallback.observe) == (60, True)


def test_a_fixed_response_is_replaced_as_a_whole():
    below = {"fallback": {"response": {"status": 203, "headers": {"a": "b"}, "body": {"a": 1}}}}
    response = payments({"fallback": {"response": {"body": {"b": 1}}}}, below).fallback.response
    assert (response.status, response.headers, response.body) == (200, {}, {"b": 1})


def test_null_switches_a_policy_off():
    upstream = payments({"retry": None, "circuit": None, "concurrency": None}, {"retry": {"max_attempts": 5}})
    assert (upstream.retry, upstream.circuit, upstream.concurrency) == (None, None, None)


def test_null_in_the_defaults_switches_it_off_for_all():
    assert payments({}, {"retry": None}).retry is None


def test_a_mapping_over_a_null_switches_it_on_again_with_the_defaults_of_the_library():
    assert payments({"retry": {}}, {"retry": None}).retry == RetrySettings()
    upstream = payments({"retry": {"budget": {"ratio": 0.5}}}, {"retry": {"max_attempts": 2, "budget": None}})
    assert upstream.retry.max_attempts == 2
    assert (upstream.retry.budget.ratio, upstream.retry.budget.floor) == (0.5, 0.3)


def test_null_over_a_number_is_no_limit():
    assert payments({"timeout": {"total": None}}, {"timeout": {"total": 5.0}}).timeout.total is None


def test_the_defaults_themselves_are_kept_for_unnamed_upstreams():
    settings = Settings(
        defaults={"timeout": {"total": 5.0}}, upstreams={"a": {"endpoints": ["http://n1"], "timeout": {"total": 1.0}}}
    )
    assert settings.defaults.timeout.total == 5.0


def test_upstreams_do_not_see_each_other():
    settings = Settings(upstreams={"a": {"endpoints": ["http://n1"], "retry": None}, "b": {"endpoints": ["http://n2"]}})
    assert settings.upstreams["a"].retry is None
    assert settings.upstreams["b"].retry == RetrySettings()


def test_models_are_merged_by_what_was_set_in_them():
    settings = Settings(
        defaults=UpstreamSettings(timeout=TimeoutSettings(total=5.0)),
        upstreams={"payments": UpstreamSettings(endpoints=("http://n1",), timeout=TimeoutSettings(attempt=1.0))},
    )
    timeout = settings.upstreams["payments"].timeout
    assert (timeout.total, timeout.attempt) == (5.0, 1.0)


def test_a_model_inside_a_mapping_is_merged_too():
    upstream = payments({"timeout": {"attempt": 1.0}}, {"timeout": TimeoutSettings(total=5.0)})
    assert (upstream.timeout.total, upstream.timeout.attempt) == (5.0, 1.0)
    upstream = payments({"timeout": TimeoutSettings(attempt=1.0)}, {"timeout": {"total": 5.0}})
    assert (upstream.timeout.total, upstream.timeout.attempt) == (5.0, 1.0)


def test_merging_changes_neither_layer():
    below, above = {"retry": {"backoff": {"base": 1.0}}}, {"retry": {"backoff": {"cap": 2.0}}}
    assert merge(below, above) == {"retry": {"backoff": {"base": 1.0, "cap": 2.0}}}
    assert below == {"retry": {"backoff": {"base": 1.0}}}
    assert above == {"retry": {"backoff": {"cap": 2.0}}}


def test_what_the_user_passed_in_is_not_changed():
    raw = {"defaults": {"timeout": {"total": 5.0}}, "upstreams": {"payments": {"endpoints": ["http://n1"]}}}
    Settings(**raw)
    assert raw == {"defaults": {"timeout": {"total": 5.0}}, "upstreams": {"payments": {"endpoints": ["http://n1"]}}}
