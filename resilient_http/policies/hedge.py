"""Hedge: when the first attempt takes unusually long, send a second one beside it, and take whichever answers first.

A hedge is sent when all of these hold, asked in this order:

    1. it is the call's first attempt, sending it twice has the effect of sending it once, and its body can be sent
       twice at the same time (one that stands on a file cannot);
    2. the delay is known: seconds, or a quantile of the upstream's own latency once `KNOWN` of them are;
    3. the attempt has not ended within the delay, did not queue for its permit, and is no probe of a circuit;
    4. a usual attempt fits into what is left of the deadline;
    5. the budget has a token, and keeps half of what it holds for retries;
    6. the port can send one now: a sync one has a thread for it.

The loser is cut off. It says that its endpoint takes at least so long (see docs/circuit.md).

Source: J. Dean, L. A. Barroso, The Tail at Scale (2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resilient_http.call import Attempt, Call
from resilient_http.events import HedgeFinished, HedgeSent, HedgeSuppressed, Hub, Observed
from resilient_http.policies import AttemptProceed
from resilient_http.semantics import RETRYABLE_STATUSES
from resilient_http.state.latency import Latency
from resilient_http.state.outcome import SUCCESS, judge_status
from resilient_http.state.retry_budget import RetryBudget
from resilient_http.state.tally import Tally

KNOWN = 100  # attempts after which a quantile is believed
KEPT = 0.5  # share of the budget that is kept for retries


@dataclass(frozen=True, slots=True)
class HedgeRules:
    """When a hedge is sent; see HedgeSettings.

    Attributes:
        delay: Seconds, or None to go by the quantile.
        quantile: Share of the attempts, 0 to 1, that are over by then.
        statuses: What is no good answer.
        cuttable: Whether attempts wait on sockets of their own alone: not over HTTP/2, where they share a connection.
        observe: Send none, and tell what would have been sent.
    """

    delay: float | None = None
    quantile: float = 0.95
    statuses: frozenset[int] = RETRYABLE_STATUSES
    cuttable: bool = True
    observe: bool = False


class HedgePolicy:
    """Makes the attempts of a call, and hedges the first.

    Args:
        rules: When.
        latency: Of the upstream's attempts; this policy records it where a quantile of it is the delay.
        budget: The upstream's bucket, or None for no budget.
        usual: Gives the seconds that an attempt usually takes.
        tally: Counts what was decided.
        hub: Where to tell.
    """

    def __init__(
        self, rules: HedgeRules, latency: Latency, budget: RetryBudget | None, usual: Callable[[], float],
        tally: Tally, hub: Hub,
    ) -> None:  # fmt: skip
        self._rules = rules
        self._latency = latency
        self._budget = budget
        self._usual = usual
        self._tally = tally
        self._hub = hub

    async def __call__(self, call: Call, proceed: AttemptProceed) -> Any:
        """What the first attempt or its hedge ends in."""
        first = Attempt(call, call.port.now())
        if self._rules.delay is None:
            first.at_end(self._learn)
        delay = self._delay(call)
        if delay is None:
            return await proceed(first)
        hedges: list[Attempt] = []

        def hedge(refusal: str | None = None) -> Attempt | None:
            attempt = self._hedge(first, delay, refusal)
            if attempt is not None:
                hedges.append(attempt)
            return attempt

        response, error, won = await call.port.race(
            proceed, first, delay, hedge, self._is_good, cuttable=self._rules.cuttable
        )
        if hedges:
            self._tell(call, first, hedges[0], won=won)
        if error is not None:
            raise error
        return response

    def _delay(self, call: Call) -> float | None:
        if call.made > 1 or not call.repeatable or not call.at_once or call.repeated:
            return None
        if self._rules.delay is not None:
            return self._rules.delay
        return self._latency.quantile(self._rules.quantile) if self._latency.known >= KNOWN else None

    def _hedge(self, first: Attempt, delay: float, refusal: str | None) -> Attempt | None:
        """The second attempt, or None when there shall be none, for a reason of the port's or of ours."""
        call, now = first.call, first.call.port.now()
        refusal = refusal or self._refuse(first, now)
        if refusal is not None:
            self._tally.add(f"suppressed: {refusal}")
            call.journal.note(f"no hedge: {refusal}")
            if self._hub.listeners:
                self._hub.emit(HedgeSuppressed(call.upstream, refusal))
            return None
        if self._rules.observe:
            if self._budget is not None:
                self._budget.refund()
            self._tally.add("suppressed: observe")
            call.journal.note(f"hedge: would send a second attempt after {delay:.3g} s, but only observes")
            if self._hub.listeners:
                self._hub.emit(Observed(call.upstream, "hedge", f"send a second attempt after {delay:.3g} s"))
            return None
        self._tally.add("sent")
        hedge = Attempt(call, now, hedge=True)
        if self._rules.delay is None:
            hedge.at_end(self._learn)
        hedge.at_end(self._refund)
        if self._hub.listeners:
            self._hub.emit(HedgeSent(call.upstream, hedge.number, delay))
        return hedge

    def _refuse(self, first: Attempt, now: float) -> str | None:
        if first.endpoint is None or first.entry.queued:
            return "queued"
        if first.permit is not None and first.permit.probe:
            return "probe"
        if now + self._usual() > first.call.expires:
            return "deadline"
        if self._budget is not None and not self._budget.withdraw(now, keep=KEPT):
            return "budget"
        return None

    def _is_good(self, response: Any) -> bool:
        return response.status_code not in self._rules.statuses

    def _tell(self, call: Call, first: Attempt, hedge: Attempt, *, won: bool) -> None:
        winner, loser = (hedge, first) if won else (first, hedge)
        call.entry = winner.entry
        if loser.lost:
            # It may go on for a moment; till it has ended, this is how long it was waited for.
            loser.entry.duration = call.port.now() - loser.started
            loser.entry.decide("lost", f"attempt {winner.number} answered first")
        self._tally.add("won" if won else "lost")
        if self._hub.listeners:
            self._hub.emit(HedgeFinished(call.upstream, hedge.number, won))

    def _learn(self, attempt: Attempt, now: float) -> None:
        status = attempt.status
        answered = attempt.fault is None and status is not None and judge_status(status) is SUCCESS
        if answered or (attempt.lost and attempt.endpoint is not None):
            self._latency.record(now - attempt.started)

    def _refund(self, hedge: Attempt, now: float) -> None:
        if self._budget is not None and not hedge.sent:
            self._budget.refund()
