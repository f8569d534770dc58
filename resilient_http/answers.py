"""Answers: what an inbound caller is told when an outbound call's failure has reached nobody who handles it.

| uncaught | answer |
| --- | --- |
| DeadlineExceeded | 504 |
| Refused | 503 with Retry-After, and the marker that says: it is a dependency of mine that is down |
| Cancelled | 499, which nobody reads: the caller has gone |

For frameworks. Nothing is told of the upstream unless details are asked for: they belong into a log.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass

from resilient_http.errors import Cancelled, DeadlineExceeded, Refused, ResilienceError
from resilient_http.journal import visible
from resilient_http.semantics import DEPENDENCY_DOWN

RETRY_IN = 1.0  # seconds, when it is not known how long it will last
CLIENT_CLOSED = 499  # nginx's; no standard has one


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to the inbound caller.

    Attributes:
        status: Its status.
        headers: Lower-case name and value of each header field.
        body: Its content.
        cause: One line for the log: what happened, with the journal.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cause: str

    @property
    def level(self) -> int:
        """The logging level of the cause: a caller that goes away is nothing to be warned of."""
        return logging.INFO if self.status == CLIENT_CLOSED else logging.WARNING

    def log(self, logger: logging.Logger, method: str, path: str) -> None:
        """Tell the cause in one line, whatever the caller has put into its path."""
        told = (visible(method), visible(path), self.status, visible(self.cause))
        logger.log(self.level, "%s %s answered with %d: %s", *told, stacklevel=2)


def answer_to(error: BaseException, *, accept: str | None = None, details: bool = False) -> Answer | None:
    """The answer to an exception of ours that nobody caught, or None for any other exception.

    Of a group, as a TaskGroup raises it, all members must be ours; the first decides.

    Args:
        error: The exception.
        accept: The Accept header of the inbound request. JSON, unless it asks for text and not for JSON.
        details: Whether the body names the upstream and tells the journal. Only for debugging.
    """
    cause = _ours(error)
    if isinstance(cause, DeadlineExceeded):
        return _answer(cause, 504, "a service that this one depends on did not answer in time", (), accept, details)
    if isinstance(cause, Refused):
        seconds = max(1, math.ceil(min(cause.retry_in or RETRY_IN, 86_400)))
        headers = (("retry-after", str(seconds)), (DEPENDENCY_DOWN, "1"))
        return _answer(cause, 503, "a service that this one depends on is not available", headers, accept, details)
    if isinstance(cause, Cancelled):
        return Answer(CLIENT_CLOSED, (("content-length", "0"),), b"", str(cause))
    return None


def _ours(error: BaseException) -> ResilienceError | None:
    if isinstance(error, BaseExceptionGroup):
        members = [_ours(member) for member in error.exceptions]
        return members[0] if all(members) else None
    return error if isinstance(error, ResilienceError) else None


def _answer(
    error: ResilienceError, status: int, what: str, headers: tuple[tuple[str, str], ...], accept: str | None,
    details: bool,
) -> Answer:  # fmt: skip
    content = {"error": what}
    if details:
        content |= {"detail": str(error), "journal": str(error.journal or "")}
    if _prefers_text(accept):
        kind, text = "text/plain; charset=utf-8", "\n".join(filter(None, content.values())) + "\n"
    else:
        kind, text = "application/json", json.dumps(content)
    body = text.encode()
    own = (("content-type", kind), ("content-length", str(len(body))), ("cache-control", "no-store"))
    journal = "" if error.journal is None else f" ({error.journal})"
    return Answer(status, own + headers, body, f"{error}{journal}")


def _prefers_text(accept: str | None) -> bool:
    """Whether a person with a browser asks, not a program."""
    wanted = (accept or "").lower()
    return "json" not in wanted and "text/" in wanted
