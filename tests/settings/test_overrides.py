"""One call's own settings, over those of its upstream."""

from __future__ import annotations

import httpx
import pytest

from resilient_http import Resilience, SettingsError, call_options
from resilient_http.settings.models import Settings
from resilient_http.settings.overrides import frozen, overridden

PAYMENTS = Settings(
    upstreams={"payments": {"endpoints": ["http://n1"], "retry": {"max_attempts": 2, "backoff": {"base": 0.3}}}}
).upstreams["payments"]


def test_what_a_call_says_goes_over_what_its_upstream_says():
    own = overridden(PAYMENTS, {"retry": {"statuses": [418]}})
    assert own.retry.statuses == (418,)
    assert (own.retry.max_attempts, own.retry.backoff.base) == (2, 0.3)
    assert own.endpoints == PAYMENTS.endpoints


def test_a_fallback_of_a_call_takes_the_place_of_another_kind():
    settings = {"upstreams": {"payments": {"endpoints": ["http://n1"], "retry": None, "fallback": {"stale": {}}}}}
    own = call_options(fallback={"response": {"body": {"b": 1}}})
    with Resilience(settings).client(transport=httpx.MockTransport(lambda request: httpx.Response(503))) as client:
        assert client.get("http://payments/", extensions=own).json() == {"b": 1}
        assert client.get("http://payments/").status_code == 503


def test_null_switches_a_policy_off():
    assert overridden(PAYMENTS, {"retry": None}).retry is None


@pytest.mark.parametrize(
    ("overrides", "path", "says"),
    [
        (7, "extensions.resilient_http", "a mapping is needed, not int"),
        ({"retries": 1}, "extensions.resilient_http.retries", "did you mean retry"),
        ({"fallback": {"stale": {}}}, "extensions.resilient_http.fallback.stale", "share it"),
        ({"fallback": {}}, "extensions.resilient_http.fallback", "exactly one"),
        ({"circuit": None}, "extensions.resilient_http.circuit", "not a setting of one call"),
        ({"retry": {"budget": None}}, "extensions.resilient_http.retry.budget", "share it"),
        ({"retry": {"max_attempts": 0}}, "extensions.resilient_http.retry.max_attempts", "greater than or equal to 1"),
        ({"retry": {"attempts": 2}}, "extensions.resilient_http.retry.attempts", "did you mean max_attempts"),
    ],
)
def test_a_mistake_names_its_path(overrides, path, says):
    with pytest.raises(SettingsError, match=says) as caught:
        overridden(PAYMENTS, overrides)
    assert caught.value.path == path
    assert path in str(caught.value)


def test_the_helper_says_only_what_was_given():
    assert call_options() == {"resilient_http": {}}
    assert call_options(retry=None) == {"resilient_http": {"retry": None}}


def test_overrides_that_say_the_same_are_the_same():
    assert frozen({"retry": {"statuses": [500, 502]}}) == frozen({"retry": {"statuses": [500, 502]}})
    assert frozen({"retry": {"max_attempts": 1}}) != frozen({"retry": {"max_attempts": True}})
    assert frozen({"fallback": {"body": [["a", 1]]}}) != frozen({"fallback": {"body": {"a": 1}}})
    assert frozen({"retry": {"max_attempts": 1}}) != frozen({"retry": {"max_attempts": 2}})


def test_a_call_is_repeated_as_it_says_and_the_next_one_as_its_upstream_says():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(503, headers={"Retry-After": "0"})

    settings = {"upstreams": {"payments": {"endpoints": ["http://n1"], "circuit": None, "retry": {"budget": None}}}}
    resilience = Resilience(settings)
    with resilience.client(transport=httpx.MockTransport(handler)) as client:
        made = []
        for options in (
            {},
            {"extensions": call_options(retry=None)},
            {"extensions": call_options(retry={"max_attempts": 2})},
        ):
            seen.clear()
            client.get("http://payments/", **options)
            made.append(len(seen))
        with pytest.raises(SettingsError, match=r"extensions\.resilient_http\.retry\.max_attempts"):
            client.get("http://payments/", extensions=call_options(retry={"max_attempts": "many"}))

    assert made == [3, 1, 2]


def test_calls_with_the_same_overrides_share_one_pipeline():
    resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://n1"]}}})
    payments = resilience.dispatcher.registry.named["payments"]
    assert payments.pipeline_of(None) is payments.pipeline
    assert payments.pipeline_of({"retry": None}) is payments.pipeline_of({"retry": None})
    for number in range(1, 300):
        payments.pipeline_of({"retry": {"max_attempts": number}})
    assert len(payments._variants) == 100
    assert payments.pipeline_of({"retry": {"max_attempts": 299}}) is payments.pipeline_of(
        {"retry": {"max_attempts": 299}}
    )
