"""Keys: what the models say of themselves."""

from __future__ import annotations

from resilient_http.settings.changes import FIXED
from resilient_http.settings.keys import keys, meaning, shape_at, texts
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.retry import RetrySettings


def known():
    return {".".join(key.path): key for key in keys(Settings)}


def test_every_docstring_names_each_key_and_no_other():
    for key in known().values():
        model = key.shape.model
        assert model is None or set(texts(model)) <= set(model.model_fields) | {"unknown", "short", "listed"}, model
        assert key.text


def test_what_needs_a_new_process_is_what_reload_refuses():
    assert set(FIXED) == {name for name, key in known().items() if "." not in name and key.reload == "new process"}
    assert {"backend", "engine", "shared"} <= set(FIXED)


def test_what_is_below_a_key_is_in_effect_as_it_is():
    reload = {name: key.reload for name, key in known().items()}
    assert reload["defaults.retry.backoff.base"] == "at once"
    assert reload["upstreams.*.endpoints.*.weight"] == "at once"
    assert reload["upstreams.*.pool.max_age"] == reload["defaults.tls.verify"] == "new connections"
    assert reload["shared.interval"] == "new process"


def test_a_shape_is_found_through_names_lists_and_null():
    assert shape_at(Settings, ("upstreams", "payments", "retry")).model is RetrySettings
    assert shape_at(Settings, ("upstreams", "payments", "routes", "GET /x", "retry", "max_attempts")).types == (int,)
    assert shape_at(Settings, ("defaults", "endpoints", "0", "weight")).types == (float,)
    assert shape_at(Settings, ("defaults", "circuit", "outcomes", "429")).types[0] == "success"
    assert shape_at(Settings, ("defaults", "nothing", "below")) is None
    assert shape_at(Settings, ("zone", "below")) is None
    assert shape_at(Settings, ("zone",)).is_text
    assert not shape_at(Settings, ("defaults", "hedge", "delay")).is_text


def test_units_are_told():
    units = {name: key.shape.unit for name, key in known().items()}
    assert units["defaults.timeout.total"] == "s"
    assert units["defaults.retry.budget.ratio"] == "share"
    assert units["defaults.rate_limit.rate"] == "per s"
    assert units["defaults.fallback.stale.max_bytes"] == "bytes"


def test_a_section_means_what_its_own_docstring_says_first():
    text = texts(UpstreamSettings)["retry"]
    assert meaning(text, RetrySettings) == "What is repeated, and how often. None for no repeats."
    assert meaning("A fixed answer; see FixedResponseSettings.", None) == "A fixed answer."
