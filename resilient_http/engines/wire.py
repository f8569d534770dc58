"""Wire: a request of httpx's as the bytes of HTTP/1.1, for an engine that writes them itself.

What httpx has decided goes out as it is: target, names, values, their order and case; but Host comes first (RFC 9112,
section 3.2). What would end a line, or say more or less than the body that follows, is refused: it would be read as
another request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

PIECE = 262144  # bytes of a large body that are written at once
LONGEST = 19  # digits of a Content-Length
KNOWN = 1024  # names of headers that are remembered as sendable
END = b"0\r\n\r\n"

NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e]+ HTTP/1\.1\r\n")
CONTROLS = bytes({*range(0x20), 0x7F} - {0x09})
FRAMING = re.compile(rb"\n(transfer-encoding|content-length|connection):[ \t]*([^\r]*)")

_known: set[bytes] = set()


class Unsendable(ValueError):
    """A request that no server could be sent. The message quotes no value."""


class Head(NamedTuple):
    """The head of a request.

    Attributes:
        data: Its bytes, to the empty line.
        length: Bytes of body that it declares; None for a chunked one.
        closes: Whether it asks for the connection to be closed.
    """

    data: bytes
    length: int | None
    closes: bool


def head_of(method: bytes, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> Head:
    """The head of a request: its method, its target, its headers.

    Raises:
        Unsendable: It is none that may be sent.
    """
    line = b"%b %b HTTP/1.1\r\n" % (method, target)
    if REQUEST_LINE.fullmatch(line) is None:
        message = "the method or the target has characters that end it"
        raise Unsendable(message)
    if not fields or fields[0][0].lower() != b"host":
        fields = sorted(fields, key=lambda field: field[0].lower() != b"host")
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    known = _known.issuperset([name for name, _ in fields]) or all(_may_be_sent(name) for name, _ in fields)
    if not known or _controls_in(lines) != 2 * len(fields):  # the ends of its lines
        message = f"header {_culprit(fields)!r} has characters that no header may have"
        raise Unsendable(message)
    data = b"%b%b\r\n" % (line, lines)
    lowered = data.lower()
    if lowered.count(b"\nhost:") > 1:
        message = "there are two Host headers"
        raise Unsendable(message)
    length, closes = _framing(lowered)
    return Head(data, length, closes)


def chunked(data: Any) -> bytes:
    """One chunk of a chunked body, of whatever is like bytes; nothing for no data, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def whole(head: Head, body: bytes) -> bytes:
    """A body that is here, as it follows its head.

    Raises:
        Unsendable: It is not as long as the head says.
    """
    if head.length is None:
        return chunked(body) + END
    check_length(head.length, len(body))
    return body


def check_length(declared: int, given: int) -> None:
    """Raise Unsendable unless a body is as long as its head has said."""
    if given != declared:
        message = f"the body has {given} bytes, and its Content-Length says {declared}"
        raise Unsendable(message)


def _culprit(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The name of the header that is wrong; the message quotes no value."""
    return next((name for name, value in fields if not _may_be_sent(name) or _controls_in(value)), b"")


def _may_be_sent(name: bytes) -> bool:
    if NAME.fullmatch(name) is None:
        return False
    if len(_known) < KNOWN:
        _known.add(name)
    return True


def _controls_in(text: bytes) -> int:
    return len(text) - len(text.translate(None, CONTROLS))


def _framing(lowered: bytes) -> tuple[int | None, bool]:
    if b"close" not in lowered and b"\ncontent-length:" not in lowered and b"\ntransfer-encoding:" not in lowered:
        return 0, False  # the usual case, by the shortest way
    length, chunks, closes = None, False, False
    for name, value in FRAMING.findall(lowered):
        if name == b"connection":
            closes = closes or b"close" in value
        elif name == b"transfer-encoding":
            if value.strip() != b"chunked" or chunks:
                message = "a request's Transfer-Encoding can only be chunked"
                raise Unsendable(message)
            chunks = True
        else:
            number = value.strip()
            if not number.isdigit() or len(number) > LONGEST or length not in (None, int(number)):
                message = "Content-Length is not one number"
                raise Unsendable(message)
            length = int(number)
    if chunks and length is not None:
        message = "Content-Length and Transfer-Encoding say two things about the body"
        raise Unsendable(message)
    return (None if chunks else length or 0), closes
