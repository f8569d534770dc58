"""Call, Attempt, Journal: the data that flows through the rings.

A call is one logical request, as the user wrote it. It makes one attempt or more, each at one endpoint. Nothing here
knows HTTP beyond a method and a status, so calls that are not HTTP (a guard, a simulation) run through the same rings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from resilient_http.errors import DeadlineExceeded, Refused
from resilient_http.state.concurrency import ConcurrencyLimit
from resilient_http.state.outcome import Fault, Outcome

if TYPE_CHECKING:
    from resilient_http.state.circuit import Permit
    from resilient_http.state.endpoints import Endpoint


EARLY = 0.005  # a wait that the deadline clamped may end this much before it

Admission = Literal["granted", "queue full", "too late"]


class Reply(Protocol):
    """What an attempt gives back: an httpx.Response, or a simulated one."""

    status_code: int

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields; names are matched in lower case."""


class Port(Protocol):
    """The only thing that waits or does I/O for the policies. Implementations: `resilient_http.ports`."""

    rng: random.Random
    is_async: bool

    def now(self) -> float:
        """Monotonic seconds."""

    def wall_now(self) -> float:
        """Wall-clock seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def acquire(self, limit: ConcurrencyLimit, wait: float) -> Admission:
        """Queue for a permit for at most `wait` seconds."""

    async def send(self, attempt: Attempt) -> Any:
        """Send the attempt to its endpoint. Sets `attempt.fault` when it raises."""

    def instrumented(self) -> bool:
        """Whether somebody else makes the attempt's span and injects the trace: OpenTelemetry's instrumentation."""

    async def set_aside(self, reply: Any) -> bool:
        """Free what the reply holds, because the call is repeated. True when it can still be returned."""


class Entry:
    """One attempt, as the journal tells it. Read it, do not change it.

    Attributes:
        number: 1 for the first attempt of the call.
        endpoint: URL of the endpoint, "" when none was chosen.
        started: Seconds from the start of the call.
        queued: Seconds of it that were spent waiting for a permit.
        duration: Seconds the attempt took, to the end of its body (streamed: until it was closed).
        sent: Whether any byte of the request may have reached the endpoint.
        status: The answer's status, or None.
        error: Type and text of the exception, or None.
        fault: Why there was no whole answer, or None.
        outcome: What it counts as for the endpoint's circuit; "refused" when a limit of ours kept it from being sent.
        decision: What was decided next: "return", "raise" or "retry".
        delay: Seconds waited before the next attempt.
        why: The reason for the decision.
    """

    # Defaults stand on the class: most entries touch few of them, and one is made for every attempt.
    endpoint = ""
    queued = 0.0
    duration = 0.0
    sent = False
    status: int | None = None
    error: str | None = None
    fault: Fault | None = None
    outcome = "under way"
    decision = "return"
    delay = 0.0
    why = ""

    def __init__(self, number: int, started: float) -> None:
        self.number = number
        self.started = started

    def decide(self, decision: str, why: str, delay: float = 0.0) -> None:
        """Note what is done next, and why."""
        self.decision = decision
        self.why = why
        self.delay = delay

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        fields = {name: getattr(self, name) for name in FIELDS}
        fields["fault"] = self.fault.value if self.fault else None
        return fields

    def __str__(self) -> str:
        result = str(self.status) if self.error is None else self.error
        where = f" at {self.endpoint}" if self.endpoint else ""
        sent = "" if self.sent or self.error is None else ", not sent"
        queued = f" (queued {_seconds(self.queued)})" if self.queued >= 0.001 else ""
        then = f" -> {self.decision}: {self.why}" if self.why else ""
        wait = f" in {_seconds(self.delay)}" if self.decision == "retry" else ""
        return f"attempt {self.number}{where}: {result} after {_seconds(self.duration)}{queued}{sent}{then}{wait}"

    def __repr__(self) -> str:
        return f"<{self}>"


FIELDS = (
    "number", "endpoint", "started", "queued", "duration", "sent", "status", "error", "fault", "outcome", "decision",
    "delay", "why",
)  # fmt: skip


class Journal:
    """What happened in one call: each attempt, each decision, and why.

    It is on `response.extensions["resilient_http"]` and, as `.journal`, on every exception that leaves a client. It
    pickles. `str(journal)` is one line for a person.

    Attributes:
        method: The request's method.
        upstream: Name of the upstream, or the origin of an unnamed one.
        budget: Seconds the call's deadline granted, or None without one.
    """

    __slots__ = ("_entries", "budget", "method", "upstream")

    def __init__(self, method: str) -> None:
        self.method = method
        self.upstream = ""
        self.budget: float | None = None
        self._entries: list[Entry] = []

    @property
    def attempts(self) -> tuple[Entry, ...]:
        """One entry per attempt, in order; those that were refused by a limit of ours too."""
        return tuple(self._entries)

    @property
    def last(self) -> Entry | None:
        """The newest entry, or None before the first attempt."""
        return self._entries[-1] if self._entries else None

    @property
    def newest(self) -> Entry:
        """The newest entry, where there is one."""
        return self._entries[-1]

    @property
    def sent(self) -> int:
        """How many attempts may have reached an endpoint."""
        return sum(entry.sent for entry in self._entries)

    def open_entry(self, started: float) -> Entry:
        """Begin the entry of the next attempt."""
        entry = Entry(len(self._entries) + 1, started)
        self._entries.append(entry)
        return entry

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "upstream": self.upstream,
            "method": self.method,
            "budget": self.budget,
            "attempts": [entry.as_dict() for entry in self._entries],
        }

    def __str__(self) -> str:
        attempts = "; ".join(str(entry) for entry in self._entries) or "no attempt was made"
        return f"{self.method} {self.upstream or '?'}: {attempts}"

    def __repr__(self) -> str:
        return f"<Journal {self}>"


class Call:
    """One logical request on its way. It belongs to one thread or task.

    Attributes:
        started: Monotonic seconds.
        expires: Monotonic seconds at which its deadline passes; infinity without one.
        budget: Seconds that this deadline granted.
        streamed: Whether the user reads the body; then an attempt ends at its headers for the policies.
        method: Method of the current hop.
        request: The current hop's request, opaque to the policies.
        repeatable: Whether sending twice has the effect of sending once.
        replayable: Whether the body can be sent twice.
        spent: The body of the last hop, when it was sent and cannot be sent again.
        tried: Endpoints that the current hop has been sent to.
    """

    # Defaults stand on the class: see Entry.
    expires = math.inf
    budget = math.inf
    upstream = ""
    request: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    repeatable = True
    replayable = True
    tried: tuple[Endpoint, ...] = ()
    span: Any = None
    spent: Any = None
    closed = False

    def __init__(
        self, port: Port, method: str, *, started: float, streamed: bool = False, owner: object = None
    ) -> None:
        self.port = port
        self.method = method
        self.started = started
        self.streamed = streamed
        self.owner = owner
        self.journal = Journal(method)

    def bound(self, expires: float, budget: float) -> None:
        """Apply a deadline; the one that ends first wins."""
        if expires < self.expires:
            self.expires = expires
            self.budget = self.journal.budget = budget

    def exceeded(self) -> DeadlineExceeded:
        """The error for this call when its deadline has passed."""
        last = self.journal.last
        where = f"in attempt {last.number} at {last.endpoint}" if last and last.endpoint else "before anything was sent"
        took = self.port.now() - self.started
        message = f"{self.upstream}: the deadline of {self.budget:.3g} s passed after {took:.3f} s, {where}"
        error = DeadlineExceeded(message, upstream=self.upstream, budget=self.budget)
        error.journal = self.journal
        return error

    def overdue(self, now: float) -> bool:
        """Whether the deadline has passed, or is so near that a wait which it clamped has just ended."""
        return now >= self.expires - EARLY

    def enter(self, upstream: str, request: Any, method: str, *, repeatable: bool, replayable: bool) -> None:
        """Begin a hop: one pass of the call through the transport."""
        self.upstream = self.journal.upstream = upstream
        self.request = request
        self.method = method
        self.repeatable = repeatable
        self.replayable = replayable
        self.tried = ()


class Attempt:
    """One try of a call at one endpoint. The socket it runs on knows it, through its timeouts.

    Attributes:
        expires: Monotonic seconds after which it must not wait for anything.
        phases: Most seconds for "connect", "read", "write" and "pool", or None without a limit.
        narrowed: Whether a caller's own short timeout cuts it before the upstream's settings would.
        headers: Header fields of this attempt alone: the trace.
        trace: An httpcore trace callback of this attempt's, or None.
        sent: Whether any byte of the request was handed to the network.
        stalled: Why this process itself was late or out of resources, or "".
        streaming: Whether the body is still to be read by the user; then the body ends the attempt.
    """

    # Defaults stand on the class: see Entry.
    patience = math.inf
    phases: Mapping[str, float | None] = MappingProxyType({})
    narrowed = False
    endpoint: Endpoint | None = None
    permit: Permit | None = None
    headers: tuple[tuple[str, str], ...] = ()
    trace: Any = None
    sent = False
    stalled = ""
    streaming = False
    status: int | None = None
    error: BaseException | None = None
    fault: Fault | None = None

    def __init__(self, call: Call, now: float) -> None:
        self.call = call
        self.started = now
        self.expires = call.expires
        self.entry = call.journal.open_entry(now - call.started)
        self._at_end: list[Callable[[Attempt, float], object]] | None = []

    @property
    def number(self) -> int:
        """1 for the first attempt of the call."""
        return self.entry.number

    @property
    def chosen(self) -> Endpoint:
        """The endpoint; an attempt is sent only when it has one."""
        if self.endpoint is None:
            message = "an attempt was sent before an endpoint was chosen"
            raise RuntimeError(message)
        return self.endpoint

    def at_end(self, settle: Callable[[Attempt, float], object]) -> None:
        """Have `settle(attempt, now)` called once when the attempt has ended, body included; the oldest first."""
        if self._at_end is not None:
            self._at_end.append(settle)

    def answer(self, status: int) -> None:
        """The headers of the response have come."""
        self.status = self.entry.status = status
        self.sent = self.entry.sent = True

    def end(self, now: float, error: BaseException | None = None) -> None:
        """The attempt is over. Further calls change nothing."""
        settlers, self._at_end = self._at_end, None
        if settlers is None:
            return
        entry = self.entry
        entry.duration = now - self.started
        entry.sent = self.sent
        if error is not None:
            self.error = error
            entry.error = describe(error)
            entry.decision = "raise"
            if isinstance(error, Refused):
                entry.outcome = "refused"
            entry.fault = self.fault
        for settle in settlers:
            settle(self, now)

    def conclude(self, outcome: Outcome) -> None:
        """Note what the attempt counts as."""
        self.entry.outcome = outcome


def describe(error: BaseException) -> str:
    """One line: type and text; the cause's text where the error itself has none."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(cause or "").split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
