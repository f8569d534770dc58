"""The parser's laws: whatever the bytes come in, each answer is told apart, and what is no answer is said."""

from __future__ import annotations

import gc

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_http.engines.response_parser import LONGEST, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(*parts, method=b"GET"):
    parser = ResponseParser(method)
    for part in parts:
        parser.feed(part)
    return parser


def test_an_answer():
    parser = parsed(b"HTTP/1.1 201 Made it\r\nX-Two:  a b \r\nx-two:\r\nContent-Length: 2\r\n\r\nhi")

    assert (parser.status, parser.reason, parser.version) == (201, b"Made it", b"HTTP/1.1")
    assert parser.headers == [(b"X-Two", b"a b"), (b"x-two", b""), (b"Content-Length", b"2")]
    assert parser.take() == b"hi"
    assert parser.take() == b""
    assert parser.whole
    assert parser.reusable()


@pytest.mark.parametrize(
    ("data", "body", "reusable"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", b"", True),
        (CHUNKED + b"2\r\nhi\r\n4;ext=1\r\n you\r\n0\r\n\r\n", b"hi you", True),
        (CHUNKED + b"2\r\nhi\r\n0\r\nTrailer: 1\r\n\r\n", b"hi", True),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", b"", True),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", b"hi", True),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", b"hi", True),
    ],
)
def test_bodies_and_whether_the_connection_stays(data, body, reusable):
    for parts in ([data], [data[at : at + 1] for at in range(len(data))]):
        parser = parsed(*parts)

        assert parser.whole
        assert parser.fault is None
        assert parser.take() == body
        assert parser.reusable() == reusable


@pytest.mark.parametrize("told", [b"", b"Connection: close\r\n"])
def test_a_body_ends_with_the_connection_where_nothing_else_tells(told):
    parser = parsed(OK + told + b"\r\nhi")
    assert not parser.whole
    parser.feed(b"")

    assert parser.whole
    assert parser.take() == b"hi"
    assert not parser.reusable()


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhi", "(received 2 bytes, expected 5)"),
        (CHUNKED + b"2\r\nhi\r\n", "(incomplete chunked read)"),
        (CHUNKED + b"5\r\nhi", "(incomplete chunked read)"),
        (CHUNKED + b"2\r\nhi\r\n0\r\n", "(incomplete chunked read)"),
    ],
)
def test_a_body_that_is_cut_off_is_not_whole(data, how):
    parser = parsed(data, b"")

    assert not parser.whole
    assert parser.fault is not None
    assert parser.fault.endswith(how)
    assert parser.take() == b"hi"
    assert not parser.reusable()


@pytest.mark.parametrize("data", [b"", OK, OK + b"A: b\r\n"])
def test_no_answer_at_all(data):
    parser = parsed(*filter(None, [data]), b"")

    assert parser.fault == "Server disconnected without sending a response."
    assert not parser.status


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02F",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        OK + b"A : b\r\n\r\n",
        OK + b": b\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        OK + b"Content-Length: -2\r\n\r\nhi",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\nhi",
    ],
)
def test_what_is_no_answer_is_said(data):
    parser = parsed(data)

    assert parser.fault is not None
    assert parser.fault.startswith("what it sent is no HTTP/1.1")
    assert not parser.status


