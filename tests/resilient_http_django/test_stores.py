"""Django's caches keep the last good answers, for sync and async views."""

from __future__ import annotations

import time

import pytest
from django.core.cache import caches

from resilient_http_django import get_async_client, get_client, get_resilience
from resilient_http_django.stores import DjangoCache
from tests.live.servers import answer

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"
MARKER = "x-resilient-http-fallback"
other = DjangoCache("other")


@pytest.fixture(params=["default", "other"])
def stale(request, settings, payments, tmp_path):
    """An upstream that answers once; its fallback, and the cache that it is kept in."""
    settings.CACHES = {
        "default": {"BACKEND": LOCMEM, "LOCATION": str(tmp_path)},
        "other": {"BACKEND": FILES, "LOCATION": str(tmp_path)},
    }
    path = "resilient_http_django.stores.default" if request.param == "default" else f"{__name__}.other"
    fallback = {"STALE": {"MAX_AGE": 60, "STORE": path, "WAIT": 2}}
    payments([answer(200, "prices"), answer(503)], DEFAULTS={"RETRY": None, "FALLBACK": fallback})
    yield caches[request.param]
    caches[request.param].clear()


def until_kept():
    """The store is written beside the call."""
    known = get_resilience().dispatcher.registry.all()["payments"]
    store = known.settings.fallback.stale.store
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if list(kept(caches[store.alias])):
            return
        time.sleep(0.001)
    raise AssertionError("nothing was kept")


def kept(cache):
    return cache._cache if hasattr(cache, "_cache") else cache._list_cache_files()


def test_a_sync_view_is_given_the_last_good_answer(stale, rf):
    client = get_client(rf.get("/"))
    assert client.get("http://payments/prices").text == "prices"
    until_kept()
    response = client.get("http://payments/prices")
    assert (response.status_code, response.text, response.headers[MARKER]) == (200, "prices", "stale")


async def test_an_async_view_is_given_the_last_good_answer(stale, async_rf):
    client = get_async_client(async_rf.get("/"))
    assert (await client.get("http://payments/prices")).text == "prices"
    until_kept()
    response = await client.get("http://payments/prices")
    assert (response.status_code, response.text, response.headers[MARKER]) == (200, "prices", "stale")


def test_a_store_forgets():
    store = DjangoCache()
    store.set("a", b"x", 0.2)  # a whole second at least: 0 would be "not at all"
    assert store.get("a") == b"x"
    store.delete("a")
    assert store.get("a") is None
