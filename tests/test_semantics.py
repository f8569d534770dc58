from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.semantics import IDEMPOTENT_METHODS, RETRYABLE_STATUSES, THROTTLED, keep_alive, retry_after

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("120", 120.0), (" 7 ", 7.0), ("007", 7.0), ("999999999", 999999999.0)]
)
def test_retry_after_in_seconds(value, seconds):
    assert retry_after(value, wall_now=NOW) == seconds


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 15 Jan 2027 08:00:30 GMT",  # IMF-fixdate
        "Friday, 15-Jan-27 08:00:30 GMT",  # RFC 850, obsolete
        "Fri Jan 15 08:00:30 2027",  # asctime, obsolete
    ],
)
def test_retry_after_in_each_form_of_an_http_date(date):
    assert retry_after(date, wall_now=NOW) == 30.0


def test_a_date_without_a_zone_is_utc_wherever_we_are(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert retry_after("Fri Jan 15 08:00:30 2027", wall_now=NOW) == 30.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_in_the_past_means_now():
    assert retry_after("Fri, 15 Jan 1999 08:00:30 GMT", wall_now=NOW) == 0.0


@given(st.integers(0, 2**31))
def test_any_date_is_the_seconds_until_then(ahead):
    assert retry_after(formatdate(NOW + ahead, usegmt=True), wall_now=NOW) == ahead


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "soon",
        "-1",
        "1.5",
        "1e3",
        "+5",
        "\u0663",
        "\u00b2",
        "9" * 400,
        "Fri, 99 Jan 2027 08:00:30 GMT",
        "1, 2",
        "GMT",
    ],
)
def test_a_malformed_retry_after_is_none(value):
    assert retry_after(value, wall_now=NOW) is None


@given(st.text(max_size=60))
def test_no_retry_after_raises(value):
    seconds = retry_after(value, wall_now=NOW)
    assert seconds is None or seconds >= 0.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("timeout=5", 5.0),
        ("timeout=5, max=100", 5.0),
        ("max=100, Timeout=15", 15.0),
        ("max=100", None),
        ("timeout=", None),
        ("timeout=-1", None),
        ("timeout=soon", None),
        ("", None),
    ],
)
def test_keep_alive_tells_how_long_a_server_keeps_an_idle_connection(value, seconds):
    assert keep_alive(value) == seconds


@given(st.text(max_size=60))
def test_no_keep_alive_raises(value):
    seconds = keep_alive(value)
    assert seconds is None or seconds >= 0.0


def test_what_may_be_repeated():
    assert sorted(IDEMPOTENT_METHODS) == ["DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"]
    assert sorted(RETRYABLE_STATUSES) == [408, 429, 500, 502, 503, 504]
    assert sorted(THROTTLED) == [429, 503]
