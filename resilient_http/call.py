"""Call, Attempt: the data that flows through the rings.

A call is one logical request, as the user wrote it. It makes one attempt or more, each at one endpoint. Nothing here
knows HTTP beyond a method and a status, so calls that are not HTTP (a guard, a simulation) run through the same rings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from resilient_http.errors import Cancelled, DeadlineExceeded, Refused
from resilient_http.journal import Entry, Journal, describe
from resilient_http.state.concurrency import DEFAULT, ConcurrencyLimit
from resilient_http.state.grip import Grip
from resilient_http.state.outcome import Fault, Outcome

if TYPE_CHECKING:
    from resilient_http.scope import Cancellation
    from resilient_http.state.chaos import Order
    from resilient_http.state.circuit import Permit
    from resilient_http.state.endpoint import Endpoint


EARLY = 0.005  # a wait that the deadline clamped may end this much before it

NO_PHASES: Mapping[str, float | None] = {}

Headers = tuple[tuple[str, str], ...]

Admission = Literal["granted", "queue full", "too late", "cancelled"]


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

    def race(
        self,
        run: Callable[[Attempt], Awaitable[Any]],
        first: Attempt,
        delay: float,
        hedge: Callable[..., Attempt | None],
        good: Callable[[Any], bool],
        *,
        cuttable: bool = True,
    ) -> Awaitable[tuple[Any, BaseException | None, bool]]:
        """Run an attempt and, when it has not ended after `delay` seconds, another one beside it; see state/race.py.

        The loser is told (`lost`) and cut off; what it holds is freed.

        Args:
            run: What is done with each.
            first: The first.
            delay: Seconds.
            hedge: Gives the other one, or None when there shall be none; told a reason, it gives none, and notes that.
            good: Whether a response wins.
            cuttable: Whether an attempt waits on sockets of its own alone, and so can be cut wherever it waits.

        Returns:
            The winner's response, or its exception, and whether it was the hedge. The exception of a first attempt that
            was alone may be raised as well.
        """

    async def sleep(self, seconds: float, cancellation: Cancellation | None = None) -> None:
        """Wait, or until the cancellation is requested."""

    async def linger(self, attempt: Attempt, seconds: float) -> None:
        """Wait as an attempt waits for its endpoint: until it has lost, or nobody waits for it, at the latest."""

    def slowed(self, attempt: Attempt, reply: Any, rate: float) -> int:
        """Have a body that the user streams come at so many bytes per second.

        Returns:
            The bytes of a body that is here already: whoever slows it has to wait for them.
        """

    def failure(self, fault: Fault, why: str, *, sent: bool) -> Exception:
        """An exception as the network raises it: for UNREACHABLE, BROKEN or TIMEOUT."""

    async def acquire(
        self,
        limit: ConcurrencyLimit,
        wait: float,
        cancellation: Cancellation | None = None,
        priority: str = DEFAULT,
    ) -> Admission:
        """Queue for a permit for at most `wait` seconds, or until the cancellation is requested."""

    async def send(self, attempt: Attempt) -> Any:
        """Send the attempt to its endpoint. Sets `attempt.fault` when it raises."""

    def instrumented(self) -> bool:
        """Whether somebody else makes the attempt's span and injects the trace: OpenTelemetry's instrumentation."""

    def readable(self, call: Call, reply: Any) -> Any:
        """The reply as a function of the user's may look at it: with its body, unless the user streams that."""

    def fault_of(self, error: BaseException) -> Fault:
        """What kind of failure an exception of the network's is; FOREIGN for what is none of its."""

    def request(self, method: str, url: str, headers: Headers) -> Any:
        """A request without a body that no user wrote."""

    def reply(self, status: int, headers: Headers, body: bytes) -> Any:
        """A response that nobody sent.

        Raises:
            ValueError: It could not be read.
        """

    def adopt(self, given: Any) -> Any:
        """A response that a function of the user's gave, as one that may be changed and returned.

        Raises:
            TypeError: It is none.
        """

    def body(self, reply: Any) -> bytes | None:
        """The body of a reply as it came, or None when the user streams it."""

    def lines(self, message: Any) -> Headers:
        """The header lines of a request or a reply, names in lower case; a name may come twice."""

    async def fetch(self, store: Any, ask: Callable[[], Any], within: float) -> Any:
        """What a function gives that asks a store and may block; None when it takes longer than `within` seconds."""

    def beside(self, store: Any, tell: Callable[[], Any]) -> None:
        """Have a function called that tells a store something and may block; no call waits for it."""

    async def bounded(self, seconds: float, work: Coroutine[Any, Any, Any], late: Callable[[], Exception]) -> Any:
        """Await work of the user's for at most so long, where it can be cut; then what `late` makes is raised."""

    async def discard(self, reply: Any) -> None:
        """Free what the reply holds: nobody will read it. That says nothing about its endpoint but what it answered."""

    async def set_aside(self, reply: Any, within: float) -> bool:
        """Free what the reply holds, because the call is repeated. True when it can still be returned.

        Args:
            reply: What send() gave.
            within: Seconds that may be spent on reading the rest of it.
        """


