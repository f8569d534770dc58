"""The defaults are those of the design's table, and the settings stay as they were read."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from resilient_http.settings.circuit import SharedCircuitSettings
from resilient_http.settings.fallback import FallbackSettings, FixedResponseSettings
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.models import Settings
from resilient_http.settings.shared import SharedSettings
from resilient_http.settings.telemetry import HARMLESS
from resilient_http.settings.watch import (
    WatchConsulSettings,
    WatchEtcdSettings,
    WatchHttpSettings,
    WatchRedisSettings,
    WatchSettings,
)
from resilient_http.state.backoff import Backoff
from resilient_http.state.diagnosis import CircuitRules
from resilient_http.state.leased_bucket import LeaseRules
from resilient_http.state.outcome import OutcomeRules
from resilient_http.state.shared_circuit import SharingRules
from resilient_http.upstreams.nodes import circuit_rules, outcome_rules

FILE = __file__  # one that is there


def test_the_defaults_of_an_upstream_are_those_of_the_design():
    upstream = Settings().defaults.model_dump()
    assert upstream == {
        "endpoints": (),
        "discovery": None,
        "host": None,
        "timeout": {"total": 10.0, "attempt": 3.0, "connect": 1.5, "read": 3.0, "write": 3.0, "pool": 1.0},
        "pool": {"max_connections": 100, "max_keepalive": 100, "keepalive_expiry": 4.0, "max_age": 300.0},
        "retry": {
            "max_attempts": 3,
            "statuses": (408, 429, 500, 502, 503, 504),
            "methods": ("DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"),
            "faults": ("unreachable", "timeout", "broken", "local"),
            "classify": None,
            "backoff": {"jitter": "full", "base": 0.1, "cap": 5.0, "throttled_base": 0.5, "elsewhere": 0.25},
            "max_wait": 5.0,
            "stop_header": None,
            "budget": {"ratio": 0.2, "floor": 0.3},
            "observe": False,
        },
        "hedge": None,
        "circuit": {
            "failure_rate": 0.5,
            "min_calls": 20,
            "window": 100,
            "window_span": 30.0,
            "streak": 10,
            "quiet_streak": 5,
            "failures": None,
            "slow_call": None,
            "outcomes": {},
            "silent": {"after": 1.0, "least": 0.25, "factor": 4.0, "in_a_row": 10},
            "open_for": 5.0,
            "max_open_for": 60.0,
            "jitter": 0.2,
            "calm_after": 60.0,
            "probes": 1,
            "successes": 2,
            "lease": 10.0,
            "shared": None,
            "observe": False,
        },
        "concurrency": {
            "limit": 100,
            "queue": 100,
            "adaptive": None,
            "shed_at": 0.75,
            "reserve": 0.0,
            "observe": False,
        },
        "rate_limit": None,
        "pauses": {"endpoint": 60.0, "header": None, "route": None, "by": "path", "observe": False},
        "priority": None,
        "priority_header": None,
        "fallback": None,
        "chaos": None,
        "middleware": {"call": (), "attempt": ()},
        "balance": {
            "by": "p2c",
            "header": None,
            "key": None,
            "bound": 1.25,
            "decay": 10.0,
            "slow_start": None,
            "panic": 0.7,
        },
        "health": None,
        "routes": {},
        "propagate": "tracecontext",
        "deadline_header": None,
        "attempt_header": None,
        "idempotency_key": None,
        "trust_dependency_marker": False,
        "tls": {"verify": True, "cert": None},
        "http2": False,
        "proxy": None,
    }


def test_the_defaults_at_the_root_are_those_of_the_design():
    root = Settings().model_dump(exclude={"defaults"})
    assert root == {
        "enabled": True,
        "backend": "httpx",
        "engine": "default",
        "zone": None,
        "unnamed_upstreams": 1000,
        "inbound": {
            "timeout": 10.0,
            "deadline_headers": ({"name": "x-envoy-expected-rq-timeout-ms", "unit": "ms"},),
            "max": 60.0,
            "trusted_peers": (),
            "queue_header": "x-request-start",
            "repeat_header": "x-envoy-attempt-count",
            "priority_header": None,
            "reserve": 0.05,
            "cancel_on_disconnect": True,
            "answers": True,
        },
        "misplaced": {"in_transaction": "warn", "in_event_loop": "warn"},
        "shared": None,
        "watch": None,
        "telemetry": {"traces": True, "metrics": True, "query": ()},
        "logging": {"calls": True, "fold": 10.0, "headers": HARMLESS, "body": 0, "redact_httpx": True},
        "chaos": {"allowed": (), "key": None, "header": "x-chaos"},
        "console": {"token": None, "actions": True, "span": 300.0, "degraded": 50},
        "upstreams": {},
        "guards": {},
    }


def test_the_defaults_of_what_is_watched():
    none = dict.fromkeys(("file", "etcd", "consul", "redis", "http", "source", "format"))
    own = {"endpoints": False, "interval": 5.0, "timeout": 2.0, "max_backoff": 10.0}
    assert WatchSettings(file="f.toml").model_dump() == none | own | {"file": "f.toml"}
    tls = {"verify": True, "cert": None}
    etcd = WatchEtcdSettings(url="http://e:2379", key="k").model_dump()
    assert etcd == {"url": ("http://e:2379",), "key": "k", "user": None, "password": None, "tls": tls}
    consul = WatchConsulSettings(key="k").model_dump()
    assert consul == {
        "key": "k", "url": "http://127.0.0.1:8500", "datacenter": None, "token": None, "wait": 60.0, "tls": tls,
    }  # fmt: skip
    redis = WatchRedisSettings(redis="redis://r", key="k")
    assert (redis.key, redis.channel) == ("k", None)
    http = WatchHttpSettings(url="http://c/s?x=1")
    assert (http.headers, http.at, http.tls.model_dump()) == ({}, None, tls)


def test_how_a_document_is_written_is_seen_by_its_file():
    written = {name: WatchSettings(file=name).written for name in ("a.toml", "a.JSON", "b.yml", "c.yaml", "d")}
    assert written == {"a.toml": "toml", "a.JSON": "json", "b.yml": "yaml", "c.yaml": "yaml", "d": "json"}
    assert WatchSettings(file="a.txt", format="toml").written == "toml"


def test_the_defaults_of_a_fallback():
    assert FallbackSettings(stale={}).model_dump() == {
        "response": None,
        "function": None,
        "stale": {
            "max_age": 300.0,
            "store": "memory",
            "key": None,
            "max_entries": 1000,
            "max_bytes": 16_777_216,
            "wait": 0.1,
        },
        "statuses": (500, 502, 503, 504),
        "observe": False,
    }
    assert FixedResponseSettings().model_dump() == {"status": 200, "headers": {}, "body": ""}


def test_the_defaults_of_health_checks():
    health = {
        "path": "/health",
        "method": "GET",
        "headers": {},
        "interval": 30.0,
        "timeout": 2.0,
        "healthy_after": 2,
        "unhealthy_after": 3,
        "statuses": (),
        "check": None,
    }
    assert Settings(defaults={"health": {"path": "/health"}}).defaults.health.model_dump() == health
    assert Settings(defaults={"health": "/health"}).defaults.health.model_dump() == health


def test_the_header_values_of_health_checks_are_not_shown():
    settings = Settings(defaults={"health": {"path": "/health", "headers": {"X-Api-Key": "hunter2"}}})
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.defaults.health.secrets == {"x-api-key": "hunter2"}


def test_the_defaults_of_a_guard():
    defaults = Settings().defaults
    assert GuardSettings().model_dump() == {
        "timeout": {"total": 10.0, "attempt": None, "queue": 1.0},
        "retry": {
            "max_attempts": 3,
            "classify": None,
            "backoff": defaults.retry.backoff.model_dump(),
            "max_wait": 5.0,
            "budget": defaults.retry.budget.model_dump(),
            "observe": False,
        },
        "circuit": defaults.circuit.model_dump(),
        "concurrency": defaults.concurrency.model_dump(),
    }


def test_what_is_off_by_default_has_defaults_too():
    shared = {"redis": "redis://10.0.0.5:6379/0"}
    circuit = {"slow_call": {"duration": 2.0}, "shared": {}}
    settings = Settings(shared=shared, defaults={"circuit": circuit, "rate_limit": {"rate": 50}})
    assert settings.shared.model_dump(exclude={"redis"}) == {
        "prefix": "resilient-http",
        "interval": 0.25,
        "timeout": 0.25,
        "expires": 2.0,
        "max_backoff": 5.0,
    }
    assert settings.defaults.circuit.slow_call.model_dump() == {"duration": 2.0, "rate": 1.0}
    assert settings.defaults.rate_limit.model_dump() == {
        "rate": 50.0,
        "burst": None,
        "wait": 0.0,
        "shared": False,
        "observe": False,
    }
    assert settings.defaults.rate_limit.kept == 50.0
    assert settings.defaults.circuit.shared.model_dump() == {"quorum": 2, "share": 0.5, "veto": 0.5}


def test_an_endpoint_is_written_as_its_url_or_as_a_mapping():
    endpoints = ["http://10.0.0.1:8080", {"url": "http://10.0.0.2:8080/", "weight": 2, "backup": True}]
    first, second = Settings(upstreams={"payments": {"endpoints": endpoints}}).upstreams["payments"].endpoints
    assert (first.url, first.weight, first.backup) == ("http://10.0.0.1:8080", 1.0, False)
    assert (second.url, second.weight, second.backup) == ("http://10.0.0.2:8080", 2.0, True)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://10.0.0.1:8080", ("http", "10.0.0.1", 8080)),
        ("http://pay.example", ("http", "pay.example", 80)),
        ("https://pay.example/", ("https", "pay.example", 443)),
        ("HTTPS://Pay.Example:444", ("https", "pay.example", 444)),
        ("http://[::1]:8080", ("http", "::1", 8080)),
    ],
)
def test_an_endpoints_origin(url, origin):
    (endpoint,) = Settings(upstreams={"payments": {"endpoints": [url]}}).upstreams["payments"].endpoints
    assert endpoint.origin == origin


def test_the_state_machines_have_the_same_defaults():
    upstream = Settings().defaults
    assert circuit_rules(upstream.circuit) == CircuitRules()
    assert outcome_rules(upstream.circuit) == OutcomeRules()
    shared = SharedSettings(redis="redis://n1")
    rules = SharingRules(**SharedCircuitSettings().model_dump(), expires=shared.expires, interval=shared.interval)
    assert rules == SharingRules()
    assert LeaseRules(shared.interval, shared.expires) == LeaseRules()
    assert Backoff(**upstream.retry.backoff.model_dump()) == Backoff()


def test_methods_are_written_in_either_case():
    settings = Settings(defaults={"retry": {"methods": ["get", "Report"]}})
    assert settings.defaults.retry.methods == ("GET", "REPORT")


def test_settings_cannot_be_changed():
    settings = Settings(upstreams={"payments": {"endpoints": ["http://n1"]}})
    payments = settings.upstreams["payments"]
    for model, name in [
        (settings, "enabled"),
        (payments, "timeout"),
        (payments.timeout, "total"),
        (payments.retry.budget, "ratio"),
        (payments.endpoints[0], "url"),
    ]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, name, getattr(model, name))


def test_collections_are_tuples():
    settings = Settings(
        inbound={"deadline_headers": ["x-deadline-ms"], "trusted_peers": ["10.0.0.0/8"]},
        upstreams={"payments": {"endpoints": ["http://n1"], "retry": {"statuses": [503], "methods": ["GET"]}}},
    )
    payments = settings.upstreams["payments"]
    for collection in (
        settings.inbound.deadline_headers,
        settings.inbound.trusted_peers,
        payments.endpoints,
        payments.retry.statuses,
        payments.retry.methods,
    ):
        assert isinstance(collection, tuple)


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"enabled": False, "backend": "httpx2", "inbound": {"timeout": None}},
        {"defaults": {"retry": None, "circuit": None, "concurrency": None}},
        {"upstreams": {"payments": {"endpoints": ["http://n1", {"url": "http://n2", "weight": 2}]}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "proxy": "http://user:secret@proxy:3128"}}},
        {
            "upstreams": {
                "payments": {"endpoints": ["https://n1"], "tls": {"verify": False, "cert": [__file__, __file__]}}
            }
        },
        {
            "shared": {"redis": "redis://:secret@n1/0"},
            "defaults": {"circuit": {"shared": {}, "outcomes": {"500": "neutral"}}},
        },
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "timeout": {"total": 2.0}}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "timeout": {"attempt": 20.0}}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "timeout": {"total": None, "attempt": None}}}},
        {"defaults": {"health": {"path": "/", "headers": {"x-key": "secret"}}}},
        {"console": {"token": "0123456789abcdef", "span": 600}},
    ],
    ids=[
        "none",
        "root",
        "all off",
        "endpoints",
        "proxy",
        "tls",
        "shared",
        "short total",
        "long attempt",
        "no timeout",
        "health",
        "console",
    ],
)
def test_what_was_dumped_can_be_read_again(raw):
    settings = Settings(**raw)
    assert Settings(**settings.model_dump()) == settings


def test_a_proxys_credentials_are_not_shown():
    settings = Settings(upstreams={"payments": {"endpoints": ["http://n1"], "proxy": "http://user:secret@proxy"}})
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings)
    assert "secret" not in settings.model_dump_json()
    assert settings.upstreams["payments"].proxy.get_secret_value() == "http://user:secret@proxy"


def test_a_redis_password_is_not_shown():
    for url in ("redis://:secret@n1:6379/0", "rediss://user:secret@n1", "unix:///run/secret.sock"):
        settings = Settings(shared={"redis": url})
        assert "secret" not in repr(settings) + str(settings) + settings.model_dump_json()
        assert settings.shared.redis.get_secret_value() == url
