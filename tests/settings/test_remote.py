"""What a document from afar may change: what is on the list, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings
from resilient_http.settings.remote import ALLOWED, NAME, laid_over
from resilient_http.settings.validation import Model

N1, N2 = "http://n1", "http://n2"
OWN = {"upstreams": {"payments": {"endpoints": [N1, {"url": N2, "weight": 2}]}}, "guards": {"db": {}}}


def own(**more):
    return Settings(**{**OWN, **more})


def refusal(document, settings=None, **options):
    with pytest.raises(SettingsError) as caught:
        laid_over(settings or own(), document, **options)
    return caught.value


def keys(model: type[Model], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each key of the settings that has none below it, names as they are in ALLOWED."""
    for name, field in model.model_fields.items():
        below = list(models_in(field.annotation))
        named = [NAME] if "Mapping" in str(field.annotation) else []
        if not below or name == "endpoints":  # the nodes are one thing
            yield (*path, name)
        for each in below if name != "endpoints" else ():
            yield from keys(each, (*path, name, *named))


def models_in(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for each in get_args(annotation):
        yield from models_in(each)


KEYS = tuple(keys(Settings))


def document_of(path, value):
    for key in reversed(named(path)):
        value = {key: value}
    return value


def named(path):
    """The path with names of ours where it has any."""
    names = {"upstreams": "payments", "guards": "db", "routes": "GET /a"}
    return [names[path[at - 1]] if key == NAME else key for at, key in enumerate(path)]


def test_the_keys_are_seen():
    assert len(KEYS) > 200
    assert ("upstreams", NAME, "retry", "backoff", "cap") in KEYS
    assert ("shared", "redis") in KEYS


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_key_is_on_the_list_or_refused_with_its_path(path):
    document = document_of(path, object())
    told = {".".join(mistake.path): mistake.message for mistake in refusal(document).mistakes}
    here = ".".join(named(path))
    allowed = ".".join(path) in ALLOWED
    from_afar = {path: message for path, message in told.items() if "from afar" in message}
    if here.endswith("payments.endpoints"):
        assert list(from_afar) == [here]
    elif allowed:
        assert from_afar == {}  # it was refused for what stood there
    else:
        assert any(here == each or here.startswith(f"{each}.") for each in from_afar)


def test_nothing_is_on_the_list_that_is_no_key():
    assert {".".join(path) for path in KEYS} >= ALLOWED


@pytest.mark.parametrize(
    "word",
    ["classify", "methods", "header", "headers", "key", "function", "store", "check", "source", "proxy", "verify",
     "cert", "tls", "middleware", "discovery", "health", "shared", "watch", "propagate", "host", "password", "token",
     "redis", "trusted_peers", "backend", "engine", "response", "idempotency_key", "trust_dependency_marker"],
)  # fmt: skip
def test_what_names_code_addresses_or_credentials_never_is(word):
    assert not [path for path in ALLOWED if word in path.split(".")]


def test_a_document_is_laid_over_what_was_written():
    settings = laid_over(
        own(defaults={"timeout": {"total": 8.0}}),
        {
            "enabled": False,
            "defaults": {"timeout": {"total": 4.0}, "retry": {"budget": {"ratio": 0.1}}},
            "upstreams": {"payments": {"circuit": None, "hedge": {"delay": "p95"}}},
            "guards": {"db": {"retry": None}},
        },
    )
    payments = settings.upstreams["payments"]
    assert (settings.enabled, payments.timeout.total) == (False, 4.0)  # inherited from what is laid over
    assert (payments.retry.budget.ratio, payments.circuit, payments.hedge.delay) == (0.1, None, "p95")
    assert settings.guards["db"].retry is None
    assert [each.url for each in payments.endpoints] == [N1, N2]


def test_what_an_upstream_says_itself_stands_over_the_defaults_of_a_document():
    settings = Settings(upstreams={"payments": {"endpoints": [N1], "timeout": {"total": 9.0}}})
    assert laid_over(settings, {"defaults": {"timeout": {"total": 4.0}}}).upstreams["payments"].timeout.total == 9.0


def test_an_empty_document_leaves_the_settings_as_they_are():
    settings = own()
    assert laid_over(settings, {}) is settings
    assert laid_over(settings, {"switches": {"payments": []}}) is settings


def test_all_that_is_refused_is_told_at_once_and_no_value_of_it():
    error = refusal(
        {
            "shared": {"redis": "redis://:hunter2@h"},
            "backend": "httpx2",
            "upstreams": {
                "payments": {"proxy": "http://u:hunter2@p", "retry": {"classify": "os.system", "max_attempts": 1}},
                "paymnts": {"timeout": {"total": 1.0}},
            },
        }
    )
    assert [".".join(mistake.path) for mistake in error.mistakes] == [
        "shared", "backend", "upstreams.payments.proxy", "upstreams.payments.retry.classify", "upstreams.paymnts",
    ]  # fmt: skip
    assert "did you mean payments" in str(error)
    assert "hunter2" not in str(error)


def test_what_is_allowed_is_validated():
    error = refusal({"upstreams": {"payments": {"timeout": {"total": -1}}}})
    assert error.path == "upstreams.payments.timeout.total"


@pytest.mark.parametrize("section", ["timeout", "pool", "inbound", "misplaced", "upstreams", "guards", "defaults"])
def test_what_cannot_be_off_is_not_switched_off(section):
    root = section in ("inbound", "misplaced", "upstreams", "guards", "defaults")
    refusal({section: None} if root else {"upstreams": {"payments": {section: None}}})


@pytest.mark.parametrize(
    "nodes", [[N1], [N1, N2, "http://n3"], [N1, {"url": N2, "backup": True}], [N1, "https://n2"], "all", [N1, 5], None]
)
def test_other_nodes_are_refused(nodes):
    error = refusal({"upstreams": {"payments": {"endpoints": nodes}}})
    assert error.path == "upstreams.payments.endpoints"


def test_weights_are_changed_and_nodes_where_that_is_allowed():
    weights = {"upstreams": {"payments": {"endpoints": [{"url": N1, "weight": 9}, N2]}}}
    assert [each.weight for each in laid_over(own(), weights).upstreams["payments"].endpoints] == [9, 1]
    other = {"upstreams": {"payments": {"endpoints": ["http://n3"]}, "search": {"endpoints": ["http://s1"]}}}
    settings = laid_over(own(), other, endpoints=True)
    assert [each.url for each in settings.upstreams["payments"].endpoints] == ["http://n3"]
    assert "search" in settings.upstreams


WORDS = sorted({key for path in KEYS for key in path} | {"payments", "db"})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["p95", "http://evil", "os.system", ""]),
    lambda below: st.lists(below, max_size=3)
    | st.dictionaries(st.sampled_from(WORDS), below, max_size=4),
    max_leaves=20,
)  # fmt: skip