class Remembering:
    """What code of the user's may keep things of its own on; it costs nothing until somebody does."""

    __slots__ = ("_memory",)

    _memory: dict[str, Any] | None

    @property
    def memory(self) -> dict[str, Any]:
        """What that code remembers, by names that are surely its own."""
        if self._memory is None:
            self._memory = {}
        return self._memory


class Call(Remembering):
    """One logical request on its way. It belongs to one thread or task.

    Attributes:
        started: Monotonic seconds.
        expires: Monotonic seconds at which its deadline passes; infinity without one.
        budget: Seconds that this deadline granted.
        streamed: Whether the user reads the body; then an attempt ends at its headers for the policies.
        method: Method of the current hop.
        route: The template of the upstream's settings that the current hop fits, as "GET /charges/{id}", or None.
        request: The current hop's request, opaque to the policies.
        repeatable: Whether sending twice has the effect of sending once.
        replayable: Whether the body can be sent twice.
        at_once: Whether it can be sent twice at the same time.
        cancellation: Whether its inbound caller is still there, or None where nobody can tell.
        spent: The body of the last hop, when it was sent and cannot be sent again.
        tried: Endpoints that the current hop has been sent to.
        made: Attempts of the current hop, hedges and refused ones included.
        reached: Whether any of them was sent.
        repeated: Whether the inbound request is itself a repeat, so that repeats of ours would multiply.
        priority: "sheddable", "default" or "critical" as the inbound request says, or None.
        chaos: Faults that its inbound request asks for (state.chaos.Order), or None.
        key: The Idempotency-Key that all attempts of the current hop carry, or None when it has none of ours.
        keys: The keys of all its hops, each with the method and the body that it stands for.
        secure: Whether its URL asks for TLS, noted where it was not known yet whether the nodes speak that.
        signed: Whether middleware gave an attempt a header that says who asks, or whom (Host).
        foreign: Whether what it ends with was raised by a `classify` of the user's, so that it is nobody's failure.
        entry: The journal's entry of the attempt that decides: the newest, or the one that won against its hedge.
        arrived: The response of a hop that is over already: what its client found to need httpx's own treatment.
        traced_around: Whether somebody else's client has a CLIENT span around it.
        record: What is told how it ended, besides those who always are, or None.
        worn: The trace headers that its request had before an instrumentation of its client saw it; None without one.
    """

    __slots__ = (
        "arrived", "at_once", "budget", "cancellation", "chaos", "closed", "entry",
        "expires", "foreign", "headers", "journal", "key", "keys", "made", "method", "owner", "port", "priority",
        "reached", "record", "repeatable", "repeated", "replayable", "request", "route", "secure", "signed", "span",
        "spent", "started", "streamed", "traced_around", "tried", "upstream", "worn",
    )  # fmt: skip

    route: str | None
    request: Any
    headers: Headers
    tried: tuple[Endpoint, ...]
    span: Any
    spent: Any
    cancellation: Cancellation | None
    priority: str | None
    chaos: Order | None
    key: str | None
    keys: tuple[tuple[str, Any, str], ...]
    entry: Entry | None
    arrived: Any
    record: Any
    worn: Mapping[str, str | None] | None

    def __init__(
        self, port: Port, method: str, *, started: float, streamed: bool = False, owner: object = None
    ) -> None:
        self.port = port
        self.method = method
        self.started = started
        self.streamed = streamed
        self.owner = owner
        self.journal = Journal(method)
        self.expires = self.budget = math.inf
        self.upstream = ""
        self.headers = self.tried = self.keys = ()
        self.repeatable = self.replayable = self.at_once = True
        self.closed = self.reached = self.repeated = self.secure = self.signed = self.foreign = False
        self.traced_around = False
        self.made = 0
        self.route = self.request = self.span = self.spent = self.cancellation = self.priority = self.chaos = None
        self.key = self.entry = self.arrived = self.record = self.worn = self._memory = None

    def bound(self, expires: float, budget: float) -> None:
        """Apply a deadline; the one that ends first wins."""
        if expires < self.expires:
            self.expires = expires
            self.budget = self.journal.budget = budget

    @property
    def gone(self) -> bool:
        """Whether the inbound caller has gone away."""
        return self.cancellation is not None and self.cancellation.requested

    def exceeded(self) -> DeadlineExceeded:
        """The error for this call when its deadline has passed, or leaves no time for what is still to be done."""
        now = self.port.now()
        verb = "passed" if self.overdue(now) else "leaves no time for an attempt"
        took = now - self.started
        message = (
            f"{self.upstream or self.method}: the deadline of {self.budget:.3g} s {verb} after {took:.3f} s"
            f"{self.journal.account(took)}"
        )
        error = DeadlineExceeded(message, upstream=self.upstream, budget=self.budget)
        error.journal = self.journal
        return error

    def cancelled(self) -> Cancelled:
        """The error for this call when its inbound caller has gone away."""
        took = self.port.now() - self.started
        message = f"{self.upstream or self.method}: the inbound caller went away after {took:.3f} s"
        error = Cancelled(f"{message}{self.journal.account(took)}", upstream=self.upstream)
        error.journal = self.journal
        return error

    def given_and_left(self, now: float) -> tuple[float | None, float | None]:
        """Seconds of its deadline that it had when it began, and has now; None and None without one."""
        if self.expires == math.inf:
            return None, None
        return max(0.0, self.expires - self.started), self.expires - now

    def overdue(self, now: float) -> bool:
        """Whether the deadline has passed, or is so near that a wait which it clamped has just ended."""
        return now >= self.expires - EARLY

    def key_of(self, method: str, stream: Any) -> str | None:
        """The key that this request has had before, in an earlier hop: it is sent once more, elsewhere or signed."""
        return next((key for known, body, key in self.keys if known == method and body is stream), None)

    def enter(
        self, upstream: str, request: Any, method: str, *, repeatable: bool, replayable: bool, at_once: bool = True
    ) -> None:
        """Begin a hop: one pass of the call through the transport."""
        self.upstream = self.journal.upstream = upstream
        self.request = request
        self.method = method
        self.repeatable = repeatable
        self.replayable = replayable
        self.at_once = at_once and replayable
        if self.made:
            self.tried, self.made, self.reached = (), 0, False

    @property
    def newest(self) -> Entry:
        """`entry`, where there is one."""
        if self.entry is None:
            message = "no attempt of this call has begun"
            raise RuntimeError(message)
        return self.entry


