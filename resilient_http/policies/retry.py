"""Retry: repeat what may be repeated, within the budget and the deadline.

A failed attempt is repeated when all of these hold, asked in this order:

    1. `classify` says so, or, when it has no opinion: its status is one of `statuses`, or it ended in one of `faults`.
       What is fatal (an untrusted certificate, an invalid request) is never repeated;
    2. the answer does not forbid it: no marker of a dependency that is down, no `stop_header`;
    3. it provably was not sent, or the method is one of `methods` or carries an Idempotency-Key;
    4. its body can be sent again (what was not sent needs no replay);
    5. fewer than `max_attempts` were made, hedges included;
    6. it was not sent, or the inbound request is no repeat itself: three layers of three attempts are no 27 requests;
    7. the wait is at most `max_wait`, and fits together with a usual attempt into what is left of the deadline;
    8. nothing of the call was sent yet, or the budget has a token.

Else the call ends with what it has: the last real response, or the last real exception.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from resilient_http.call import Call, Reply
from resilient_http.errors import Refused
from resilient_http.events import Hub, Observed, RetryScheduled, RetrySuppressed
from resilient_http.journal import Entry
from resilient_http.policies import CallProceed, said_by
from resilient_http.semantics import DEPENDENCY_DOWN, RETRYABLE_STATUSES, THROTTLED, TOO_MANY, retry_after
from resilient_http.state.backoff import Backoff
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.outcome import Fault
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.tally import Tally

KEEP_WITHIN = 0.5  # seconds that reading the rest of a response may take that is set aside
TRANSIENT = frozenset({Fault.UNREACHABLE, Fault.TIMEOUT, Fault.BROKEN, Fault.LOCAL})
FATAL = frozenset({Fault.UNTRUSTED, Fault.INVALID, Fault.CANCELLED})

Classify = Callable[[Any], Any]
"""A response or an exception: True, or what counts as true, to repeat it, False not to, None for no opinion."""

Refusal = tuple[str, str]
"""Why an attempt is not repeated: in a word, for counting, and for a person."""

NO_OTHER = None, False
NOT_RETRYABLE: Refusal = ("not retryable", "not retryable")


@dataclass(frozen=True, slots=True)
class RetryRules:
    """What is repeated, and how often; see RetrySettings for the meaning of each.

    Attributes:
        off: Who has switched repeats off, "" for nobody.
    """

    max_attempts: int = 3
    statuses: frozenset[int] = RETRYABLE_STATUSES
    faults: frozenset[Fault] = TRANSIENT
    classify: Classify | None = None
    max_wait: float = 5.0
    stop_header: tuple[str, str | None] | None = None
    trusts_marker: bool = False
    observe: bool = False
    off: str = ""


class RetryPolicy:
    """Repeats failed attempts of a call.

    Args:
        rules: What is repeated, how often.
        backoff: How long to wait before.
        budget: The upstream's bucket, or None for no budget.
        endpoints: The upstream's endpoints: is there another one, and how long does an attempt usually take?
        tally: Counts what was decided.
        hub: Where to tell what was decided.
    """

    def __init__(
        self, rules: RetryRules, backoff: Backoff, budget: RetryBudget | None, endpoints: Endpoints, tally: Tally,
        hub: Hub,
    ) -> None:  # fmt: skip
        self._rules = rules
        self._off: Refusal | None = ("switched off", f"retries are switched off by {rules.off}") if rules.off else None
        self._backoff = backoff
        self._budget = budget
        self._endpoints = endpoints
        self._tally = tally
        self._hub = hub

    async def __call__(self, call: Call, proceed: CallProceed) -> Any:
        """The first good response, or the last real outcome."""
        classify, statuses, paid = self._rules.classify, self._rules.statuses, False  # paid for the attempt under way
        last: Callable[[], Any] | None = None  # gives the last real outcome again
        before = response = error = None
        call.foreign = False  # middleware may try a call once more
        try:
            while True:
                response, error = None, None
                try:
                    response = await proceed(call)
                except Refused:
                    self._settle(call, paid=paid)
                    if last is None or before is None:
                        raise
                    then = "return" if before.error is None else "raise"
                    call.newest.decide(then, "refused; the last real outcome stands")
                    return last()
                except Exception as exc:  # noqa: BLE001 - raised again below, unless it may be repeated
                    error = exc
                except BaseException:
                    self._settle(call, paid=paid)  # cancelled; what was sent was sent
                    raise
                self._settle(call, paid=paid)
                entry = call.newest
                if error is None and classify is None and entry.status not in statuses:
                    return response  # the usual case, by the shortest way
                asked = None if classify is None else await self._ask(classify, call, response, error)
                failed = self._failed(call, entry, error, asked)
                delay, paid = self._plan(call, entry, response) if failed else NO_OTHER
                if delay is None:
                    if error is not None:
                        raise error
                    return response
                before, last = entry, await self._pause(call, delay, response, error, paid=paid)
        finally:
            # Else an exception, its traceback and this frame would hold each other.
            last = response = error = None

    async def _ask(self, classify: Classify, call: Call, response: Any, error: Exception | None) -> bool | None:
        if error is not None and call.newest.fault in FATAL:
            return None  # it is not repeated whatever it says
        said, failure = None, None
        try:
            said = said_by(classify, error if response is None else call.port.readable(call, response))
        except BaseException as exc:  # noqa: BLE001 - raised again below: nothing compiled waits where it handles one
            failure = exc
        if failure is None:
            return None if said is None else bool(said)
        try:
            call.foreign = failure is not error  # else it has raised again what it was given
            if response is not None:
                await call.port.set_aside(response, 0.0)  # nobody will read it
            raise failure
        finally:
            failure = None  # else it, its traceback and this frame would hold each other

    def _failed(self, call: Call, entry: Entry, error: Exception | None, asked: bool | None) -> bool:
        """Whether the attempt ended in something that is repeated. What `classify` said, if anything, is `asked`."""
        if error is None:
            return entry.status in self._rules.statuses if asked is None else asked
        failed = entry.fault in self._rules.faults if asked is None else asked
        if not failed or entry.fault in FATAL:
            self._suppress(call, entry, NOT_RETRYABLE)
            return False
        return True

    def _plan(self, call: Call, entry: Entry, response: Reply | None) -> tuple[float | None, bool]:
        """The delay before the next attempt, or None for no other; and whether the budget has paid for it."""
        refusal, now, delay, paid = self._off or self._refuse(call, entry, response), call.port.now(), 0.0, False
        if refusal is None:
            delay = self._delay(call, response, now)
            refusal = self._refuse_wait(call, now, delay)
        if refusal is None and self._budget is not None and call.reached:
            paid = self._budget.withdraw(now)
            refusal = None if paid else ("budget", "the retry budget is used up")
        if refusal is None and self._rules.observe:
            if paid and self._budget is not None:
                self._budget.refund()
            refusal = "observe", f"would be repeated in {delay:.3g} s, but retry only observes"
            if self._hub.listeners:
                self._hub.emit(Observed(call.upstream, "retry", f"repeat in {delay:.3g} s: {_reason(entry)}"))
        if refusal is not None:
            self._suppress(call, entry, refusal)
            return None, False
        self._tally.add("made")
        entry.decide("retry", _reason(entry), delay)
        if self._hub.listeners:
            self._hub.emit(RetryScheduled(call.upstream, call.made + 1, delay, entry.why))
        return delay, paid

    def _refuse(self, call: Call, entry: Entry, response: Reply | None) -> Refusal | None:
        """Why the attempt must not be repeated, whatever the time and the budget."""
        limit = self._rules.max_attempts
        if response is not None and (forbidden := self._forbidden(response)):
            return forbidden
        if entry.sent and not call.repeatable:
            return "not idempotent", f"{call.method} may have been acted on and is not idempotent"
        if entry.sent and not call.replayable:
            return "body", "its body cannot be sent again"
        if call.made >= limit:
            return "attempts", f"{call.made} of {limit} attempts made"
        if entry.sent and call.repeated:
            return "inbound repeat", "the inbound request is itself a repeat"
        return None

    def _forbidden(self, response: Reply) -> Refusal | None:
        stop = self._rules.stop_header
        if self._rules.trusts_marker and DEPENDENCY_DOWN in response.headers:
            return "dependency down", "a dependency of its own is down"
        if stop is not None and _says(response, *stop):
            return "stop header", f"its {stop[0]} says not to repeat it"
        return None

    def _refuse_wait(self, call: Call, now: float, delay: float) -> Refusal | None:
        if delay > self._rules.max_wait:
            return "max_wait", f"asked to wait {delay:.3g} s, longer than max_wait {self._rules.max_wait:.3g} s"
        if now + delay + self._endpoints.usual() > call.expires:
            return "deadline", "the next attempt does not fit into the deadline"
        return None

    def _delay(self, call: Call, response: Reply | None, now: float) -> float:
        port, status = call.port, None if response is None else response.status_code
        elsewhere = status not in TOO_MANY and self._endpoints.has_untried(call.tried, now)
        header = None if response is None or elsewhere else response.headers.get("retry-after")
        asked = None if header is None else retry_after(header, wall_now=port.wall_now())
        delay = self._backoff.next_delay(
            call.made, port.rng, throttled=status in THROTTLED, retry_after=asked, elsewhere=elsewhere
        )
        # What was asked for is what is bounded; that we spread ourselves is no reason not to come back.
        return delay if asked is None or asked > self._rules.max_wait else min(delay, self._rules.max_wait)

    async def _pause(
        self, call: Call, delay: float, response: Any, error: Exception | None, *, paid: bool
    ) -> Callable[[], Any] | None:
        """Set the outcome aside and wait. Gives what gives the outcome again, or None when it was too large to keep."""
        port = call.port
        try:
            if error is not None:
                again: Callable[[], Any] | None = _raiser(error)
            else:
                spare = call.expires - port.now() - delay - self._endpoints.usual()
                kept = await port.set_aside(response, min(KEEP_WITHIN, max(0.0, spare)))
                again = (lambda: response) if kept else None
            await port.sleep(delay, call.cancellation)
        except BaseException:
            # Cancelled: the repeat that was paid for will not be sent.
            self._refund(paid=paid)
            raise
        if call.gone:
            self._refund(paid=paid)
            raise call.cancelled()
        return again

    def _settle(self, call: Call, *, paid: bool) -> None:
        """Tell the budget whether the attempt that has just ended was sent."""
        if call.entry is None or not call.entry.sent:
            self._refund(paid=paid)
        elif not call.reached:
            call.reached = True
            if self._budget is not None:
                self._budget.deposit(call.port.now())

    def _refund(self, *, paid: bool) -> None:
        if paid and self._budget is not None:
            self._budget.refund()

    def _suppress(self, call: Call, entry: Entry, refusal: Refusal) -> None:
        kind, text = refusal
        self._tally.add(f"suppressed: {kind}")
        entry.decide("return" if entry.error is None else "raise", f"{_reason(entry)}, {text}")
        if self._hub.listeners:
            self._hub.emit(RetrySuppressed(call.upstream, call.made, entry.why))


def _reason(entry: Entry) -> str:
    if entry.error is None:
        return f"status {entry.status}"
    return entry.fault.value if entry.fault else "error"


def _says(response: Reply, header: str, value: str | None) -> bool:
    found = response.headers.get(header)
    return found is not None and (value is None or found.strip().lower() == value)


def _raiser(error: Exception) -> Callable[[], NoReturn]:
    def raise_again() -> NoReturn:
        raise error

    return raise_again
