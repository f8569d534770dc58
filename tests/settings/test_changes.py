"""Changes: what differs between two settings, as a person reads it."""

from __future__ import annotations

import pytest

from resilient_http import SettingsError
from resilient_http.settings.changes import changes, check_reloadable
from resilient_http.settings.models import Settings


def settings(root=None, **own):
    return Settings(**(root or {}), upstreams={"payments": {"endpoints": ["http://n1"], **own}})


def told(old, new):
    return [str(change) for change in changes(old, new)]


def test_nothing_differs_between_equals():
    assert told(settings(), settings(timeout={"total": 10.0})) == []


def test_a_value_that_differs_is_told_with_its_path():
    assert told(settings(), settings(timeout={"total": 5}, retry={"budget": {"ratio": 0.1}})) == [
        "upstreams.payments.timeout.total: 10.0 -> 5.0",
        "upstreams.payments.retry.budget.ratio: 0.2 -> 0.1",
    ]


def test_a_policy_that_is_switched_off_or_on_is_told():
    (first, *rest) = changes(settings(), settings(retry=None))
    assert first.path.startswith("upstreams.payments.retry.")
    assert first.new == "(none)"
    assert str(rest[-1]) == "upstreams.payments.retry: on -> none"
    assert told(settings(retry=None), settings())[0] == "upstreams.payments.retry: none -> on"
    assert "upstreams.payments.hedge.delay: (none) -> p95" in told(settings(), settings(hedge={}))


def test_endpoints_are_known_by_their_url():
    old = settings(endpoints=["http://n1", "http://n2"])
    assert told(old, settings(endpoints=["http://n2", "http://n1"])) == []
    assert told(old, settings(endpoints=[{"url": "http://n2", "weight": 3}, "http://n1"])) == [
        "upstreams.payments.endpoints[http://n2].weight: 1.0 -> 3.0"
    ]
    gone = told(old, settings(endpoints=["http://n1"]))
    assert "upstreams.payments.endpoints[http://n2].url: http://n2 -> (none)" in gone


def test_upstreams_come_and_go():
    old, new = settings(), Settings(upstreams={"search": {"endpoints": ["http://s1"]}})
    lines = told(old, new)
    assert "upstreams.payments.endpoints[http://n1].url: http://n1 -> (none)" in lines
    assert "upstreams.search.endpoints[http://s1].url: (none) -> http://s1" in lines


def classify(outcome):
    return None


def test_a_function_is_told_by_its_name_and_a_secret_not_at_all():
    lines = told(
        settings(proxy="http://user:hunter2@proxy:3128"),
        settings(proxy="http://user:hunter3@proxy:3128", retry={"classify": classify}),
    )
    assert f"upstreams.payments.retry.classify: none -> {__name__}.classify" in lines
    assert "upstreams.payments.proxy: *** -> ***" in lines
    assert "hunter" not in "".join(lines)


def test_collections_are_told_whole():
    assert told(settings(), settings(retry={"statuses": [503]})) == [
        "upstreams.payments.retry.statuses: [408, 429, 500, 502, 503, 504] -> [503]"
    ]


@pytest.mark.parametrize("key", ["backend", "engine"])
def test_what_needs_a_new_process_is_refused_with_its_name(key):
    value = {"backend": "httpx2", "engine": "aiohttp"}[key]
    with pytest.raises(SettingsError, match="start it anew") as caught:
        check_reloadable(settings(), settings({key: value}))
    assert caught.value.path == key
    check_reloadable(settings(), settings(timeout={"total": 1}))
