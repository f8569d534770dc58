"""What is watched: exactly one place, and what makes no sense is refused with its path."""

from __future__ import annotations

import pytest

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings


def document():
    return {}


async def asynchronous():
    return {}


def refused(watch) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Settings(watch=watch)
    return caught.value


@pytest.mark.parametrize(
    ("watch", "path"),
    [
        ({}, "watch"),
        ({"file": "a.toml", "source": document}, "watch"),
        ("a.toml", "watch"),
        ({"file": ""}, "watch.file"),
        ({"file": "a", "format": "ini"}, "watch.format"),
        ({"file": "a", "interval": 0}, "watch.interval"),
        ({"file": "a", "timeout": True}, "watch.timeout"),
        ({"file": "a", "max_backoff": -1}, "watch.max_backoff"),
        ({"file": "a", "endpoints": "perhaps"}, "watch.endpoints"),
        ({"fiel": "a"}, "watch.fiel"),
        ({"source": "no.such.function"}, "watch.source"),
        ({"source": dict}, "watch.source"),
        ({"source": 5}, "watch.source"),
        ({"source": asynchronous}, "watch.source"),
        ({"etcd": {"key": "k"}}, "watch.etcd.url"),
        ({"etcd": {"url": "http://e", "key": ""}}, "watch.etcd.key"),
        ({"etcd": {"url": [], "key": "k"}}, "watch.etcd.url"),
        ({"etcd": {"url": "http://e/v3", "key": "k"}}, "watch.etcd.url"),
        ({"etcd": {"url": "http://e", "key": "k", "user": "u"}}, "watch.etcd.password"),
        ({"consul": {}}, "watch.consul.key"),
        ({"consul": {"key": "k", "wait": 601}}, "watch.consul.wait"),
        ({"consul": {"key": "k", "url": "consul:8500"}}, "watch.consul.url"),
        ({"redis": {"redis": "redis://r"}}, "watch.redis.key"),
        ({"redis": {"redis": "http://r", "key": "k"}}, "watch.redis.redis"),
        ({"http": {"url": "config"}}, "watch.http.url"),
        ({"http": {"url": "http://c/", "headers": {"x y": "1"}}}, "watch.http.headers.x y"),
        ({"http": {"url": "http://c/", "at": ""}}, "watch.http.at"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(watch, path):
    assert refused(watch).path == path


def test_which_ones_are_given_is_told():
    assert "file and source are given" in str(refused({"file": "a", "source": document}))


@pytest.mark.parametrize(
    ("watch", "extra"),
    [
        ({"redis": {"redis": "redis://r", "key": "k"}}, "redis"),
        ({"file": "a.yaml"}, "yaml"),
        ({"source": document, "format": "yaml"}, "yaml"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, watch, extra):
    monkeypatch.setattr("resilient_http.settings.watch.find_spec", lambda name: None)
    assert f'pip install "resilient-http[{extra}]"' in str(refused(watch))


def test_a_function_may_be_a_dotted_path_and_is_not_shown():
    settings = Settings(watch={"source": f"{__name__}:document"})
    assert settings.watch.source is document
    assert "document" not in repr(settings)
    assert settings.watch.kind == "source"
