"""Response parser: what has come on a connection of HTTP/1.1 as the answer to a request. It reads and writes nothing.

The syntax is httptools' (llhttp's, which Node speaks too). Ours is what a client must know beyond it: that an answer to
HEAD has no body, when the end of the connection is the end of a body, and what came after an answer, which nobody has
asked for.

Laws
    1. What came well before a fault is given first, and the fault then.
    2. A body that is cut off is never taken for a whole one.
    3. A connection takes another request only after a whole answer that allows it, and nothing behind it.

Source: RFC 9112, sections 6.3 and 9.3.
"""

from __future__ import annotations

import re
from typing import Any

import httptools

CONTINUE, SWITCHING_PROTOCOLS, OK = 100, 101, 200  # to look for them in http.HTTPStatus takes longer than to compare
PROTOCOL = b"HTTP/"
LONGEST = 102400  # bytes of a head, or of a trailer, as httpcore's
CODING = b"transfer-encoding"
VERSIONS = {"1.1": b"HTTP/1.1", "1.0": b"HTTP/1.0"}
SWITCHED = "it switched protocols, which it was not asked to"
# What h11 takes from servers of old too, and is no danger to who reads nothing behind an answer: both framings at once,
# of which the chunks count; lines that end in LF alone; values over several lines (RFC 9112, section 5.2).
LENIENT = {"lenient_chunked_length": True, "lenient_optional_cr_before_lf": True, "lenient_headers": True}
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # in values, which the last of these lets through
Fields = list[tuple[bytes, bytes]]


class ResponseParser:
    """The answer to one request.

    Args:
        method: Of that request.

    Attributes:
        status: Of the answer, or 0 before its head has come. Informational ones are passed over.
        reason: Its phrase.
        version: As b"HTTP/1.1".
        headers: Names and values, as they came.
        whole: Whether it has come to its end.
        fault: What is wrong with what came after all that has been given, or None.
    """

    __slots__ = (
        "_bodiless", "_chunked", "_chunks", "_fields", "_fresh", "_in_chunks", "_parser", "_read", "_reason", "_stays",
        "_surplus", "_unmoved", "fault", "headers", "reason", "status", "version", "whole",
    )  # fmt: skip

    def __init__(self, method: bytes) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(**LENIENT)
        self._bodiless = method == b"HEAD"
        self._fresh = True  # nothing has come so far
        self._chunks: list[bytes] = []
        self._fields: Fields = []
        self._reason = b""
        self._unmoved = 0  # bytes that have come since they last told something
        self._read = 0  # bytes of the body that have come so far
        self._chunked = self._in_chunks = False  # whether its head says so, and it is so
        self._stays = False  # whether the server keeps the connection open
        self._surplus = False
        self.status = 0
        self.reason = self.version = b""
        self.headers: Fields = []
        self.whole = False
        self.fault: str | None = None

    def feed(self, data: bytes) -> None:
        """Bytes have come; none mean that the other side has closed."""
        if not data:
            self._closed()
            return
        if self._parser is None:
            self._surplus = True
            return
        if self._fresh:
            self._fresh = False
            if not PROTOCOL.startswith(data[: len(PROTOCOL)]):  # RTSP's answers look alike
                self._say("what it sent is no HTTP/1.1")
        self._unmoved += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._say(SWITCHED)
        except httptools.HttpParserError as exc:
            self._broken(exc)
        if self.whole:
            # The parser holds our methods, and so us. A circle for each request would keep the garbage collector busy.
            self._parser = None
        elif self._unmoved > LONGEST:
            self._say(f"its {'trailer' if self.status else 'head'} has more than {LONGEST} bytes")

    def take(self) -> bytes:
        """What has come of the body, and was not taken yet."""
        chunks = self._chunks
        if len(chunks) == 1:
            return chunks.pop()
        data = b"".join(chunks)
        chunks.clear()
        return data

    def reusable(self) -> bool:
        """Whether the connection may take another request; law 3."""
        return self.whole and self._stays and not self._surplus

    # What httptools tells ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Another answer begins."""
        self._surplus = self._surplus or self.whole

    def on_status(self, reason: bytes) -> None:
        """The reason phrase, or a part of it."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: those are passed over."""
        if self.status:
            return
        value = value.rstrip(b" \t")
        if len(name) == len(CODING) and name.lower() == CODING:
            if self._chunked or value.lower() != b"chunked":
                self._say("it has a Transfer-Encoding other than chunked")
            self._chunked = True
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head has come."""
        self._unmoved = 0
        status = self._parser.get_status_code()
        if self.whole or self.fault is not None or CONTINUE <= status < OK:
            return
        if CONTROL.search(b"".join([self._reason, *[value for _, value in self._fields]])):
            self._say("the head of its answer has characters that none may have")
            return
        if status < OK:
            self._say(f"its status is {status:03}")
            return
        told = self._parser.get_http_version()
        self.version = VERSIONS.get(told) or PROTOCOL + told.encode("ascii")
        self.status, self.reason, self.headers = status, self._reason, self._fields
        if self._bodiless:
            self.whole = True
            self._stays = self.version == b"HTTP/1.1" and b"close" not in self._value(b"connection")

    def on_chunk_header(self) -> None:
        """A chunk begins, the last one too."""
        self._in_chunks = True
        self._surplus = self._surplus or self._bodiless

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self.whole:
            self._surplus = True
            return
        if self._chunked and not self._in_chunks:  # we and the parser understand its Transfer-Encoding differently
            self._say("it has a Transfer-Encoding other than chunked")
            return
        self._unmoved = 0
        self._read += len(data)
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an informational one."""
        if self.status:
            self._stays = self._stays or bool(self._parser.should_keep_alive())  # of HEAD that was settled before
            self.whole = self.fault is None
        else:
            self._fields, self._reason, self._chunked = [], b"", False

    # The end -----------------------------------------------------------------------------------------------------

    def _closed(self) -> None:
        if self.whole:
            return
        length = self._value(b"content-length")
        if not self.status:
            self._say("Server disconnected without sending a response.")
        elif self._chunked:
            self._say("peer closed connection without sending complete message body (incomplete chunked read)")
        elif length:
            told = f"received {self._read} bytes, expected {length.decode()}"
            self._say(f"peer closed connection without sending complete message body ({told})")
        else:
            self.whole = self.fault is None

    def _say(self, fault: str) -> None:
        """The first fault counts."""
        self.fault = self.fault or fault

    def _value(self, name: bytes) -> bytes:
        """All its values, in small letters."""
        return b", ".join(value.lower() for known, value in self.headers if known.lower() == name)

    def _broken(self, error: Any) -> None:
        if self.whole:
            self._surplus = True
        elif self._parser.get_status_code() == SWITCHING_PROTOCOLS:
            self._say(SWITCHED)
        else:
            self._say(f"what it sent is no HTTP/1.1: {error}")
