"""What of a URL and of headers may be shown."""

import httpx
import pytest

from resilient_http.telemetry.redaction import LONGEST, shown_headers, shown_url

ALLOWED = frozenset({"page"})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://payments/charges", "http://payments/charges"),
        ("http://payments:8080/a%20b", "http://payments:8080/a%20b"),
        ("http://me:secret@payments/charges", "http://payments/charges"),
        ("http://secret@payments/?page=2", "http://payments/?page=2"),
        ("http://payments/?card=4111&page=2&sig=x#top", "http://payments/?card=REDACTED&page=2&sig=REDACTED"),
        ("http://payments/?4111", "http://payments/?REDACTED"),
        ("http://payments/?=4111", "http://payments/?=REDACTED"),
        ("http://payments/?%70age=2", "http://payments/?%70age=2"),
        ("/landed?token=x", "/landed?token=REDACTED"),
        ("http://[::1", "http://[::1"),
        ("http://[::1?token=x", "REDACTED"),
        ("http://payments/" + "a" * 5000, ("http://payments/" + "a" * 5000)[:LONGEST]),
    ],
)
def test_a_url_loses_credentials_and_the_values_of_its_query(url, shown):
    assert shown_url(url, ALLOWED) == shown


def test_a_url_of_httpxs_is_shown_alike():
    assert shown_url(httpx.URL("http://me:secret@payments/?card=4111"), ALLOWED) == "http://payments/?card=REDACTED"


def test_headers_show_what_is_allowed_and_the_names_of_the_rest():
    lines = [("accept", "a"), ("accept", "b"), ("cookie", "session=1"), ("cookie", "other=2")]

    assert shown_headers(lines, frozenset({"accept"})) == {"accept": "a, b", "cookie": "REDACTED"}
