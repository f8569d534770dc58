"""Mistakes: each is refused when the settings are read, with its path and its value, and without credentials."""

from __future__ import annotations

import json
import math
import pickle
import re
import traceback
from typing import get_args

import pytest

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings
from resilient_http.settings.validation import Model


def refused(**raw) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Settings(**raw)
    return caught.value


def refused_in_payments(**own) -> SettingsError:
    return refused(upstreams={"payments": {"endpoints": ["http://n1"], **own}})


def nested(path: str, value):
    """{"a": {"b": value}} for "a.b"."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


SECONDS = [
    "timeout.total", "timeout.attempt", "timeout.connect", "timeout.read", "timeout.write", "timeout.pool",
    "pool.keepalive_expiry", "pool.max_age", "retry.max_wait", "retry.backoff.base", "retry.backoff.cap",
    "retry.backoff.throttled_base", "circuit.window_span", "circuit.open_for", "circuit.max_open_for",
    "circuit.calm_after", "circuit.lease", "circuit.slow_call.duration", "circuit.silent.after",
    "circuit.silent.least", "circuit.shared.veto",
]  # fmt: skip
COUNTS = [
    "pool.max_connections", "retry.max_attempts", "circuit.min_calls", "circuit.window", "circuit.probes",
    "circuit.successes", "circuit.silent.in_a_row", "circuit.shared.quorum", "concurrency.limit",
]  # fmt: skip


@pytest.mark.parametrize("path", SECONDS)
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "soon", [1]])
def test_a_duration_is_a_positive_number_of_seconds(path, value):
    error = refused_in_payments(**nested(path, value))
    assert error.path == f"upstreams.payments.{path}"
    assert error.value is value
    assert str(error).startswith(f"upstreams.payments.{path}: ")
    assert isinstance(value, list) or f"(got {value!r})" in str(error)


@pytest.mark.parametrize("path", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many", None])
def test_a_count_is_a_whole_number_from_one(path, value):
    error = refused_in_payments(**nested(path, value))
    assert error.path == f"upstreams.payments.{path}"
    assert error.value is value


@pytest.mark.parametrize("path", ["circuit.streak", "circuit.quiet_streak", "circuit.failures"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_a_count_that_can_be_switched_off_is_a_whole_number_from_one(path, value):
    assert refused_in_payments(**nested(path, value)).path == f"upstreams.payments.{path}"
    Settings(upstreams={"payments": {"endpoints": ["http://n1"], **nested(path, None)}})


@pytest.mark.parametrize("path", ["pool.max_keepalive", "concurrency.queue"])
@pytest.mark.parametrize("value", [-1, 1.5, False])
def test_a_size_is_a_whole_number_from_zero(path, value):
    assert refused_in_payments(**nested(path, value)).path == f"upstreams.payments.{path}"
    Settings(upstreams={"payments": {"endpoints": ["http://n1"], **nested(path, 0)}})


@pytest.mark.parametrize(
    "path",
    [
        "retry.budget.ratio",
        "retry.backoff.elsewhere",
        "circuit.failure_rate",
        "circuit.jitter",
        "circuit.shared.share",
    ],
)
@pytest.mark.parametrize("value", [1.01, -0.1, math.nan, True])
def test_a_ratio_is_between_zero_and_one(path, value):
    error = refused_in_payments(**nested(path, value))
    assert error.path == f"upstreams.payments.{path}"
    assert f"(got {value!r})" in str(error)


def test_a_circuit_that_opens_on_no_failure_at_all_is_refused():
    assert refused_in_payments(circuit={"failure_rate": 0}).path == "upstreams.payments.circuit.failure_rate"


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True])
def test_the_floor_of_a_budget_is_a_rate(value):
    assert refused_in_payments(retry={"budget": {"floor": value}}).path == "upstreams.payments.retry.budget.floor"


@pytest.mark.parametrize("value", [200, 399, 600, True, "many"])
def test_a_status_that_is_repeated_is_a_failure(value):
    error = refused_in_payments(retry={"statuses": [503, value]})
    assert error.path == "upstreams.payments.retry.statuses.1"
    assert error.value is value


@pytest.mark.parametrize("value", ["untrusted", "invalid request", "TIMEOUT", 7])
def test_a_fault_that_is_repeated_is_one_that_may_pass(value):
    assert refused_in_payments(retry={"faults": ["timeout", value]}).path == "upstreams.payments.retry.faults.1"


async def not_plain(outcome):
    return True


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("classify", "a dotted path like"),
        ("nowhere.at_all", "cannot be imported: No module named 'nowhere'"),
        ("json.nothing", "cannot be imported: module 'json' has no attribute 'nothing'"),
        ("json.decoder:JSONDecoder.nothing", "cannot be imported"),
        ("math.pi", "a function is needed, not float"),
        (7, "a function is needed, not int"),
        (not_plain, "a plain function is needed, not an async one"),
    ],
)
def test_a_function_is_plain_and_can_be_imported(value, says):
    error = refused_in_payments(retry={"classify": value})
    assert error.path == "upstreams.payments.retry.classify"
    assert says in str(error)


def test_a_function_is_given_by_itself_or_by_its_dotted_path():
    for value in (json.dumps, "json.dumps", "json:dumps"):
        settings = Settings(upstreams={"payments": {"endpoints": ["http://n1"], "retry": {"classify": value}}})
        assert settings.upstreams["payments"].retry.classify is json.dumps


@pytest.mark.parametrize("value", ["", ": false", "x should retry", {"value": "no"}, 7])
def test_a_stop_header_is_a_header(value):
    assert refused_in_payments(retry={"stop_header": value}).path.startswith("upstreams.payments.retry.stop_header")


@pytest.mark.parametrize("jitter", ["none", "Full", None])
def test_a_backoff_without_jitter_is_not_offered(jitter):
    error = refused_in_payments(retry={"backoff": {"jitter": jitter}})
    assert error.path == "upstreams.payments.retry.backoff.jitter"


LIMITS = [
    ({"concurrency": {"adaptive": {"min": 0}}}, "concurrency.adaptive.min"),
    ({"concurrency": {"adaptive": {"min": 5, "initial": 4}}}, "concurrency.adaptive"),
    ({"concurrency": {"adaptive": {"min": 9}, "limit": 8}}, "concurrency"),
    ({"concurrency": {"adaptive": {"tolerance": 1}}}, "concurrency.adaptive.tolerance"),
    ({"concurrency": {"adaptive": {"backoff": 1}}}, "concurrency.adaptive.backoff"),
    ({"concurrency": {"adaptive": {"backoff": math.nan}}}, "concurrency.adaptive.backoff"),
    ({"concurrency": {"shed_at": 1.1}}, "concurrency.shed_at"),
    ({"concurrency": {"reserve": 1}}, "concurrency.reserve"),
    ({"concurrency": {"observe": "perhaps"}}, "concurrency.observe"),
    ({"rate_limit": {}}, "rate_limit.rate"),
    ({"rate_limit": {"rate": 0}}, "rate_limit.rate"),
    ({"rate_limit": {"rate": math.inf}}, "rate_limit.rate"),
    ({"rate_limit": {"rate": True}}, "rate_limit.rate"),
    ({"rate_limit": {"rate": 1, "burst": 0}}, "rate_limit.burst"),
    ({"rate_limit": {"rate": 1, "wait": -1}}, "rate_limit.wait"),
    ({"rate_limit": {"rate": 1, "shared": "perhaps"}}, "rate_limit.shared"),
    ({"rate_limit": 5}, "rate_limit"),
    ({"pauses": {"endpoint": 0}}, "pauses.endpoint"),
    ({"pauses": {"route": -1}}, "pauses.route"),
    ({"pauses": {"by": "host"}}, "pauses.by"),
    ({"pauses": {"header": "leave alone"}}, "pauses.header"),
    ({"pauses": {"header": "x-leave-alone", "endpoint": None}}, "pauses.header"),
    ({"health": {}}, "health.path"),
    ({"health": {"path": "health"}}, "health.path"),
    ({"health": {"path": "/he alth"}}, "health.path"),
    ({"health": {"path": "/health#top"}}, "health.path"),
    ({"health": {"path": "/", "method": "POST"}}, "health.method"),
    ({"health": {"path": "/", "headers": {"host": "n1"}}}, "health.headers.host"),
    ({"health": {"path": "/", "interval": 0}}, "health.interval"),
    ({"health": {"path": "/", "timeout": None}}, "health.timeout"),
    ({"health": {"path": "/", "healthy_after": 0}}, "health.healthy_after"),
    ({"health": {"path": "/", "unhealthy_after": True}}, "health.unhealthy_after"),
    ({"health": {"path": "/", "statuses": [99]}}, "health.statuses.0"),
    ({"health": {"path": "/", "check": "no.such.function"}}, "health.check"),
    ({"health": {"path": "/", "check": bool, "statuses": [200]}}, "health.check"),
    ({"priority": "high"}, "priority"),
    ({"priority_header": "x priority"}, "priority_header"),
]


@pytest.mark.parametrize(("own", "path"), LIMITS)
def test_a_limit_that_makes_no_sense_is_refused_where_it_stands(own, path):
    assert refused_in_payments(**own).path == f"upstreams.payments.{path}"


@pytest.mark.parametrize(("key", "value"), [("idempotency_key", "my-key"), ("attempt_header", "x attempt")])
def test_what_tells_attempts_apart_is_checked_too(key, value):
    assert refused_in_payments(**{key: value}).path == f"upstreams.payments.{key}"


@pytest.mark.parametrize("key", ["attempt_header", "priority_header", "deadline_header"])
@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "host", "Connection", "te", "upgrade"])
def test_a_header_that_frames_or_routes_a_message_is_not_ours_to_set(key, name):
    value = {"name": name, "unit": "s"} if key == "deadline_header" else name
    error = refused_in_payments(**{key: value})
    assert error.path == f"upstreams.payments.{key}" + ".name" * (key == "deadline_header")
    assert f"{name.lower()} frames or routes a message" in str(error)


@pytest.mark.parametrize("value", ["p95x", "p0", "95", True, 0, -1, math.nan, math.inf, [1], None])
def test_the_delay_of_a_hedge_is_seconds_or_a_quantile(value):
    error = refused_in_payments(hedge={"delay": value})
    assert error.path == "upstreams.payments.hedge.delay"
    assert str(error).startswith('upstreams.payments.hedge.delay: seconds, or a quantile like "p95", are needed')
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("timeout", "says"),
    [
        ({"total": 1.0}, "not below timeout.total (1 s)"),
        ({"attempt": 1.0}, "not below timeout.attempt (1 s)"),
    ],
)
def test_a_hedge_that_would_never_be_sent_in_time_is_refused(timeout, says):
    error = refused_in_payments(timeout=timeout, hedge={"delay": 1.0})
    assert error.path == "upstreams.payments.hedge.delay"
    assert says in str(error)
    Settings(upstreams={"payments": {"endpoints": ["http://n1"], "timeout": timeout, "hedge": {"delay": 0.9}}})


def test_false_is_not_how_a_policy_is_switched_off_and_the_message_says_how_it_is():
    for policy in ("retry", "circuit", "hedge", "pauses"):
        assert f"upstreams.payments.{policy}: null switches it off" in str(refused_in_payments(**{policy: False}))
    assert "upstreams.payments.timeout: a mapping is needed" in str(refused_in_payments(timeout=False))


def test_a_text_where_a_list_is_meant_is_told_so():
    for path in ("retry.methods", "retry.statuses", "middleware.call"):
        assert f"upstreams.payments.{path}: a list is needed" in str(refused_in_payments(**nested(path, "GET")))


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("retry.classify", lambda: True),
        ("retry.classify", lambda response, error: True),
        ("fallback.function", lambda failure: None),
        ("fallback.stale.key", lambda request, more: ""),
    ],
    ids=["too few", "too many", "fallback", "key"],
)
def test_a_function_that_cannot_be_called_as_it_will_be_is_refused(path, function):
    error = refused_in_payments(**nested(path, function))
    assert error.path == f"upstreams.payments.{path}"
    assert "is needed, and it cannot be called so" in str(error)


@pytest.mark.parametrize(
    "function",
    [bool, dict, str, lambda *anything: None, lambda outcome, more=1: None],
    ids=["bool", "dict", "str", "anything", "one more"],
)
def test_a_function_may_take_more_than_it_is_given_and_one_without_a_signature_passes(function):
    Settings(upstreams={"payments": {"endpoints": ["http://n1"], "retry": {"classify": function}}})


# Fallback


FALLBACK = "upstreams.payments.fallback"


@pytest.mark.parametrize(
    ("fallback", "path", "says"),
    [
        ({}, "", "exactly one of response, function and stale is needed, but none is given"),
        ({"response": {}, "stale": {}}, "", "but response and stale are given; set all but one to null"),
        ({"response": {"status": 199}}, ".response.status", "greater than or equal to 200"),
        ({"response": {"status": True}}, ".response.status", "a number is needed"),
        ({"response": {"text": ""}}, ".response.text", "unknown key"),
        ({"response": {"headers": {"a b": ""}}}, ".response.headers", "the name of a header is needed"),
        ({"response": {"headers": {"a": "x\r\ny: z"}}}, ".response.headers", "one line of printable ASCII"),
        ({"response": {"body": {"a": object}}}, ".response.body", "cannot be said in JSON"),
        ({"function": "json.nothing"}, ".function", "cannot be imported"),
        ({"function": not_plain}, ".function", "a plain function is needed"),
        ({"stale": {"max_age": 0}}, ".stale.max_age", "greater than 0"),
        ({"stale": {"max_age": math.inf}}, ".stale.max_age", "less than or equal to 604800"),
        ({"stale": {"wait": -1}}, ".stale.wait", "greater than 0"),
        ({"stale": {"max_entries": 0}}, ".stale.max_entries", "greater than or equal to 1"),
        ({"stale": {"max_bytes": True}}, ".stale.max_bytes", "a number is needed"),
        ({"stale": {"key": 7}}, ".stale.key", "a function is needed"),
        ({"stale": {"store": "django"}}, ".stale.store", "a dotted path like"),
        ({"stale": {"store": "json.dumps"}}, ".stale.store", "a store with get, set and delete is needed"),
        ({"stale": {"store": {}}}, ".stale.store", "a store with get, set and delete is needed"),
        ({"response": {}, "statuses": [404]}, ".statuses.0", "greater than or equal to 500"),
        ({"response": {}, "statuses": [True]}, ".statuses.0", "a number is needed"),
        ({"stale": {}, "observe": "perhaps"}, ".observe", "boolean"),
    ],
)
def test_a_fallback_that_makes_no_sense_is_refused(fallback, path, says):
    error = refused_in_payments(fallback=fallback)
    assert error.path.startswith(FALLBACK + path)
    assert says in str(error)


def test_two_kinds_of_fallback_in_one_layer_are_refused_whatever_is_below():
    defaults = {"fallback": {"function": str}}
    own = {"endpoints": ["http://n1"], "fallback": {"stale": {}, "response": {}}}
    assert refused(defaults=defaults, upstreams={"payments": own}).path == FALLBACK
    own["fallback"]["response"] = None
    assert Settings(defaults=defaults, upstreams={"payments": own}).upstreams["payments"].fallback.response is None


# Middleware


def plain(call, proceed):
    return proceed(call)


async def of_one(call):
    return call


class Layer:
    async def __call__(self, call, proceed):
        return await proceed(call)


@pytest.mark.parametrize("ring", ["call", "attempt"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (plain, "an async function of (call, proceed) or (attempt, proceed) is needed, not a plain function"),
        (of_one, "middleware takes two arguments"),
        (Layer, "not the class Layer: give an instance"),
        ("json.dumps", "is needed, not a plain function"),
        ("shop.nowhere.sign", "cannot be imported"),
        (7, "is needed, not int"),
    ],
)
def test_middleware_is_async_and_takes_two_arguments(ring, value, says):
    error = refused_in_payments(middleware={ring: [Layer(), value]})
    assert error.path == f"upstreams.payments.middleware.{ring}.1"
    assert says in str(error)


# Guards


@pytest.mark.parametrize(
    ("guards", "path"),
    [
        ({"Inventory": {}}, "guards.Inventory"),
        ({"payments": {}}, "guards.payments"),
        ({"db": {"timeout": {"total": 0}}}, "guards.db.timeout.total"),
        ({"db": {"timeout": {"attempt": True}}}, "guards.db.timeout.attempt"),
        ({"db": {"timeout": {"queue": math.nan}}}, "guards.db.timeout.queue"),
        ({"db": {"timeout": {"total": 1.0, "attempt": 2.0}}}, "guards.db.timeout"),
        ({"db": {"timeout": {"connect": 1.0}}}, "guards.db.timeout.connect"),
        ({"db": {"retry": {"max_attempts": 0}}}, "guards.db.retry.max_attempts"),
        ({"db": {"retry": {"statuses": [500]}}}, "guards.db.retry.statuses"),
        ({"db": {"retry": {"classify": not_plain}}}, "guards.db.retry.classify"),
        ({"db": {"retry": {"max_wait": -1}}}, "guards.db.retry.max_wait"),
        ({"db": {"circuit": {"window": 10}}}, "guards.db.circuit"),
        ({"db": {"retry": {"classify": lambda: True}}}, "guards.db.retry.classify"),
        ({"db": {"concurrency": {"limit": 0}}}, "guards.db.concurrency.limit"),
        ({"db": {"endpoints": []}}, "guards.db.endpoints"),
    ],
)
def test_a_guard_that_makes_no_sense_is_refused(guards, path):
    assert refused(upstreams={"payments": {"endpoints": ["http://n1"]}}, guards=guards).path == path


# What does not fit together


def test_an_attempt_longer_than_the_whole_call_is_refused():
    error = refused_in_payments(timeout={"total": 2.0, "attempt": 3.0})
    assert error.path == "upstreams.payments.timeout"
    assert "attempt (3 s) is longer than total (2 s)" in str(error)


def test_a_total_shorter_than_the_default_attempt_is_not():
    for timeout in ({"total": 2.0}, {"attempt": 20.0}):
        Settings(upstreams={"payments": {"endpoints": ["http://n1"], "timeout": timeout}})


def test_an_attempt_longer_than_the_total_of_the_defaults_is_refused():
    error = refused(
        defaults={"timeout": {"total": 2.0}},
        upstreams={"payments": {"endpoints": ["http://n1"], "timeout": {"attempt": 3.0}}},
    )
    assert error.path == "upstreams.payments.timeout"


def test_a_rate_that_can_never_be_believed_is_refused():
    error = refused_in_payments(circuit={"window": 10})
    assert error.path == "upstreams.payments.circuit"
    assert "min_calls (20) can never be reached in a window of 10" in str(error)


def test_a_rest_that_begins_above_its_end_is_refused():
    assert "open_for (90 s) is longer than max_open_for (60 s)" in str(refused_in_payments(circuit={"open_for": 90}))


def test_a_circuit_that_no_rule_opens_is_refused():
    off = {"failure_rate": None, "streak": None, "quiet_streak": None}
    error = refused_in_payments(circuit=off)
    assert error.path == "upstreams.payments.circuit"
    assert "no rule is left that would open it" in str(error)
    for rule in ({"failures": 5}, {"slow_call": {"duration": 1.0}}):
        Settings(upstreams={"payments": {"endpoints": ["http://n1"], "circuit": {**off, **rule}}})


def test_min_calls_may_be_anything_when_no_share_is_asked_for():
    circuit = {"failure_rate": None, "window": 10}
    Settings(upstreams={"payments": {"endpoints": ["http://n1"], "circuit": circuit}})
    assert "can never be reached" in str(refused_in_payments(circuit={**circuit, "slow_call": {"duration": 1.0}}))


@pytest.mark.parametrize(
    ("own", "path"),
    [
        ({"slow_call": {"rate": 0.5}}, "slow_call.duration"),
        ({"slow_call": {"duration": 1.0, "rate": 0}}, "slow_call.rate"),
        ({"slow_call": 5.0}, "slow_call"),
        ({"silent": None}, "silent"),
        ({"silent": {"factor": 0}}, "silent.factor"),
        ({"silent": {"factor": True}}, "silent.factor"),
        ({"observe": "perhaps"}, "observe"),
        ({"shared": True}, "shared"),
    ],
)
def test_what_a_circuit_cannot_be(own, path):
    assert refused_in_payments(circuit=own).path == f"upstreams.payments.circuit.{path}"


@pytest.mark.parametrize(
    "outcomes", [{99: "failure"}, {600: "failure"}, {"many": "failure"}, {500: "bad"}, {500: None}]
)
def test_an_outcome_is_of_a_status_and_one_of_the_tables(outcomes):
    assert refused_in_payments(circuit={"outcomes": outcomes}).path.startswith("upstreams.payments.circuit.outcomes")


# What processes share


def test_a_circuit_is_shared_through_something():
    error = refused_in_payments(circuit={"shared": {}})
    assert error.path == "upstreams.payments.circuit.shared"
    assert "needs a Redis at the root" in str(error)
    assert refused(defaults={"circuit": {"shared": {}}}).path == "defaults.circuit.shared"
    error = refused(guards={"db": {"circuit": {"shared": {}}}})
    assert error.path == "guards.db.circuit.shared"
    assert "needs a Redis at the root" in str(error)
    quorum = {"db": {"circuit": {"shared": {"quorum": 0}}}}
    assert refused(shared={"redis": "redis://n1"}, guards=quorum).path == "guards.db.circuit.shared.quorum"


def test_a_rate_is_shared_through_something():
    error = refused_in_payments(rate_limit={"rate": 5, "shared": True})
    assert error.path == "upstreams.payments.rate_limit.shared"
    assert "needs a Redis at the root" in str(error)
    assert refused(defaults={"rate_limit": {"rate": 5, "shared": True}}).path == "defaults.rate_limit.shared"


@pytest.mark.parametrize(
    ("rate_limit", "interval"), [({"rate": 100, "burst": 10}, 0.25), ({"rate": 5, "burst": 1}, 0.5), ({"rate": 5}, 3.0)]
)
def test_the_burst_of_a_shared_rate_lasts_until_there_is_more(rate_limit, interval):
    shared = {"redis": "redis://n1", "interval": interval, "expires": 4 * interval}
    error = refused(shared=shared, defaults={"rate_limit": {**rate_limit, "shared": True}})
    assert error.path == "defaults.rate_limit.burst"
    assert "so the rate could not be reached" in str(error)
    Settings(shared=shared, defaults={"rate_limit": {**rate_limit, "shared": False}})
    Settings(shared=shared, defaults={"rate_limit": {"rate": 5, "burst": 8, "shared": True}})


@pytest.mark.parametrize(
    "url",
    ["", "n1:6379", "http://n1", "redis://", "redis://n1/zero", "redis://n1:0", "redis://n1/0?db=1", "unix://", 5],
)
def test_a_redis_is_a_url(url):
    assert refused(shared={"redis": url}).path == "shared.redis"


@pytest.mark.parametrize("key", ["interval", "timeout", "expires", "max_backoff"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "soon"])
def test_durations_of_what_is_shared_are_positive(key, value):
    assert refused(shared={"redis": "redis://n1", key: value}).path == f"shared.{key}"


def test_what_expires_before_it_is_told_again_is_refused():
    error = refused(shared={"redis": "redis://n1", "interval": 1.0})
    assert error.path == "shared"
    assert "expires (2 s) is shorter than four times interval (1 s)" in str(error)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("resilient_http.settings.shared.find_spec", lambda name: None)
    error = refused(shared={"redis": "redis://n1"})
    assert error.path == "shared.redis"
    assert 'pip install "resilient-http[redis]"' in str(error)


# Unknown keys


@pytest.mark.parametrize(
    ("raw", "path", "meant"),
    [
        ({"upstream": {}}, "upstream", "upstreams"),
        ({"default": {}}, "default", "defaults"),
        ({"UPSTREAMS": {}}, "UPSTREAMS", "upstreams"),
        ({"inbound": {"time_out": 1}}, "inbound.time_out", "timeout"),
        ({"defaults": {"timeouts": {}}}, "defaults.timeouts", "timeout"),
        ({"defaults": {"retry": {"max_attempt": 3}}}, "defaults.retry.max_attempt", "max_attempts"),
        ({"defaults": {"retry": {"budget": {"ration": 0.1}}}}, "defaults.retry.budget.ration", "ratio"),
        (
            {"upstreams": {"payments": {"endpoints": [{"url": "http://n1", "wieght": 2}]}}},
            "upstreams.payments.endpoints.0.wieght",
            "weight",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(raw, path, meant):
    error = refused(**raw)
    assert error.path == path
    assert str(error).startswith(f"{path}: unknown key")
    assert str(error).endswith(f"did you mean {meant}?")


def test_an_unknown_key_that_is_like_none_is_refused_with_all_known_ones():
    error = refused(defaults={"concurrency": {"xyz": 1}})
    known = "limit, queue, adaptive, shed_at, reserve, observe"
    assert str(error) == f"defaults.concurrency.xyz: unknown key (got 1); known: {known}"


# Endpoints


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://n1/api", "without path"),
        ("http://n1/?a=1", "without path or query"),
        ("http://n1/#top", "without path"),
        ("http://user:secret@n1", "no credentials"),
        ("http://user@n1", "no credentials"),
        ("ftp://n1", "an origin like"),
        ("ws://n1", "an origin like"),
        ("n1:8080", "an origin like"),
        ("//n1", "an origin like"),
        ("http://", "an origin like"),
        ("", "an origin like"),
        ("http://n1:0", "an origin like"),
        ("http://n1:99999", "not a URL"),
        ("http://n1:http", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://a b", "an origin like"),
    ],
)
def test_an_endpoint_is_an_origin_and_nothing_more(url, why):
    error = refused(upstreams={"payments": {"endpoints": ["http://n0", url]}})
    assert error.path == "upstreams.payments.endpoints.1.url"
    assert why in str(error)


@pytest.mark.parametrize(
    ("endpoints", "why"),
    [
        (["http://n1", "http://n1"], "listed twice"),
        (["http://n1", "http://N1:80/"], "listed twice"),
        (["http://n1", "https://n2"], "all http or all https"),
        ([{"url": "http://n1", "backup": True}], "every endpoint is a backup"),
        ([], "at least one is needed"),
    ],
)
def test_the_endpoints_of_an_upstream_make_sense_together(endpoints, why):
    error = refused(upstreams={"payments": {"endpoints": endpoints}})
    assert error.path == "upstreams.payments.endpoints"
    assert why in str(error)


def test_an_upstream_without_endpoints_is_refused_where_they_are_missing():
    assert refused(upstreams={"payments": {}}).path == "upstreams.payments.endpoints"


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, 2e6, True])
def test_a_weight_is_positive(weight):
    error = refused(upstreams={"payments": {"endpoints": [{"url": "http://n1", "weight": weight}]}})
    assert error.path == "upstreams.payments.endpoints.0.weight"


def test_endpoints_belong_to_an_upstream_and_not_to_the_defaults():
    for own in (
        {"endpoints": ["http://n1"]},
        {"host": "pay.example"},
        {"discovery": {"dns": {"name": "n1", "port": 80}}},
    ):
        assert "belong to one upstream" in str(refused(defaults=own))


# Names, and everything else


@pytest.mark.parametrize("name", ["Payments", "pay_ments", "-pay", "pay-", "pay.ments", "", "p" * 64, "pay ments"])
def test_an_upstreams_name_is_a_dns_label(name):
    error = refused(upstreams={name: {"endpoints": ["http://n1"]}})
    assert error.path == f"upstreams.{name}"
    assert "lower-case DNS label" in str(error)


@pytest.mark.parametrize(
    ("own", "path"),
    [
        ({"balance": "random"}, "balance.by"),
        ({"balance": 5}, "balance"),
        ({"balance": "hash"}, "balance.by"),
        ({"balance": {"by": "hash", "header": "x-user", "key": str}}, "balance.by"),
        ({"balance": {"by": "hash", "header": "x user"}}, "balance.header"),
        ({"balance": {"by": "hash", "key": "no.such.function"}}, "balance.key"),
        ({"balance": {"header": "x-user"}}, "balance.header"),
        ({"balance": {"by": "ewma", "key": str}}, "balance.key"),
        ({"balance": {"bound": 1}}, "balance.bound"),
        ({"balance": {"decay": 0}}, "balance.decay"),
        ({"balance": {"slow_start": 0}}, "balance.slow_start"),
        ({"balance": {"panic": 0}}, "balance.panic"),
        ({"balance": {"panic": 1.1}}, "balance.panic"),
        ({"endpoints": [{"url": "http://n1", "zone": ""}]}, "endpoints.0.zone"),
        ({"propagate": "b3"}, "propagate"),
        ({"http2": "perhaps"}, "http2"),
        ({"retry": {"methods": "GET"}}, "retry.methods"),
        ({"timeout": None}, "timeout"),
        ({"tls": {"verify": 5}}, "tls.verify"),
        ({"tls": {"cert": ["only one"]}}, "tls.cert"),
        ({"host": ""}, "host"),
        ({"host": "pay ments"}, "host"),
        ({"host": "pay\r\nx-evil: 1"}, "host"),
        ({"proxy": "nonsense"}, "proxy"),
        ({"proxy": "ftp://proxy"}, "proxy"),
    ],
)
def test_anything_else_that_is_wrong_is_refused_where_it_stands(own, path):
    assert refused_in_payments(**own).path == f"upstreams.payments.{path}"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"backend": "requests"}, "backend"),
        ({"engine": "requests"}, "engine"),
        ({"engine": "aiohttp", "defaults": {"http2": True}}, "defaults.http2"),
        ({"engine": "aiohttp", "defaults": {"proxy": "http://proxy:3128"}}, "defaults.proxy"),
        (
            {"engine": "aiohttp", "upstreams": {"payments": {"endpoints": ["https://n1"], "http2": True}}},
            "upstreams.payments.http2",
        ),
        (
            {"engine": "aiohttp", "upstreams": {"payments": {"endpoints": ["http://n1"], "proxy": "socks5://p:1"}}},
            "upstreams.payments.proxy",
        ),
        ({"enabled": "perhaps"}, "enabled"),
        ({"inbound": {"timeout": -1}}, "inbound.timeout"),
        ({"inbound": {"reserve": -1}}, "inbound.reserve"),
        ({"inbound": {"priority_header": "x priority"}}, "inbound.priority_header"),
        ({"misplaced": {"in_transaction": "refused"}}, "misplaced.in_transaction"),
        ({"misplaced": {"in_event_loop": True}}, "misplaced.in_event_loop"),
        ({"misplaced": None}, "misplaced"),
        ({"unnamed_upstreams": 0}, "unnamed_upstreams"),
        ({"unnamed_upstreams": 1.5}, "unnamed_upstreams"),
        ({"unnamed_upstreams": True}, "unnamed_upstreams"),
        ({"unnamed_upstreams": None}, "unnamed_upstreams"),
        ({"upstreams": []}, "upstreams"),
        ({"upstreams": {"payments": None}}, "upstreams.payments"),
        ({"upstreams": {"payments": ["http://n1"]}}, "upstreams.payments"),
        ({"defaults": None}, "defaults"),
    ],
)
def test_the_root_is_checked_too(raw, path):
    assert refused(**raw).path == path


DEADLINE_HEADERS = [
    ("x-request-timeout", "", "does not tell its unit"),
    ({"name": "x-request-timeout"}, "", "does not tell its unit"),
    ({"unit": "s"}, ".name", "required"),
    ({"name": "x-request-timeout", "unit": "us"}, ".unit", "'ms', 's' or 'grpc'"),
    ({"name": "x-request-timeout", "unit": None}, ".unit", "'ms', 's' or 'grpc'"),
    ({"name": "x timeout", "unit": "s"}, ".name", "the name of a header"),
    ({"name": "", "unit": "s"}, ".name", "the name of a header"),
    ({"name": "x-timeout\r\nx-evil", "unit": "s"}, ".name", "the name of a header"),
    ("x-timeout:-ms", ".name", "the name of a header"),
    ({"name": 5, "unit": "s"}, ".name", "string"),
    ({"name": "x-timeout-ms", "unti": "s"}, ".unti", "did you mean unit?"),
    (5, "", "the name of a header is needed, like x-request-timeout-ms"),
    (True, "", "the name of a header is needed, like x-request-timeout-ms"),
]


@pytest.mark.parametrize(("value", "below", "why"), DEADLINE_HEADERS)
def test_a_deadline_header_has_a_name_and_a_unit(value, below, why):
    error = refused_in_payments(deadline_header=value)
    assert error.path == f"upstreams.payments.deadline_header{below}"
    assert why in str(error)

    error = refused(inbound={"deadline_headers": ["x-good-ms", value]})
    assert error.path == f"inbound.deadline_headers.1{below}"
    assert why in str(error)


@pytest.mark.parametrize("value", [None, "perhaps", 2, [True]])
def test_trust_in_the_marker_is_yes_or_no(value):
    error = refused_in_payments(trust_dependency_marker=value)
    assert error.path == "upstreams.payments.trust_dependency_marker"


@pytest.mark.parametrize(
    ("inbound", "path"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"max": 0}, "max"),
        ({"max": None}, "max"),
        ({"max": math.inf}, "max"),
        ({"max": True}, "max"),
        ({"reserve": math.inf}, "reserve"),
        ({"reserve": False}, "reserve"),
        ({"reserve": None}, "reserve"),
        ({"trusted_peers": ["10.0.0.0/8", "10.0.0.0/33"]}, "trusted_peers"),
        ({"trusted_peers": ["localhost"]}, "trusted_peers"),
        ({"trusted_peers": ["*"]}, "trusted_peers"),
        ({"trusted_peers": "10.0.0.0/8"}, "trusted_peers"),
        ({"trusted_peers": [5]}, "trusted_peers.0"),
        ({"queue_header": ""}, "queue_header"),
        ({"queue_header": "x start"}, "queue_header"),
        ({"queue_header": 5}, "queue_header"),
        ({"deadline_headers": "x-deadline-ms"}, "deadline_headers"),
        ({"deadline_headers": None}, "deadline_headers"),
        ({"cancel_on_disconnect": "perhaps"}, "cancel_on_disconnect"),
        ({"answers": None}, "answers"),
        ({"answer": True}, "answer"),
        (None, ""),
        ([], ""),
    ],
)
def test_what_bounds_inbound_requests_is_checked_where_it_stands(inbound, path):
    assert refused(inbound=inbound).path == f"inbound.{path}".rstrip(".")


def test_a_peer_that_is_no_address_is_named():
    error = refused(inbound={"trusted_peers": ["10.0.0.1", "unix", "gateway"]})
    assert "'gateway' is neither an IP address, nor a network like 10.0.0.0/8, nor \"unix\"" in str(error)


def test_every_mistake_is_told_and_the_first_is_the_errors_own():
    error = refused_in_payments(retry={"max_attempts": 0}, timeout={"total": -1})
    assert sorted(".".join(mistake.path) for mistake in error.mistakes) == [
        "upstreams.payments.retry.max_attempts",
        "upstreams.payments.timeout.total",
    ]
    assert len(str(error).splitlines()) == 2
    assert error.path == ".".join(error.mistakes[0].path)


def test_a_mistake_in_the_defaults_is_told_once_and_where_it_was_made():
    error = refused(
        defaults={"retry": {"max_attempts": 0}},
        upstreams={name: {"endpoints": [f"http://{name}"]} for name in ("a", "b")},
    )
    assert str(error) == "defaults.retry.max_attempts: Input should be greater than or equal to 1 (got 0)"


def test_it_is_a_value_error_and_pickles():
    error = refused_in_payments(retry={"max_attempt": 0})
    assert isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.value, again.mistakes) == (
        str(error),
        error.path,
        error.value,
        error.mistakes,
    )


# Credentials


@pytest.mark.parametrize(
    "raw",
    [
        {"upstreams": {"payments": {"endpoints": ["http://user:hunter2@n1"]}}},
        {"upstreams": {"payments": {"endpoints": ["http://user:hunt@er2@n1"]}}},
        {"upstreams": {"payments": {"endpoints": ["http://user:hunt/er2@n1"]}}},
        {"upstreams": {"payments": {"endpoints": "http://user:hunter2@n1"}}},
        {"upstreams": {"payments": {"endpoints": [{"url": "ftp://user:hunter2@n1"}]}}},
        {"upstreams": {"payments": {"endpoints": [{"url": "http://user:hunter2@n1", "wieght": 2}]}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "proxy": "ftp://user:hunter2@proxy"}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "proxy": ["http://user:hunter2@proxy"]}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "prxy": "http://user:hunter2@proxy"}}},
        {"upstreams": {"payments": {"endpoints": ["http://n1"], "host": "http://user:hunter2@n1"}}},
        {"shared": {"redis": "http://:hunter2@n1"}},
        {"defaults": {"health": {"path": "/", "headers": {"x-key": "hunter2\n"}}}},
        {"defaults": {"health": {"path": "/", "headers": {"x-key": ["hunter2"]}}}},
        {"defaults": {"health": {"path": "/", "headers": {"x key": "hunter2"}}}},
        {"defaults": {"health": {"path": "/", "headers": "hunter2"}}},
        {"defaults": {"health": {"path": "/", "haeders": "hunter2"}}},
        {"shared": {"redis": "redis://:hunt/er2@n1"}},
        {"shared": {"redis": "redis://n1/0?password=hunter2"}},
        {"shared": {"redis": ["redis://:hunter2@n1"]}},
        {"shared": "redis://:hunter2@n1"},
        {"shared": {"redsi": "redis://:hunter2@n1"}},
        {"watch": {"redis": {"redis": "redis://:hunt/er2@n1", "key": "k"}}},
        {"watch": {"etcd": {"url": "http://e:hunter2@n1", "key": "k"}}},
        {"watch": {"etcd": {"url": "http://n1", "key": "k", "user": 5, "password": "hunter2"}}},
        {"watch": {"consul": {"key": "k", "token": ["hunter2"]}}},
        {"watch": {"consul": {"key": "k", "tokn": "hunter2"}}},
        {"watch": {"http": {"url": "http://u:hunter2@n1/"}}},
        {"watch": {"http": {"url": "ftp://n1/?token=hunter2"}}},
        {"watch": {"http": {"url": "http://n1/", "headers": {"x-token": "hunter2\n"}}}},
        {"upstreams": {"payments": {"discovery": {"etcd": {"url": "http://me:hunter2@n1", "prefix": "/p/"}}}}},
        {"upstreams": {"payments": {"discovery": {"etcd": {"url": ["http://n1/?hunter2"], "prefix": "/p/"}}}}},
        {
            "upstreams": {
                "payments": {"discovery": {"etcd": {"url": "http://n1", "prefix": "/", "password": "hunter2"}}}
            }
        },
        {"upstreams": {"payments": {"discovery": {"etcd": {"passwrd": "hunter2"}}}}},
        {"upstreams": {"payments": {"discovery": {"consul": {"service": "p", "tokne": "hunter2"}}}}},
        {"upstreams": {"payments": {"discovery": {"consul": {"service": "p", "token": ["hunter2"]}}}}},
        {"upstreams": {"payments": {"discovery": {"consul": {"service": "p", "token": {"is": "hunter2"}}}}}},
        {"upstreams": {"payments": {"discovery": {"consul": {"service": "p", "url": "http://:hunter2@n1"}}}}},
        {"upstreams": {"payments": {"discovery": {"token": "hunter2"}}}},
        {"upstreams": {"payments": {"discovery": "http://:hunter2@n1"}}},
        {"upstreams": {"payments": {"token": "hunter2"}}},
        {"upstreams": {"payments": {"endpoints": ["http://user:hunt me er2@n1"]}}},
        {"shared": {"pasword": "hunter2"}},
        {"shared": {"redis": "redis://:hunter2@n1", "interval": 9}},
    ],
)
def test_credentials_are_neither_in_the_message_nor_in_the_value(raw):
    error = refused(**raw)
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(error.value)
    for secret in ("hunt", "er2"):
        assert secret not in told


def _holding_secrets(model, path=()):
    """The paths of the sections that have a secret in them; the upstreams are those of the defaults."""
    for name, field in model.model_fields.items():
        if (model, name) == (Settings, "upstreams"):
            continue
        if "Secret" in repr(field.annotation):
            yield path
        for each in (field.annotation, *get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, Model):
                yield from _holding_secrets(each, (*path, name))


SECRETIVE = sorted({path for path in _holding_secrets(Settings) if path not in {(), ("defaults",)}})


def test_the_sections_that_hold_secrets_are_seen():
    assert {("console",), ("shared",), ("watch", "http"), ("defaults", "discovery", "etcd")} <= {*SECRETIVE}


@pytest.mark.parametrize("path", SECRETIVE, ids=".".join)
@pytest.mark.parametrize("below", [{"tokne": "hunter2"}, {"tokne": ["hunter2"]}, {"tokne": {"x": "hunter2"}}])
def test_what_is_misspelt_beside_a_secret_is_not_shown(path, below):
    error = refused(**nested(".".join(path), below))
    assert "hunter2" not in str(error) + repr(error.value)


@pytest.mark.parametrize("path", [path for path in SECRETIVE if path[-1] != "health"], ids=".".join)  # there, a path
def test_what_stands_for_a_section_with_a_secret_is_not_shown(path):
    error = refused(**nested(".".join(path), "hunter2"))
    assert "hunter2" not in str(error) + repr(error.value)


@pytest.mark.parametrize("value", [10**20, 10**5000, -(10**20)], ids=["20", "5000", "minus"])
@pytest.mark.parametrize("path", ["circuit.window", "retry.max_attempts", "timeout.total"])
def test_a_number_of_very_many_digits_is_refused_and_not_written_out(path, value):
    error = refused_in_payments(**nested(path, value))
    assert "a number of at most 64 bits is needed" in str(error)
    assert len(str(error)) < 300


def test_a_long_value_is_shown_by_its_beginning():
    assert str(refused(zone=["a" * 1000], backend="b" * 1000)).count("b") < 300


def _chain() -> dict:
    root: dict = {}
    below = root
    for _ in range(5_000):
        below["a"] = {}
        below = below["a"]
    return root


def _circle() -> dict:
    circle: dict = {}
    circle["a"] = circle
    return circle


@pytest.mark.parametrize("deep", [_chain(), _circle()], ids=["deep", "circle"])
def test_what_is_nested_too_deeply_is_a_mistake(deep):
    assert "nested too deeply" in str(refused(defaults=deep))
    with pytest.raises(SettingsError, match="RESILIENT_HTTP: nested too deeply"):
        Settings.from_upper_case({"DEFAULTS": deep})


@pytest.mark.parametrize("value", ["http://n1", {"url": "http://n1"}, 5, None])
def test_endpoints_that_are_no_list_are_told_that_one_is_needed(value):
    error = refused(upstreams={"payments": {"endpoints": value}})

    assert str(error).startswith("upstreams.payments.endpoints: a list of URLs is needed, as in [")


@pytest.mark.parametrize("path", ["inbound.deadline_headers", "inbound.trusted_peers"])
def test_what_is_no_list_is_told_that_one_is_needed(path):
    assert str(refused(**nested(path, "x-wait-ms"))) == f"{path}: a list is needed (got 'x-wait-ms')"


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"telemetry": {"traces": "sometimes"}}, "telemetry.traces"),
        ({"telemetry": {"query": "page"}}, "telemetry.query"),
        ({"telemetry": {"query": [""]}}, "telemetry.query.0"),
        ({"telemetry": {"metric": True}}, "telemetry.metric"),
        ({"logging": {"fold": 0}}, "logging.fold"),
        ({"logging": {"fold": True}}, "logging.fold"),
        ({"logging": {"headers": ["x request"]}}, "logging.headers.0"),
        ({"logging": {"body": -1}}, "logging.body"),
        ({"logging": {"body": 1.5}}, "logging.body"),
        ({"logging": {"bodies": 10}}, "logging.bodies"),
    ],
)
def test_what_is_shown_of_calls_is_told_in_so_many_words(raw, path):
    assert refused(**raw).path == path


def test_a_header_that_may_be_shown_is_named_in_any_case():
    assert Settings(logging={"headers": ["X-Request-ID"]}).logging.headers == ("x-request-id",)


@pytest.mark.parametrize(
    ("console", "path", "says"),
    [
        ({"token": "short"}, "console.token", "at least 16 characters"),
        ({"token": "0123456789abcde\u00e9"}, "console.token", "printable ASCII"),
        ({"span": 5}, "console.span", "greater than or equal to 60"),
        ({"degraded": 0}, "console.degraded", "greater than or equal to 1"),
        ({"tokn": "x"}, "console.tokn", "did you mean token?"),
        (None, "console", "a mapping is needed"),
    ],
)
def test_what_the_live_page_cannot_be(console, path, says):
    with pytest.raises(SettingsError, match=re.escape(says)) as caught:
        Settings(console=console)
    assert caught.value.path == path
    assert "0123456789" not in str(caught.value)
