"""Wire: what httpx has decided goes out as it is, and nothing that would be read as another request."""

from __future__ import annotations

import pytest

from resilient_http.engines.wire import Unsendable, check_length, chunked, head_of, whole


@pytest.fixture
def head(library):
    def make(method="GET", url="http://n1/", **options):
        request = library.Request(method, url, **options)
        target = request.extensions.get("target") or request.url.raw_path
        return head_of(request.method.encode(), target, request.headers.raw)

    return make


def test_target_and_fields_keep_their_bytes_order_and_case(head):
    fields = [("Host", "n1"), ("X-Two", "a"), ("x-two", "b"), (b"X-Latin", b"\xe9")]

    written = head(url="http://n1/a%2fb//c;d?q=%20&Q=+", headers=fields)

    assert written.data == (
        b"GET /a%2fb//c;d?q=%20&Q=+ HTTP/1.1\r\nHost: n1\r\nX-Two: a\r\nx-two: b\r\nX-Latin: \xe9\r\n\r\n"
    )


def test_host_comes_first(head):
    written = head(headers={"Accept": "x/y", "host": "other", "X-A": "1"})

    assert written.data == b"GET / HTTP/1.1\r\nhost: other\r\nAccept: x/y\r\nX-A: 1\r\n\r\n"


def test_a_target_of_the_users_takes_the_place_of_the_urls(head):
    assert head("OPTIONS", extensions={"target": b"*"}).data.startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "options",
    [
        {"method": "GET / HTTP/1.1\r\nX-Evil:"},
        {"extensions": {"target": b"/a b"}},
        {"extensions": {"target": b"/\r\nX-Evil: 1"}},
        {"headers": {"X-A": "1\r\nX-Evil: 1"}},
        {"headers": {"X-A": "1\nX-Evil: 1"}},
        {"headers": {"X-A": "1\x00"}},
        {"headers": {"X A": "1"}},
        {"headers": {"X-A:": "1"}},
        {"headers": {"": "1"}},
        {"headers": {"Transfer-Encoding": "gzip, chunked"}},
        {"headers": {"Content-Length": "1, 2"}},
        {"headers": [("Content-Length", "1"), ("Content-Length", "2")]},
        {"headers": {"Content-Length": "-1"}},
    ],
    ids=str,
)
def test_what_could_be_read_as_another_request_is_refused_without_being_quoted(head, options):
    with pytest.raises(Unsendable) as caught:
        head(**options)

    assert "Evil" not in str(caught.value)


def test_a_body_is_as_long_as_its_head_says(head):
    declared = head("POST", headers={"Content-Length": "3"})

    assert whole(declared, b"abc") == b"abc"
    for body in (b"", b"ab", b"abcd"):
        with pytest.raises(Unsendable, match="Content-Length"):
            whole(declared, body)
    with pytest.raises(Unsendable):
        check_length(0, 1)  # no header at all declares none


def test_chunks_are_framed_and_an_empty_one_ends_nothing(head):
    declared = head("POST", headers={"Transfer-Encoding": "Chunked"})

    assert whole(declared, b"x" * 16) == b"10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n"
    assert whole(declared, b"") == b"0\r\n\r\n"
    assert chunked(b"") == b""


@pytest.mark.parametrize(("value", "closes"), [("close", True), ("Keep-Alive, Close", True), ("keep-alive", False)])
def test_a_request_that_closes_its_connection_says_so(head, value, closes):
    assert head(headers={"Connection": value}).closes is closes
