"""Advice: what is likely wrong is told where it was made, once; and settings that are right are left alone."""

from __future__ import annotations

import pytest

from resilient_http import Settings, advise, load_settings


def told(own=None, *, root=None, deploy=False, **options):
    """The ids and paths of the advice on an upstream "payments" with these settings."""
    upstream = {"endpoints": ["http://10.0.0.1"], **(own or {})}
    advice = advise(Settings(**{"upstreams": {"payments": upstream}, **(root or {})}), deploy=deploy, **options)
    return [f"{each.id} {'.'.join(each.path).removeprefix('upstreams.payments.')}" for each in advice]


def test_the_defaults_give_no_advice():
    assert advise(Settings(), deploy=True, worker_timeout=30, environment={"PATH": "/bin"}) == ()
    assert told(deploy=True, worker_timeout=30) == []


@pytest.mark.parametrize(
    ("own", "advice"),
    [
        ({"circuit": {"window_span": 5.9}}, ["W003 circuit.window_span"]),
        ({"circuit": {"window_span": 6}}, []),
        ({"circuit": {"window_span": 15}, "timeout": {"attempt": None}}, ["W003 circuit.window_span"]),
        ({"circuit": None}, []),
        ({"hedge": {}, "retry": {"methods": ["GET", "POST"]}}, ["W004 retry.methods"]),
        ({"hedge": {}, "retry": {"methods": ["GET", "PUT"]}}, []),
        ({"retry": {"methods": ["GET", "POST"]}}, []),
        ({"routes": {"POST /x": {"hedge": {}, "retry": {"methods": ["POST"]}}}}, ["W004 routes.POST /x.retry.methods"]),
        ({"routes": {"GET /x": {"hedge": {}, "retry": {"methods": ["POST"]}}}}, []),
        ({"retry": {"max_attempts": 5}, "concurrency": {"limit": 4}}, ["W005 retry.max_attempts"]),
        ({"concurrency": None, "pool": {"max_connections": 2}}, ["W005 retry.max_attempts"]),
        ({"retry": {"max_attempts": 4}, "concurrency": {"limit": 4}}, []),
        ({"retry": {"max_attempts": 5}, "concurrency": {"limit": 4, "observe": True}}, []),
        ({"concurrency": {"limit": 101}}, ["W006 concurrency.limit"]),
        ({"pool": {"max_connections": 50}}, []),
        ({"timeout": {"total": 11}}, ["W007 timeout.total"]),
        ({"timeout": {"total": 10}}, []),
        ({"timeout": {"total": None}}, []),
        ({"routes": {"GET /x": {"timeout": {"total": 11}}}}, ["W007 routes.GET /x.timeout.total"]),
    ],
)  # fmt: skip
def test_numbers_that_are_hardly_meant_together(own, advice):
    assert told(own) == advice


def test_a_hedge_that_has_no_second_request_to_send():
    own = {"hedge": {}, "retry": {"max_attempts": 2}, "concurrency": {"limit": 1}}
    assert told(own) == ["W005 retry.max_attempts"]


def test_an_inbound_timeout_below_the_librarys_default_is_no_mistake():
    assert told(root={"inbound": {"timeout": 5}}) == []
    assert told({"timeout": {"total": 100}}, root={"inbound": {"timeout": None}}) == []


def test_a_worker_that_is_killed_first():
    assert told({"timeout": {"total": 40}}, root={"inbound": {"timeout": None}}, worker_timeout=30) == [
        "W008 timeout.total"
    ]
    assert told({"timeout": {"total": 40}}, worker_timeout=30) == ["W007 timeout.total"]  # the request ends it in time


def test_what_is_inherited_is_told_where_it_was_made():
    root = {"defaults": {"circuit": {"window_span": 5}, "routes": {"GET /x": {"timeout": {"total": 11}}}}}
    assert told(root=root) == ["W003 defaults.circuit.window_span", "W007 defaults.routes.GET /x.timeout.total"]
    assert told({"timeout": {"total": 11}, "routes": {"GET /y": {"retry": None}}}) == ["W007 timeout.total"]


def test_a_variable_that_names_no_setting():
    assert told(environment={"RESILIENT_HTTP_URL": "", "RESILIENT_HTTP_ZONE": "a"}) == ["W009 RESILIENT_HTTP_URL"]


# Of a deployment


@pytest.mark.parametrize(
    ("own", "root", "advice"),
    [
        ({"tls": {"verify": False}}, {}, ["W101 tls.verify"]),
        ({}, {"defaults": {"tls": {"verify": False}}}, ["W101 defaults.tls.verify"]),
        ({}, {"defaults": {"propagate": "all"}}, ["W103 defaults.propagate"]),
        ({"propagate": "all"}, {}, []),
        ({}, {"inbound": {"trusted_peers": ["10.0.0.0/8", "::/0"]}}, ["W104 inbound.trusted_peers"]),
        ({}, {"inbound": {"trusted_peers": ["unix", "10.0.0.0/8"]}}, []),
    ],
)
def test_what_lets_others_in_is_told_of_a_deployment_alone(own, root, advice):
    assert told(own, root=root) == []
    assert told(own, root=root, deploy=True) == advice


@pytest.mark.parametrize(
    ("url", "is_open"),
    [
        ("http://example.com", True), ("http://93.184.216.34", True), ("http://[2606:4700::1111]", True),
        ("https://example.com", False), ("http://127.0.0.1:8000", False), ("http://localhost", False),
        ("http://192.168.1.1", False), ("http://[::1]", False), ("http://[fd00::1]", False), ("http://payments", False),
        ("http://payments.default.svc.cluster.local", False), ("http://payments.internal", False),
        ("http://internal.example.com", True), ("http://100.64.0.1", False),
    ],
)  # fmt: skip
def test_http_to_what_may_be_public(url, is_open):
    assert told({"endpoints": [url]}, deploy=True) == (["W102 endpoints"] if is_open else [])


def test_a_secret_stands_in_a_file(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("""
defaults.proxy = "http://user:hunter2@proxy:3128"
shared.redis = "redis://10.0.0.5:6379"
[upstreams.payments]
endpoints = ["http://10.0.0.1"]
health = { path = "/health", headers = { x-key = "hunter2" } }
discovery.etcd = { url = "http://10.0.0.5:2379", prefix = "/p/", user = "u", password = "hunter2" }
""")
    advice = advise(load_settings(file, environment=None), deploy=True)
    told = {".".join(each.path) for each in advice if each.id == "W105"}
    assert told == {
        "defaults.proxy", "upstreams.payments.proxy", "upstreams.payments.health.headers",
        "upstreams.payments.discovery.etcd.password",
    }  # fmt: skip
    assert "hunter2" not in "".join(map(str, advice)) + repr(advice)


def test_a_secret_that_comes_from_the_environment_is_no_mistake():
    environment = {"RESILIENT_HTTP_DEFAULTS__PROXY": "http://user:hunter2@proxy:3128"}
    assert advise(load_settings(environment=environment), deploy=True) == ()


def test_advice_says_where_the_value_comes_from():
    (advice,) = advise(load_settings(environment={"RESILIENT_HTTP_DEFAULTS__TIMEOUT__TOTAL": "60"}))
    assert advice.origin == "environment RESILIENT_HTTP_DEFAULTS__TIMEOUT__TOTAL"
    assert str(advice).startswith("W007 defaults.timeout.total: 60 s is longer than an inbound request has")
    assert "inbound.timeout" in advice.hint
