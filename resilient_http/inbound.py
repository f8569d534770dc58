"""Inbound: what an inbound request says about time and trace becomes the scope of its outbound calls.

Laws
    1. The budget is the route's own timeout, else `inbound.timeout`.
    2. A deadline header shortens it for anybody, and lengthens it, up to `inbound.max`, only from a trusted peer.
    3. What the request has spent in a queue before us is taken off, when a trusted peer says so; then the reserve.
    4. A value that is malformed, negative or absurd says nothing. It is counted, and is never an error.
    5. A request is a repeat, and has a priority, when a trusted peer says so.
    6. Trace headers are passed on when they are well formed. A tracestate means nothing without its traceparent.
    7. Faults are injected into its calls when a header asks for it whose signature is good; see settings/chaos_header.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import math
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from resilient_http.errors import DeadlineExceeded
from resilient_http.scope import Cancellation, Deadline, Scope
from resilient_http.semantics import TRACE_HEADERS, read_count, read_timeout, request_start
from resilient_http.settings.chaos import ChaosPermitSettings
from resilient_http.settings.chaos_header import read_order
from resilient_http.settings.inbound import InboundSettings
from resilient_http.state.chaos import FaultRules, Order
from resilient_http.state.concurrency import PRIORITIES

RESERVED_SHARE = 0.2  # of the budget, at most: a short deadline is not eaten up by the reserve
FORWARDED = "--forwarded-allow-ips"
FORGED = (
    "inbound.trusted_peers is set, but --forwarded-allow-ips='*' (or FORWARDED_ALLOW_IPS) has uvicorn believe "
    "anybody's X-Forwarded-For: a caller can pose as a trusted peer. Name the proxies in place of the '*'."
)
AHEAD = 1.0  # seconds that a trusted peer's clock may be ahead of ours
BEHIND = 3600.0  # a request that seems to be older has come from a wrong clock

# Versions after 00 may append fields. Source: W3C Trace Context, section 3.2.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")

logger = logging.getLogger("resilient_http.inbound")

Header = Callable[[str], str | None]
"""Gives the value of a header of the request by its lower-case name, or None; repeated ones comma-joined."""


class Arrival:
    """An inbound request, as its outbound calls see it. For frameworks: enter its scope, and bind clients to it.

    Attributes:
        scope: The scope of its outbound calls.
        started: Monotonic seconds at which it came.
        queued: Seconds that it had waited before, as a trusted peer says.
    """

    __slots__ = ("_asked", "_budget", "_deadline", "_settings", "_trusted", "queued", "scope", "started")

    def __init__(
        self, settings: InboundSettings, scope: Scope, deadline: Deadline, started: float, asked: float | None,
        queued: float, *, trusted: bool,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._deadline = deadline
        self._asked = asked
        self._trusted = trusted
        self.scope = scope
        self.started = started
        self.queued = queued
        self._budget = math.inf
        self.allow(settings.timeout)

    def allow(self, seconds: float | None) -> None:
        """Give the request a budget of its route's own in place of the one it has; None for no limit of ours."""
        self._budget = self._granted(seconds)
        self._deadline.budget = self._left_of(self._budget)
        self._deadline.expires = self.started + self._deadline.budget

    def record(self, recording: Any) -> None:
        """Have a Recording hear of the calls of every client that is bound to the request from now on."""
        self.scope = replace(self.scope, recording=recording)

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left of its budget, so that it is not worth beginning."""
        return time.monotonic() >= self._deadline.expires

    def is_hopeless(self, seconds: float | None) -> bool:
        """Whether there would be nothing left either if its route allowed it so much."""
        return time.monotonic() >= self.started + self._left_of(self._granted(seconds))

    def exceeded(self) -> DeadlineExceeded:
        """The error for a request that has nothing left."""
        waited = f", {self.queued:.3g} s of which it had waited in a queue" if self.queued else ""
        message = f"the inbound request has nothing left of its budget of {self._budget:.3g} s{waited}"
        return DeadlineExceeded(message, budget=self._budget)

    def answered(self) -> None:
        """The response has ended: what still runs for the request is background work, which nothing cuts."""
        self._deadline.lift()
        if self.scope.cancellation is not None:
            self.scope.cancellation.lift()

    def _granted(self, own: float | None) -> float:
        """Seconds in all, when its route allows `own`."""
        own = math.inf if own is None else own
        if self._asked is None:
            return own
        return min(self._asked, max(own, self._settings.max) if self._trusted else own)

    def _left_of(self, budget: float) -> float:
        """Seconds that its outbound calls have, from its arrival on."""
        left = max(0.0, budget - self.queued)
        return left if left == math.inf else left - min(self._settings.reserve, left * RESERVED_SHARE)


class Inbound:
    """Reads inbound requests, for frameworks. Thread-safe.

    Args:
        settings: `settings.inbound`.
        chaos: `settings.chaos`.
    """

    def __init__(self, settings: InboundSettings, chaos: ChaosPermitSettings | None = None) -> None:
        self.settings = settings
        self._chaos_header = "" if chaos is None else chaos.header
        self._chaos_key = None if chaos is None or not chaos.allowed else chaos.key
        self._networks = tuple(
            ipaddress.ip_network(peer, strict=False) for peer in settings.trusted_peers if peer != "unix"
        )
        self._trusts_unix = "unix" in settings.trusted_peers
        self._ignored: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.trusts = functools.lru_cache(1024)(self._trusts)
        if settings.trusted_peers and _believes_everybody():
            logger.warning(FORGED)

    def arrive(self, header: Header, peer: str | None, *, cancellation: Cancellation | None = None) -> Arrival:
        """An inbound request that comes now.

        Args:
            header: Gives its headers.
            peer: IP address of who is connected to us; None or "" over a Unix socket.
            cancellation: Tells whether its caller goes away.
        """
        started = time.monotonic()
        trusted = bool(self.settings.trusted_peers) and self.trusts(peer)
        queued = self._queued(header) if trusted else 0.0
        deadline = Deadline(math.inf, math.inf)
        repeated = trusted and self._is_repeat(header)
        scope = Scope(
            deadline,
            tuple(_trace(header)),
            cancellation=cancellation,
            repeated=repeated,
            priority=self._priority(header) if trusted else None,
            chaos=None if self._chaos_key is None else self._order(header, self._chaos_key),
        )
        return Arrival(self.settings, scope, deadline, started, self._asked(header), queued, trusted=trusted)

    def connect(self, header: Header) -> Scope:
        """The scope of what outlives a request, as a WebSocket: without a deadline."""
        return Scope(headers=tuple(_trace(header)))

    def status(self) -> dict[str, dict[str, int]]:
        """JSON-able: how often each header was ignored because of what it said."""
        with self._lock:
            return {"ignored": dict(self._ignored)}

    def _asked(self, header: Header) -> float | None:
        """The smallest of what the deadline headers say, in seconds."""
        smallest = None
        for known in self.settings.deadline_headers:
            value = header(known.name)
            if value is None:
                continue
            seconds = read_timeout(value, known.unit)
            if seconds is None:
                self._ignore(known.name)
            elif seconds > 0 or known.unit == "grpc":  # elsewhere 0 means, as to Envoy, that there is no timeout
                smallest = seconds if smallest is None else min(smallest, seconds)
        return smallest

    def _queued(self, header: Header) -> float:
        """Seconds since the request reached the first proxy."""
        name = self.settings.queue_header
        value = None if name is None else header(name)
        if name is None or value is None:
            return 0.0
        start = request_start(value)
        waited = math.nan if start is None else time.time() - start
        if not -AHEAD <= waited <= BEHIND:
            self._ignore(name)
            return 0.0
        return max(0.0, waited)

    def _is_repeat(self, header: Header) -> bool:
        name = self.settings.repeat_header
        value = None if name is None else header(name)
        if name is None or value is None:
            return False
        count = read_count(value)
        if count is None:
            self._ignore(name)
        return count is not None and count > 1

    def _priority(self, header: Header) -> str | None:
        name = self.settings.priority_header
        value = None if name is None else header(name)
        if name is None or value is None:
            return None
        said = value.strip().lower()
        if said not in PRIORITIES:
            self._ignore(name)
            return None
        return said

    def _order(self, header: Header, key: SecretStr) -> Order | None:
        value = header(self._chaos_header)
        if value is None:
            return None
        order = read_order(value, key.get_secret_value(), time.time())
        if order is None:
            self._ignore(self._chaos_header)
            return None
        return Order(order.upstream, order.until, FaultRules(**order.rules()))

    def _ignore(self, name: str) -> None:
        with self._lock:
            self._ignored[name] += 1

    def _trusts(self, peer: str | None) -> bool:
        if not peer:
            return self._trusts_unix
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _believes_everybody() -> bool:
    """Whether uvicorn takes the peer's address from X-Forwarded-For, whoever sends it."""
    told = zip(sys.argv, [*sys.argv[1:], ""], strict=True)
    flagged = any(flag == f"{FORWARDED}=*" or (flag, value) == (FORWARDED, "*") for flag, value in told)
    return flagged or os.environ.get("FORWARDED_ALLOW_IPS") == "*"


def _trace(header: Header) -> Iterator[tuple[str, str]]:
    parent = header("traceparent")
    traced = parent is not None and TRACEPARENT.fullmatch(parent) is not None
    for name in TRACE_HEADERS:
        value = header(name)
        if value and value.isascii() and value.isprintable() and (traced or name == "baggage"):
            yield name, value
