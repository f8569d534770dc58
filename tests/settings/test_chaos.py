"""Faults are injected where the root allows it by name, for an hour at most, and nothing from afar can bring any."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.errors import SettingsError
from resilient_http.settings.advice import advise
from resilient_http.settings.chaos_header import chaos_header, read_order
from resilient_http.settings.files import parsed
from resilient_http.settings.models import Settings
from resilient_http.settings.remote import laid_over

KEY = "k" * 32
ERROR = {"error": 503, "lasts": 60}


def settings(faults, routes=None, **root):
    own = {"endpoints": ["http://n1"], "chaos": faults, "routes": routes or {}}
    return Settings(**{"chaos": {"allowed": ["payments"], "key": KEY}, "upstreams": {"payments": own}, **root})


def refusal(faults, routes=None, **root):
    with pytest.raises(SettingsError) as caught:
        settings(faults, routes, **root)
    return caught.value


def soon(seconds):
    return datetime.now(UTC) + timedelta(seconds=seconds)


# Allowed by name


def test_it_is_refused_unless_the_root_allows_it_by_name():
    error = refusal(ERROR, chaos={})
    assert error.path == "upstreams.payments.chaos"
    assert '"chaos": {"allowed": ["payments"]}' in str(error)
    refusal(ERROR, chaos={"allowed": ["offers"]})
    assert settings(ERROR).upstreams["payments"].chaos.error.status == 503


def test_the_defaults_have_none_even_where_every_upstream_is_named():
    error = refusal(None, defaults={"chaos": ERROR})
    assert [mistake.path for mistake in error.mistakes] == [("defaults", "chaos")]
    error = refusal(None, defaults={"routes": {"GET /a": {"chaos": ERROR}}})
    assert error.path == "defaults.routes.GET /a.chaos"


def test_a_route_needs_the_same_permit():
    error = refusal(None, {"GET /a": {"chaos": ERROR}}, chaos={})
    assert error.path == "upstreams.payments.routes.GET /a.chaos"
    assert settings(None, {"GET /a": {"chaos": ERROR}}).upstreams["payments"].routes["GET /a"].chaos is not None


def test_a_permit_for_nobody_is_a_mistake():
    error = refusal(None, chaos={"allowed": ["paymnets"]})
    assert (error.path, error.mistakes[0].known) == ("chaos.allowed", ("payments",))


@pytest.mark.parametrize(
    "document",
    [
        {"chaos": {"allowed": ["payments"]}},
        {"upstreams": {"payments": {"chaos": ERROR}}},
        {"upstreams": {"payments": {"routes": {"GET /a": {"chaos": ERROR}}}}},
        {"defaults": {"chaos": ERROR}},
    ],
)
def test_nothing_from_afar_brings_any(document):
    with pytest.raises(SettingsError, match="from afar"):
        laid_over(settings(None, {"GET /a": {}}), document)


def test_a_call_brings_none():
    from resilient_http.settings.overrides import overridden

    with pytest.raises(SettingsError, match="not a setting of one call"):
        overridden(settings(None).upstreams["payments"], {"chaos": ERROR})


def test_a_deployment_is_warned():
    (advice,) = advise(settings(ERROR), deploy=True)
    assert str(advice) == "W106 upstreams.payments.chaos: faults are injected into its calls, for 60 s"
    assert advise(settings(ERROR)) == ()
    (advice,) = advise(settings({"by_header": True}), deploy=True)
    assert "signed header" in advice.message
    assert advise(settings(None), deploy=True) == ()


# Bounded in time


@pytest.mark.parametrize(
    ("chaos", "path"),
    [
        ({"error": 503}, "chaos"),
        ({}, "chaos"),
        ({"error": 503, "lasts": 3600.1}, "chaos.lasts"),
        ({"error": 503, "lasts": 0}, "chaos.lasts"),
        ({"error": 503, "until": "2020-01-01T00:00:00"}, "chaos.until"),
        ({"error": 503, "until": soon(10_000)}, "chaos.until"),
        ({"error": 503, "until": soon(60), "lasts": 60}, "chaos.lasts"),
        ({"error": 99, "lasts": 60}, "chaos.error.status"),
        ({"error": {"status": 503, "headers": {"content-length": "1"}}, "lasts": 60}, "chaos.error.headers"),
        ({"error": {"status": 503, "headers": {"content-encoding": "gzip"}}, "lasts": 60}, "chaos.error.headers"),
        ({"latency": [2, 1], "lasts": 60}, "chaos.latency"),
        ({"latency": {"max": 1, "share": 0}, "lasts": 60}, "chaos.latency.share"),
        ({"abort": "sometimes", "lasts": 60}, "chaos.abort.when"),
        ({"drip": 0, "lasts": 60}, "chaos.drip.rate"),
        ({"error": 503, "methods": ["get"], "lasts": 60}, "chaos.methods"),
        ({"error": {"status": 503, "share": 0.6}, "abort": {"when": "after", "share": 0.5}, "lasts": 60}, "chaos"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_path(chaos, path):
    assert refusal(chaos).path.startswith(f"upstreams.payments.{path}")


def test_an_end_that_is_past_is_over_and_no_mistake():
    chaos = settings({"error": 503, "until": "2020-01-01T00:00:00Z"}).upstreams["payments"].chaos
    assert chaos.left(time.time()) == 0.0
    assert 50 < settings({"error": 503, "until": soon(60)}).upstreams["payments"].chaos.left(time.time()) <= 60


# Written


def test_short_and_long_forms_mean_the_same():
    short = settings({"latency": [0.1, 1], "error": {"status": 500, "share": 0.1}, "drip": {"rate": 9, "share": 0.1},
                      "abort": {"when": "after", "share": 0.1}, "lasts": 60})  # fmt: skip
    rules = short.upstreams["payments"].chaos.rules()
    assert (rules["latency"], rules["status"], rules["drip"], rules["abort"]) == ((0.1, 1.0), 500, 9.0, "after")
    assert settings({"latency": 0.5, "lasts": 1}).upstreams["payments"].chaos.rules()["latency"] == (0.5, 0.5)


def test_settings_with_chaos_are_explained_and_read_from_a_file():
    own = settings({"error": 503, "latency": 0.5, "until": soon(60)})
    told = {each["path"]: each["value"] for each in own.explained()}
    json.dumps(list(told.values()))
    assert told["chaos.key"] == "***"
    assert told["upstreams.payments.chaos.error.status"] == 503
    toml = b"[upstreams.payments.chaos]\nuntil = 2020-01-01T00:00:00Z\nlatency = [0.1, 0.2]\n"
    read = parsed(toml, "a.toml", Settings)["upstreams"]["payments"]["chaos"]
    assert settings(read).upstreams["payments"].chaos.until.year == 2020


# The header


def test_a_header_needs_its_key():
    error = refusal({"by_header": True}, chaos={"allowed": ["payments"]})
    assert (error.path, "chaos.key" in str(error)) == ("upstreams.payments.chaos.by_header", True)


@pytest.mark.parametrize("key", ["too-short", 5, ["hunter2hunter2"]])
def test_a_key_that_is_wrong_is_shown_nowhere(key):
    error = refusal({"by_header": True}, chaos={"allowed": ["payments"], "key": key})
    assert error.path == "chaos.key"
    assert "hunter2" not in str(error)
    assert "too-short" not in str(error)


def test_what_was_signed_is_read():
    order = read_order(chaos_header(KEY, "payments", error=503, latency=[0, 1]), KEY, time.time())
    assert (order.upstream, order.error.status, order.latency.max) == ("payments", 503, 1.0)
    assert 59 < order.until - time.time() <= 60.001


def test_what_was_signed_by_somebody_else_or_is_over_or_lasts_too_long_says_nothing():
    value, now = chaos_header(KEY, "payments", error=503), time.time()
    assert read_order(value, "x" * 32, now) is None
    assert read_order(value, KEY, now + 61) is None
    assert read_order(value, KEY, now - 3600) is None  # signed for more than an hour from then


@given(st.text(max_size=5000))
def test_nothing_that_anybody_writes_is_believed_or_breaks(text):
    assert read_order(text, KEY, 0.0) is None


@given(st.integers(0, 1_000), st.integers(1, 255))
def test_a_single_other_byte_says_nothing(at, by):
    value, now = chaos_header(KEY, "payments", error=503), time.time()
    at %= len(value)
    other = value[:at] + chr((ord(value[at]) ^ by) % 128) + value[at + 1 :]
    if other.rstrip() != value:
        assert read_order(other, KEY, now) is None


def test_what_is_signed_and_makes_no_sense_says_nothing():
    from resilient_http.settings import chaos_header as module

    for said in (b"[]", b"{", b"null", b'{"upstream": "a"}', b'{"upstream":"a","until":1e309,"error":503}'):
        payload = base64.urlsafe_b64encode(said).decode().rstrip("=")
        value = f"{payload}.{module._encoded(module._signature(KEY, payload))}"
        assert read_order(value, KEY, time.time()) is None


@pytest.mark.parametrize(("options", "path"), [({}, "faults"), ({"error": 1}, "error.status"), ({"eror": 503}, "eror")])
def test_who_makes_a_header_is_told_what_is_wrong(options, path):
    with pytest.raises(SettingsError) as caught:
        chaos_header(KEY, "payments", **options)
    assert caught.value.path == path
    with pytest.raises(SettingsError, match="3600"):
        chaos_header(KEY, "payments", lasts=3601, error=503)