class Attempt(Remembering):
    """One try of a call at one endpoint. The socket it runs on knows it, through its timeouts.

    Attributes:
        expires: Monotonic seconds after which it must not wait for anything.
        phases: Most seconds for "connect", "read", "write" and "pool", or None without a limit.
        hedge: Whether it was sent beside another one that took long.
        raced: Whether there may be another one beside it, so that it has to look whether it has lost.
        lost: Whether the other one has answered.
        grip: What it can be cut at when it has lost, or None where its waits look for themselves.
        narrowed: Whether a caller's own short timeout cuts it before the upstream's settings would.
        headers: Header fields of this attempt alone: the trace.
        trace: An httpcore trace callback of this attempt's, or None.
        sent: Whether any byte of the request was handed to the network.
        stalled: Why this process itself was late or out of resources, or "".
        hurried: Whether it told its upstream a deadline of the call's that ends before the attempt's own limit.
        excused: Whether the answer says that it is not the endpoint that is down, but a dependency of its.
        streaming: Whether the body is still to be read by the user; then the body ends the attempt.
        headers_took: Seconds to the headers of a response whose body is streamed, else None.
        ending: Empty once it is over. Whoever wants to know it again without keeping it alive keeps this.
    """

    __slots__ = (
        "_at_end", "call", "ending", "endpoint", "entry", "error", "excused", "expires",
        "fault", "grip", "headers", "headers_took", "hedge", "hurried", "lost", "narrowed", "patience", "permit",
        "phases", "raced", "sent", "stalled", "started", "status", "streaming", "trace",
    )  # fmt: skip

    phases: Mapping[str, float | None]
    grip: Grip | None
    endpoint: Endpoint | None
    permit: Permit | None
    headers: Headers
    trace: Any
    headers_took: float | None
    status: int | None
    error: BaseException | None
    fault: Fault | None

    def __init__(self, call: Call, now: float, *, hedge: bool = False) -> None:
        self.call = call
        self.hedge = hedge
        self.started = now
        self.expires = call.expires
        self.patience = math.inf
        self.phases = NO_PHASES
        self.headers = ()
        self.stalled = ""
        self.narrowed = self.raced = self.lost = self.sent = self.streaming = self.excused = self.hurried = False
        self.grip = self.endpoint = self.permit = self.trace = self.headers_took = None
        self.status = self.error = self.fault = None
        self.entry = call.entry = entry = call.journal.open_entry(now - call.started)
        if hedge:
            entry.hedge = True
        call.made += 1
        self._at_end: list[Callable[[Attempt, float], object]] = []
        self.ending = [True]  # popped by whoever ends it: one step, so that two threads cannot both
        self._memory = None

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

    @property
    def gone(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.lost or self.call.gone

    def lose(self) -> None:
        """The other one has answered: this one shall wait for nothing any more. From any thread."""
        self.lost = True
        if self.grip is not None:
            self.grip.cut()

    def cancelled(self) -> Cancelled:
        """The error for an attempt that nobody waits for."""
        if self.call.gone:
            self.entry.sent = self.sent  # it has not come to its end yet, and the error tells how far it has come
            self.entry.duration = self.call.port.now() - self.started
            return self.call.cancelled()
        return Cancelled(f"{self.call.upstream}: attempt {self.number} lost its race", upstream=self.call.upstream)

    def at_end(self, settle: Callable[[Attempt, float], object]) -> None:
        """Have `settle(attempt, now)` called once when the attempt has ended, body included; the oldest first."""
        if self.ending:
            self._at_end.append(settle)

    @property
    def ended(self) -> bool:
        """Whether it is over, body included."""
        return not self.ending

    def answer(self, status: int) -> None:
        """The headers of the response have come."""
        self.status = self.entry.status = status
        self.sent = self.entry.sent = True

    def end(self, now: float, error: BaseException | None = None) -> None:
        """The attempt is over. Further calls change nothing."""
        try:
            self.ending.pop()
        except IndexError:
            return
        entry = self.entry
        entry.duration = now - self.started
        entry.sent = self.sent
        if error is not None:
            self.error = error
            # What h11 says of an invalid request quotes it, headers included.
            entry.error = type(error).__name__ if self.fault is Fault.INVALID else describe(error)
            if not self.lost:
                entry.decision = "raise"
            if isinstance(error, Refused):
                entry.outcome = "refused"
            entry.fault = self.fault
        for settle in self._at_end:
            settle(self, now)
        self.error = None  # its traceback holds the frames, and those hold this attempt

    def conclude(self, outcome: Outcome) -> None:
        """Note what the attempt counts as."""
        self.entry.outcome = outcome
