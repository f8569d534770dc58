"""The kill switches that a document from afar says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from resilient_http.errors import SettingsError
from resilient_http.settings.switches import read_switches

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
WALL = NOW.timestamp()
KNOWN = ("payments", "*")


def read(said):
    return read_switches({"switches": said}, KNOWN, WALL)


def until(seconds, zone=UTC):
    return (NOW + timedelta(seconds=seconds)).astimezone(zone).isoformat()


def refusal(said):
    with pytest.raises(SettingsError) as caught:
        read(said)
    return caught.value


def test_an_instant_becomes_the_seconds_that_are_left():
    east = timezone(timedelta(hours=5))
    said = {
        "payments": [{"what": "retries off", "until": until(300)}, {"what": "shed", "share": 0.5, "until": WALL + 5}],
        "*": [{"what": "hedges off", "until": until(60, east)}],
        "http://n1": [{"what": "circuit open", "endpoint": "http://n1", "until": NOW + timedelta(seconds=1)}],
    }
    found = [(name, switch.what, switch.share, left) for name, switch, left in read(said)]
    assert found == [
        ("payments", "retries off", 1.0, 300.0),
        ("payments", "shed", 0.5, 5.0),
        ("*", "hedges off", 1.0, 60.0),
        ("http://n1", "circuit open", 1.0, 1.0),
    ]


def test_none_is_none_and_what_is_past_is_over():
    assert read_switches({}, KNOWN, WALL) == []
    assert read({"payments": [{"what": "shed", "until": until(0)}, {"what": "shed", "until": until(-1e6)}]}) == []


@pytest.mark.parametrize(
    ("said", "path"),
    [
        (None, "switches"),
        ([], "switches"),
        ({"paymnts": []}, "switches.paymnts"),
        ({"://": []}, "switches.://"),
        ({"http://n1\nforged": []}, "switches.http://n1\nforged"),
        ({"http://n1/path": []}, "switches.http://n1/path"),
        ({"payments": [{"what": "circuit open", "endpoint": "n1", "until": until(1)}]}, "switches.payments.0.endpoint"),
        ({"payments": {"what": "shed"}}, "switches.payments"),
        ({"payments": [{"what": "shed"}]}, "switches.payments.0.until"),
        ({"payments": [{"what": "off", "until": until(1)}]}, "switches.payments.0.what"),
        ({"payments": [{"what": "shed", "until": "2026-11-26T13:00:00"}]}, "switches.payments.0.until"),  # no time zone
        ({"payments": [{"what": "shed", "until": until(700_000)}]}, "switches.payments.0.until"),
        ({"payments": [{"what": "shed", "until": until(1), "share": 0}]}, "switches.payments.0.share"),
        ({"payments": [{"what": "hedges off", "until": until(1), "share": 0.5}]}, "switches.payments.0.share"),
        ({"payments": [{"what": "shed", "until": until(1), "endpoint": "x"}]}, "switches.payments.0.endpoint"),
        ({"payments": [{"what": "shed", "until": until(1), "for": 5}]}, "switches.payments.0.for"),
        ({"payments": ["shed"]}, "switches.payments.0"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(said, path):
    assert refusal(said).path == path


def test_all_mistakes_are_told():
    error = refusal({"paymnts": [], "payments": [{"what": "off", "until": "soon"}]})
    assert [".".join(each.path) for each in error.mistakes] == [
        "switches.paymnts", "switches.payments.0.what", "switches.payments.0.until",
    ]  # fmt: skip


def test_an_origin_is_the_same_however_it_is_written():
    said = {"HTTP://N1:80/": [{"what": "circuit open", "endpoint": "https://[::1]:443/", "until": until(9)}]}
    ((name, switch, _),) = read(said)
    assert (name, switch.endpoint) == ("http://n1", "https://[::1]")
