from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.semantics import (
    IDEMPOTENT_METHODS,
    RETRYABLE_STATUSES,
    THROTTLED,
    keep_alive,
    read_timeout,
    request_start,
    retry_after,
    write_timeout,
)

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


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [
        ("250", "ms", 0.25),
        (" 1.5 ", "s", 1.5),
        ("0", "ms", 0.0),
        ("100m", "grpc", 0.1),
        ("2S", "grpc", 2.0),
        ("1H", "grpc", 3600.0),
        ("5u", "grpc", 5e-6),
    ],
)
def test_a_deadline_header_in_its_unit(value, unit, seconds):
    assert read_timeout(value, unit) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "-1", "+1", "1e3", "nan", "inf", "soon", "1 2", "\u0661", "9" * 16, "99999999999"]
)
@pytest.mark.parametrize("unit", ["s", "grpc"])
def test_a_deadline_header_that_makes_no_sense_says_nothing(value, unit):
    assert read_timeout(value, unit) is None


@given(st.floats(0.001, 86_400.0), st.sampled_from(["ms", "s", "grpc"]))
def test_what_is_written_is_read_again_and_never_longer(seconds, unit):
    read = read_timeout(write_timeout(seconds, unit), unit)

    assert 0 < read <= seconds + 0.0005
    assert read >= seconds - 0.0015


@pytest.mark.parametrize("unit", ["ms", "s", "grpc"])
def test_nothing_left_is_never_written_as_no_timeout(unit):
    assert read_timeout(write_timeout(0.0, unit), unit) == 0.001


@pytest.mark.parametrize(
    "value", ["1800000000.5", "t=1800000000.5", "1800000000500", "t=1800000000500000", "1800000000500000000"]
)
def test_the_start_of_a_request_in_any_unit(value):
    assert request_start(value) == pytest.approx(NOW + 0.5)


@pytest.mark.parametrize("value", ["", "t=", "yesterday", "-1800000000", "12", "1" * 30, "t=t=1800000000"])
def test_a_start_that_makes_no_sense_says_nothing(value):
    assert request_start(value) is None