def leaves(value, path=()):
    if isinstance(value, Model):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, dict) and path and path[-1] in ("upstreams", "guards"):
        for name, below in value.items():
            yield from leaves(below, (*path, name))
    else:
        yield path, value


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), JSON, max_size=4))
def test_whatever_a_document_says_nothing_else_is_different(document):
    before = own()
    try:
        after = laid_over(before, document)
    except SettingsError:
        return
    known = dict(leaves(before))
    for path, value in leaves(after):
        if path in known and value != known[path]:
            general = tuple(
                NAME if at == 1 and path[0] in ("upstreams", "guards") else key for at, key in enumerate(path)
            )
            dotted = ".".join(general)
            assert dotted in ALLOWED or any(each.startswith(f"{dotted}.") for each in ALLOWED)


def test_what_was_misspelt_is_told_the_nearest_that_may_change():
    error = refusal({"upstreams": {"payments": {"timeot": {"total": 1}}}})
    assert str(error) == "upstreams.payments.timeot: cannot be changed from afar; did you mean timeout?"


def test_of_very_many_mistakes_the_first_are_told_each_on_one_line():
    error = refusal({f"key{at}\nforged" if at == 0 else f"key{at}" * 1000: 1 for at in range(5_000)})
    lines = str(error).splitlines()
    assert lines[0] == r"'key0\nforged': cannot be changed from afar"
    assert lines[-1] == "and 4900 more"
    assert len(lines) == 101
    assert max(map(len, lines)) < 300
    assert len(error.mistakes) == 5_000