def test_a_status_below_100_is_none():
    assert parsed(b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n").fault == "its status is 099"


@pytest.mark.parametrize("control", [b"\0", b"\x01", b"\x1b", b"\x7f"])
def test_no_value_has_control_characters(control):
    parser = parsed(OK + b"A: b" + control + b"c\r\nContent-Length: 2\r\n\r\nhi")

    assert parser.fault == "the head of its answer has characters that none may have"
    assert not parser.status
    assert not parser.whole


def test_a_value_over_several_lines_is_one():
    parser = parsed(OK + b"A: b\r\n  c\r\n\td\r\nContent-Length: 0\r\n\r\n")

    assert parser.headers == [(b"A", b"b  c\td"), (b"Content-Length", b"0")]
    assert parser.reusable()


def test_what_came_well_before_a_fault_is_given():
    parser = parsed(CHUNKED + b"2\r\nhi\r\nzz\r\n")

    assert parser.status == 200
    assert parser.take() == b"hi"
    assert "chunk" in parser.fault
    assert not parser.reusable()


@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: websocket\r\n"])
def test_nobody_switches_protocols_unasked(upgrade):
    parser = parsed(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n\x81\x05hello")

    assert parser.fault == "it switched protocols, which it was not asked to"
    assert not parser.status


def test_informational_answers_are_passed_over():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    parser = parsed(b"HTTP/1.1 100 Continue\r\n\r\n" + hints, hints + OK + b"Content-Length: 2\r\n\r\nhi")

    assert (parser.status, parser.reason, parser.headers) == (200, b"OK", [(b"Content-Length", b"2")])
    assert parser.take() == b"hi"
    assert parser.reusable()


@pytest.mark.parametrize("told", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_an_answer_to_head_has_no_body(told):
    parser = parsed(OK + told + b"\r\n", method=b"HEAD")

    assert parser.whole
    assert parser.take() == b""
    assert parser.reusable()


@pytest.mark.parametrize(
    ("method", "data"),
    [
        (b"GET", OK + b"Content-Length: 2\r\n\r\nhi" + OK),
        (b"GET", OK + b"Content-Length: 2\r\n\r\nhi\0"),
        (b"GET", CHUNKED + b"0\r\n\r\nH"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\nbody"),
        (b"HEAD", OK + b"Content-Length: 5\r\n\r\nhello"),
        (b"HEAD", OK + b"Content-Length: 0\r\n\r\n" + OK),
        (b"HEAD", OK + b"Connection: close\r\n\r\n"),
        (b"HEAD", CHUNKED + b"0\r\n\r\n"),
    ],
)
def test_what_came_behind_an_answer_leaves_no_connection(method, data):
    parser = parsed(data, method=method)

    assert parser.whole
    assert parser.fault is None
    assert not parser.reusable()


def test_what_comes_later_behind_an_answer_leaves_no_connection():
    parser = parsed(OK + b"Content-Length: 2\r\n\r\nhi", OK)

    assert parser.take() == b"hi"
    assert not parser.reusable()


def test_a_whole_answer_is_no_work_for_the_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            parsed(OK + b"Content-Length: 2\r\n\r\nhi").take()
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_an_endless_head_is_cut():
    line = b"A: " + b"x" * 1000 + b"\r\n"
    parser = parsed(OK, *[line] * (LONGEST // len(line)))
    assert parser.fault is None

    parser.feed(line)

    assert parser.fault == "its head has more than 102400 bytes"


@pytest.mark.parametrize("line", [b"A: " + b"x" * 1000 + b"\r\n", b"x" * 1000])
def test_so_is_an_endless_trailer(line):
    parser = parsed(CHUNKED + b"2\r\nhi\r\n0\r\nA: ", *[line] * (LONGEST // len(line)))
    assert parser.fault is None

    parser.feed(line)

    assert parser.fault == "its trailer has more than 102400 bytes"
    assert parser.take() == b"hi"
    assert not parser.whole


@pytest.mark.parametrize(
    "coding",
    [b"gzip", b"identity", b"gzip, chunked", b"chunked, gzip", b'"chunked"', b"chunked\r\nTransfer-Encoding: chunked"],
)
def test_another_transfer_encoding_is_refused(coding):
    parser = parsed(OK + b"Transfer-Encoding: " + coding + b"\r\nContent-Length: 2\r\n\r\nhi")

    assert parser.fault == "it has a Transfer-Encoding other than chunked"
    assert not parser.status
    assert not parser.reusable()


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked ", b"chunked\t", b"chunked\r\n "])
def test_what_the_parser_does_not_take_for_chunks_is_no_body(coding):
    parser = parsed(OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")

    assert parser.take() in (b"hi", b"")
    assert parser.whole is (parser.fault is None)
    assert parser.fault in (None, "it has a Transfer-Encoding other than chunked")


TOKEN = st.text("abcXYZ-09", min_size=1, max_size=8)
FIELDS = st.lists(st.tuples(TOKEN.map(lambda name: f"X-{name}"), st.text("a b\t;=\xe9", max_size=12)), max_size=6)
BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(status=st.integers(200, 599), fields=FIELDS, chunks=BODIES, counted=st.booleans(), cuts=st.data())
@settings(max_examples=300, deadline=None)
def test_it_reads_what_h11_reads(status, fields, chunks, counted, cuts):
    framing = f"Content-Length: {sum(map(len, chunks))}" if counted else "Transfer-Encoding: chunked"
    lines = [f"HTTP/1.1 {status} Some Reason", *(f"{name}: {value}" for name, value in fields), framing, "", ""]
    body = (
        b"".join(chunks) if counted else b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks) + b"0\r\n\r\n"
    )
    if status in (204, 304):
        body = b""
    data = "\r\n".join(lines).encode("latin-1") + body
    at = sorted(cuts.draw(st.lists(st.integers(1, len(data) - 1), max_size=6, unique=True)))
    parts = [data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True)]

    parser = parsed(*parts)

    theirs, read = by_h11(parts)
    assert (parser.status, parser.reason, parser.headers) == (
        theirs.status_code,
        theirs.reason,
        theirs.headers.raw_items(),
    )
    assert parser.take() == read
    assert parser.whole
    assert parser.reusable()


def by_h11(parts):
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "n1")]))
    connection.send(h11.EndOfMessage())
    head, body = None, b""
    for part in parts:
        connection.receive_data(part)
        while not isinstance(event := connection.next_event(), type):
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return head, body
    raise AssertionError("h11 has no answer either")
