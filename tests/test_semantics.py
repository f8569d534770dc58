from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.semantics import (
    FOREVER,
    IDEMPOTENT_METHODS,
    RETRYABLE_STATUSES,
    THROTTLED,
    come_back_in,
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
    ("value", "unit", "seconds"),
    [
        ("1H", "grpc", 3600.0),
        ("1M", "grpc", 60.0),
        ("1S", "grpc", 1.0),
        ("1m", "grpc", 1e-3),
        ("1u", "grpc", 1e-6),
        ("1n", "grpc", 1e-9),
        ("00000001S", "grpc", 1.0),
        ("1", "s", 1.0),
        ("0.5", "s", 0.5),
        ("1", "ms", 0.001),
        ("1.5", "ms", 0.0015),
        ("007", "ms", 0.007),
    ],
)
def test_one_of_each_unit(value, unit, seconds):
    assert read_timeout(value, unit) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    ["", " ", "-1", "-0", "+1", "1e3", "nan", "inf", "Infinity", "soon", "1 2", "1,2", "1, 2", "0x10", "1_000", "1.",
     ".5", "1.2.3", "1;", "\u0661", "\uff11", "\u00b2", "9" * 16, "0." + "1" * 10, "99999999999999", "1\x00"],
)  # fmt: skip
@pytest.mark.parametrize("unit", ["s", "ms", "grpc"])
def test_a_deadline_header_that_makes_no_sense_says_nothing(value, unit):
    assert read_timeout(value, unit) is None


@pytest.mark.parametrize(
    "value", ["5", "S", "5s", "5h", "5ms", "5 S", "5SS", "-5S", "+5S", "0.5S", "1e2S", "123456789n", "5S;", "\u0665S"]
)
def test_a_grpc_timeout_is_at_most_eight_digits_and_one_unit(value):
    assert read_timeout(value, "grpc") is None


@pytest.mark.parametrize(
    ("most", "beyond", "unit"),
    [("31536000", "31536000.001", "s"), ("31536000000", "31536000001", "ms"), ("8760H", "8761H", "grpc")],
)
def test_a_year_is_the_most_that_anybody_waits(most, beyond, unit):
    assert read_timeout(most, unit) == FOREVER
    assert read_timeout(beyond, unit) is None


@given(
    st.one_of(st.text(max_size=30), st.from_regex(r" ?-?[0-9]{1,20}(\.[0-9]{0,12})?[HMSmun]? ?", fullmatch=True)),
    st.sampled_from(["ms", "s", "grpc"]),
)
def test_no_deadline_header_raises_or_says_what_cannot_be(value, unit):
    seconds = read_timeout(value, unit)
    assert seconds is None or 0.0 <= seconds <= FOREVER


@given(st.floats(0.001, FOREVER), st.sampled_from(["ms", "s", "grpc"]))
def test_what_is_written_is_read_again_and_never_longer(seconds, unit):
    read = read_timeout(write_timeout(seconds, unit), unit)

    assert 0 < read <= seconds * (1 + 1e-12)
    assert read >= seconds - (1.0 if unit == "grpc" and seconds >= 100_000 else 0.00101)


@given(st.floats(allow_nan=False), st.sampled_from(["ms", "s", "grpc"]))
def test_whatever_is_left_is_written_so_that_it_can_be_read(seconds, unit):
    assert 0.001 <= read_timeout(write_timeout(seconds, unit), unit) <= FOREVER


@pytest.mark.parametrize(
    ("seconds", "unit", "written"),
    [
        (1.5, "ms", "1500"),
        (1.5, "s", "1.500"),
        (1.5, "grpc", "1500m"),
        (0.0019, "ms", "1"),
        (0.0019, "s", "0.001"),
        (0.0019, "grpc", "1m"),
        (-3.0, "ms", "1"),
        (99_999.999, "grpc", "99999999m"),
        (100_000.0, "grpc", "100000S"),
    ],
)
def test_what_is_left_is_written_in_whole_milliseconds_rounded_down(seconds, unit, written):
    assert write_timeout(seconds, unit) == written


@pytest.mark.parametrize("unit", ["ms", "s", "grpc"])
def test_nothing_left_is_never_written_as_no_timeout(unit):
    assert read_timeout(write_timeout(0.0, unit), unit) == 0.001


@pytest.mark.parametrize(
    "value", ["1800000000.5", "t=1800000000.5", "1800000000500", "t=1800000000500000", "1800000000500000000"]
)
def test_the_start_of_a_request_in_any_unit(value):
    assert request_start(value) == pytest.approx(NOW + 0.5)


@pytest.mark.parametrize("value", ["t=1800000000.123", " 1800000000.123 ", "1800000000123", "1800000000123000"])
def test_a_fraction_of_a_second_of_the_start_is_kept(value):
    assert request_start(value) == pytest.approx(NOW + 0.123, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("100000000", 1e8),
        ("99999999", None),
        ("99999999999", 99_999_999_999.0),
        ("100000000000", 1e8),  # milliseconds from here on
        ("99999999999999", 99_999_999_999.999),
        ("100000000000000", 1e8),  # microseconds
        ("100000000000000000", 1e8),  # nanoseconds
        ("99999999999999999999", None),  # as a float it is beyond the last year
    ],
)
def test_the_magnitude_of_a_start_tells_its_unit(value, instant):
    assert request_start(value) == instant


@pytest.mark.parametrize(
    "value",
    ["", " ", "t=", "yesterday", "-1800000000", "-t=1800000000", "+1800000000", "12", "0", "1" * 30, "t=t=1800000000",
     "T=1800000000", "1e9", "nan", "inf", "1800000000.", "1800000000,5", "1800000000 5", "\u0661800000000", "0x6b49"],
)  # fmt: skip
def test_a_start_that_makes_no_sense_says_nothing(value):
    assert request_start(value) is None


@given(st.one_of(st.text(max_size=40), st.from_regex(r"(t=)?-?[0-9]{1,25}(\.[0-9]{0,12})?", fullmatch=True)))
def test_no_start_raises_or_is_before_there_were_proxies(value):
    instant = request_start(value)
    assert instant is None or 1e8 <= instant < 1e11


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "ratelimit-reset": "9"}, 7.0),
        ({"retry-after": "soon", "ratelimit-reset": "9"}, 9.0),
        ({"ratelimit-reset": " 30 "}, 30.0),
        ({"ratelimit-reset": "-1"}, None),
        ({"ratelimit-reset": "nan"}, None),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"ratelimit": "limit=100, remaining=5, reset=50"}, None),
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"default";r=5;t=30'}, None),
        ({"ratelimit": '"burst";r=0;t=2, "daily";r=0;t=600, "hourly";r=4;t=9000'}, 600.0),
        ({"ratelimit": '"default";t=30'}, 30.0),
        ({"ratelimit": '"default";r=0'}, None),
        ({"ratelimit": "nonsense; r=, t=x"}, None),
        ({"ratelimit": '"default";r=0;t=99999999999'}, None),
    ],
)
def test_when_an_answer_asks_to_come_back(headers, seconds):
    assert come_back_in(headers, wall_now=0.0) == seconds
