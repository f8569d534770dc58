"""Answer: what a source says, read."""

from __future__ import annotations

import math

import pytest

from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.upstreams.sources.answer import MOST, read_answer
from resilient_http.upstreams.sources.source import Discovered, SourceFailed


def urls(said, scheme=None):
    return [each.url for each in read_answer(said, scheme).endpoints]


def test_an_endpoint_is_what_the_settings_take_for_one():
    said = [
        "http://n1:80",
        {"url": "http://n2", "weight": 3, "backup": True, "zone": "a"},
        EndpointSettings(url="http://n3"),
    ]
    first, second, third = read_answer(said, None).endpoints
    assert (first.url, third.url) == ("http://n1:80", "http://n3")
    assert (second.weight, second.backup, second.zone) == (3.0, True, "a")


@pytest.mark.parametrize("said", [("http://b", "http://a"), {"http://b", "http://a"}, iter(["http://b", "http://a"])])
def test_any_iterable_will_do_and_its_order_does_not_matter(said):
    assert urls(said) == ["http://a", "http://b"]


def test_what_is_no_endpoint_is_left_out_and_counted():
    said = [
        "http://n1", "n2", "ftp://n3", "http://me:secret@n4", "http://n5/path", "http://n6:0", None, 7, b"http://n7",
        {"url": "http://n8", "weight": 0}, {"url": "http://n9", "colour": "red"}, {}, ["http://n10"],
    ]  # fmt: skip
    answer = read_answer(said, None)
    assert [each.url for each in answer.endpoints] == ["http://n1"]
    assert answer.left_out == len(said) - 1
    assert answer.wrong == (
        "a value without a host: an origin like http://10.0.0.1:8080 is needed",
        "ftp://n3: an origin like http://10.0.0.1:8080 is needed",
        "http://n4: an endpoint carries no credentials; pass auth= to the client",
    )


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("http://n5:81/path?hunter2", "http://n5:81: an endpoint is an origin, without path or query"),
        ({"url": "http://n8", "weight": 0}, "http://n8: Input should be greater than 0"),
        ("http://n6\nforged", "http://n6forged: an origin like"),
        ("https://n7", "https://n7: the others are http"),
        (b"hunter2", "a URL or a mapping is needed, not bytes"),
        ("hunter2", "a value without a host"),
        ({"url": "http://n8", "hunter2": 1}, "http://n8: "),
        ("http://me:hunter2@n9:x", "a value without a host: not a URL"),
    ],
)
def test_what_is_wrong_with_what_is_left_out_is_told_without_secrets(said, wrong):
    (told,) = read_answer(["http://n1", "http://n2", said], None).wrong
    assert wrong in told
    assert "hunter2" not in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([], "names no endpoint"),
        ((), "names no endpoint"),
        (Discovered([]), "names no endpoint"),
        (["nonsense", None], "nothing in it is an endpoint"),
        (["http://me:secret@n4"], "nothing in it is an endpoint"),
        (None, "no list"),
        ("http://n1", "no list"),
        (b"bytes", "no list"),
        ({"url": "http://n1"}, "no list"),
        (7, "no list"),
        (["http://n1"] * (MOST + 1), "more than"),
    ],
)
def test_garbage_is_a_failure_and_shows_nothing_of_it(said, why):
    with pytest.raises(SourceFailed, match=why) as caught:
        read_answer(said, None)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_one_that_is_told_twice_is_one_and_the_first_counts():
    answer = read_answer([{"url": "http://n1", "weight": 2}, "http://N1:80/", "http://n1:81"], None)
    assert [(each.url, each.weight) for each in answer.endpoints] == [("http://n1", 2.0), ("http://n1:81", 1.0)]
    assert answer.left_out == 0


def test_where_only_backups_are_left_they_are_the_nodes():
    assert [each.backup for each in read_answer([{"url": "http://n1", "backup": True}], None).endpoints] == [False]


def test_nodes_of_another_scheme_are_left_out():
    assert urls(["http://n1", "http://n2", "https://n3"]) == ["http://n1", "http://n2"]
    assert urls(["http://n1", "https://n3"]) == ["https://n3"]
    assert urls(["http://n1", "https://n3"], "http") == ["http://n1"]


def test_tls_is_not_taken_away():
    assert urls(["http://n1", "https://n2"], "https") == ["https://n2"]
    with pytest.raises(SourceFailed):
        read_answer(["http://n1"], "https")
    assert urls(["https://n1"], "http") == ["https://n1"]  # but it may be given


@pytest.mark.parametrize(
    ("valid_for", "read"),
    [(5, 5.0), (0.5, 0.5), (None, None), (0, None), (-1, None), (math.nan, None), (True, None), ("5", None)],
)
def test_for_how_long_it_is_valid(valid_for, read):
    assert read_answer(Discovered(["http://n1"], valid_for), None).valid_for == read
