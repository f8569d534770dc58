"""Network: what makes every wait of a socket keep to its attempt's deadline; sync and async alike.

httpcore hands each socket operation the timeout that stands in the request's extensions. Ours is an Allowance: a
float that also knows its attempt. So the deadline travels with the request, whichever thread or task reads the
connection, and a body that drips one byte a second ends at the deadline like everything else.

An inbound caller that goes away takes the same way, and so does an attempt that has lost against its hedge: through its
attempt a sync operation finds the cancellation of its scope, and looks at it every POLL seconds while it waits. (Async
operations are cancelled by their event loop.)

The streams also know two things that nothing above them can see: whether a byte of the request was handed to the
kernel (so what failed before provably was not sent), and how long a kept connection has been idle. A connection that
the server may be about to close is replaced beneath httpcore before anything is written to it.

With HTTP/2 the reads of one connection serve all its requests, so there they are not clamped.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resilient_http.call import Attempt

LATE = 0.1  # a timeout that fires this much late means that we stalled, not the endpoint
LONGEST = 1e6  # seconds that a socket can be told to wait
POLL = 0.05  # seconds between two looks at whether the inbound caller is still there
STAGGER = (
    0.25  # seconds that a connect is alone before the next address is tried beside it. Source: RFC 8305, section 5
)
FRESH = 1.0  # a request that cannot be repeated takes a connection used this recently, or a new one


class Allowance(float):
    """Seconds that one socket operation may take, and the attempt whose deadline shortens it further."""

    __slots__ = ("attempt",)
    attempt: Attempt

    @classmethod
    def of(cls, seconds: float | None, attempt: Attempt) -> Allowance:
        """The allowance of `attempt` for one phase; None allows as much as the deadline."""
        self = cls(math.inf if seconds is None else seconds)
        self.attempt = attempt
        return self


def clamp(timeout: float | None, now: float) -> float | None:
    """Seconds that an operation may wait: what is allowed, but no longer than what is left. 0.0 or less: nothing."""
    if isinstance(timeout, Allowance):
        left = timeout.attempt.expires - now
        timeout = left if left < timeout else float(timeout)
    if timeout is not None and timeout > LONGEST:
        return None if timeout == math.inf else LONGEST
    return timeout


def cancellable(timeout: float | None) -> Attempt | None:
    """The attempt of an operation that must look whether somebody still waits for it, or None."""
    attempt = timeout.attempt if isinstance(timeout, Allowance) else None
    return attempt if attempt is not None and (attempt.raced or attempt.call.cancellation is not None) else None


class Watch:
    """What sync and async streams know alike about one connection."""

    __slots__ = ("idle_limit", "last", "multiplexed", "renewable", "used")

    def __init__(self, *, renewable: bool) -> None:
        self.last: object = None  # what tells the last attempt from others: an idle connection keeps none alive
        self.used: float | None = None  # monotonic seconds of the last byte in or out
        self.idle_limit = math.inf
        self.multiplexed = False
        self.renewable = renewable

    def begins_late(self, timeout: float | None) -> bool:
        """Whether a write is the first of a request, and the server may be closing this idle connection under it."""
        attempt = timeout.attempt if isinstance(timeout, Allowance) else None
        if attempt is None or attempt.ending is self.last:
            return False
        self.last = attempt.ending
        if not self.renewable or self.multiplexed or self.used is None:
            return False
        limit = self.idle_limit if attempt.call.repeatable else min(self.idle_limit, FRESH)
        return time.monotonic() - self.used > limit

    def sending(self, timeout: float | None) -> None:
        """Bytes are about to be handed to the kernel."""
        if isinstance(timeout, Allowance):
            timeout.attempt.sent = True


def note_if_late(timeout: float | None, allowed: float | None, started: float) -> None:
    """A timeout fired: was it us?"""
    if allowed is None or not isinstance(timeout, Allowance):
        return
    late = time.monotonic() - started - allowed
    if late > LATE:
        timeout.attempt.stalled = f"a timeout of {allowed:.3g} s fired {late:.3g} s late"


def connect_allowance(timeout: float | None) -> float | None:
    """The connect phase of the attempt that a write belongs to."""
    if isinstance(timeout, Allowance):
        return Allowance.of(timeout.attempt.phases.get("connect"), timeout.attempt)
    return timeout


def unclamped(timeout: float | None) -> float | None:
    """An HTTP/2 read serves other requests too, so no single one's deadline applies to it."""
    return None if timeout is None or timeout == math.inf else float(timeout)


def negotiated_http2(stream: Any) -> bool:
    """Whether TLS has settled on HTTP/2."""
    ssl_object = stream.get_extra_info("ssl_object")
    return ssl_object is not None and ssl_object.selected_alpn_protocol() == "h2"
