"""Every exception of resilient_http.

    ResilienceError                 .upstream .journal
    ├── Refused                     we did not send; also an httpx.TransportError        .retry_in
    │   ├── CircuitOpen             also a pybreaker.CircuitBreakerError
    │   ├── RateLimited
    │   ├── Saturated               the concurrency limit or its queue is full; also an httpx.PoolTimeout
    │   └── NoEndpoint              nothing to send to
    ├── DeadlineExceeded            also an httpx.TimeoutException                       .budget
    ├── Cancelled                   the inbound caller went away; also an httpx.TransportError
    ├── ForeignAwait                a policy awaited something else than its port in a sync client
    └── MisplacedCall               it was made in a transaction, or an event loop, where the settings refuse it
    SettingsError                   a ValueError                                         .path .value

The upstream's own failures are not here: an `httpx.ConnectError` or a 503 passes through as it is. Every exception that
leaves a client carries the call's journal as `.journal`. All of them pickle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import httpx
import pybreaker

if TYPE_CHECKING:
    from resilient_http.journal import Journal


TOLD = 100  # mistakes that one message tells
LONGEST_KEY = 200  # characters of a key that are shown

Raised = TypeVar("Raised", bound=BaseException)


class ResilienceError(Exception):
    """Base of everything that this library raises on its own account.

    Attributes:
        upstream: Name of the upstream that was called, "" when none was chosen yet.
        journal: What happened in the call, attempt by attempt; None outside a call.
    """

    journal: Journal | None = None

    def __init__(self, message: str, *, upstream: str = "") -> None:
        super().__init__(message)
        self.upstream = upstream


class Refused(ResilienceError, httpx.TransportError):
    """We did not send: a limit of ours said no. It says nothing new about the upstream.

    Attributes:
        retry_in: Seconds until it may be worth another try, or None when unknown.
    """

    def __init__(self, message: str, *, upstream: str = "", retry_in: float | None = None) -> None:
        super().__init__(message, upstream=upstream)
        self.retry_in = retry_in


class CircuitOpen(Refused, pybreaker.CircuitBreakerError):
    """The circuits of all endpoints of the upstream are open; `retry_in` is the earliest probe."""


class RateLimited(Refused):
    """The upstream's rate limit is used up."""


class Saturated(Refused, httpx.PoolTimeout):
    """The upstream's concurrency limit is reached and its queue is full, or the wait in it was too long."""


class NoEndpoint(Refused):
    """The upstream has no endpoint that this request may go to."""


class DeadlineExceeded(ResilienceError, httpx.TimeoutException):
    """The call's deadline passed.

    Attributes:
        budget: Seconds that the deadline granted.
    """

    def __init__(self, message: str, *, upstream: str = "", budget: float = 0.0) -> None:
        super().__init__(message, upstream=upstream)
        self.budget = budget


class Cancelled(ResilienceError, httpx.TransportError):
    """The inbound caller went away, so the work for it was stopped."""


class ForeignAwait(ResilienceError, RuntimeError):
    """A policy or middleware awaited something else than `proceed` and its port, in a sync client."""


class MisplacedCall(ResilienceError, RuntimeError):
    """A call was made where the settings (`misplaced`) refuse it: in a database transaction, or in an event loop.

    It is a mistake of the program, so it is no `httpx.HTTPError` that a fallback would hide.
    """


class SettingsError(ValueError):
    """A setting is wrong. Raised when the settings are read, never at a request.

    Attributes:
        path: Where, as dotted path: `upstreams.payments.retry.max_attempts`.
        value: What stood there, without credentials and queries; None where it may be a secret.
        mistakes: Each thing that is wrong, when the settings were read and refused; `path` and `value` are the first's.
    """

    def __init__(
        self, message: str, *, path: str = "", value: object = None, mistakes: tuple[SettingsMistake, ...] = ()
    ) -> None:
        super().__init__(message)
        self.path = path
        self.value = value
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class SettingsMistake:
    """One thing that is wrong in the settings.

    Attributes:
        path: Where: keys and positions, from the root down.
        message: What is wrong, with the value where it may be shown.
        known: For an unknown key the ones that may have been meant: the nearest, or all.
        source: The file, or the environment variable, that it stands in; "" for what the caller has given.
    """

    path: tuple[str, ...]
    message: str
    known: tuple[str, ...] = ()
    source: str = ""

    def __str__(self) -> str:
        """One line, with the dotted path."""
        before = f"{self.source}: " if self.source else ""
        return f"{before}{'.'.join(map(_one_line, self.path)) or 'settings'}: {self.message}{suggestion(self.known)}"


def all_told(mistakes: Sequence[SettingsMistake]) -> str:
    """All of them in one message, each on a line; of very many the first."""
    lines = list(map(str, mistakes[:TOLD]))
    more = len(mistakes) - TOLD
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)


def _one_line(key: str) -> str:
    """A key as it may stand in a log: whoever writes a document from afar may have put anything into it."""
    plain = key if key.isprintable() else repr(key)
    return plain if len(plain) <= LONGEST_KEY else f"{plain[:LONGEST_KEY]}..."


def suggestion(known: tuple[str, ...]) -> str:
    """What to write instead of an unknown key, as the end of a message."""
    if not known:
        return ""
    return f"; did you mean {known[0]}?" if len(known) == 1 else f"; known: {', '.join(known)}"


def because(error: Raised, cause: BaseException | None) -> Raised:
    """The error, with its cause: of a `raise ... from`, compiled code heeds no more than the `raise`."""
    error.__cause__ = cause
    return error
