"""Balance: choose an endpoint and take its circuit's permit, in one step; report back how it went.

An attempt's outcome (see state/outcome.py) is judged here, once, when the attempt has ended: it feeds the endpoint's
circuit, its penalty and its latency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resilient_http.call import Attempt, Call, Reply
from resilient_http.errors import CircuitOpen, NoEndpoint
from resilient_http.events import EndpointPaused, Hub, Observed, Stalled
from resilient_http.policies import AttemptProceed
from resilient_http.semantics import DEPENDENCY_DOWN, retry_after
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.endpoints import Endpoints
from resilient_http.state.outcome import NEUTRAL, UNANSWERED, Fault, Outcome, judge_fault

GATEWAY_TIMEOUT = 504
UNAVAILABLE = 503


class BalancePolicy:
    """Sends each attempt to the endpoint that is likely to answer best.

    Args:
        endpoints: The upstream's endpoints.
        hub: Where to tell that we stalled.
        trusts_marker: Whether an answer may say that it is a dependency that is down, and not the endpoint.
        pause: Most seconds that an answer takes its endpoint out that asks for it, or None for never.
        asks: Header of any answer that asks for it, beside a 503's Retry-After; or None.
        observe: Take none out, and tell which would have been.
        key: What calls that belong together have in common, of a call; None where the balancer has no use for it.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        hub: Hub,
        *,
        trusts_marker: bool = False,
        pause: float | None = None,
        asks: str | None = None,
        observe: bool = False,
        key: Callable[[Call], str | None] | None = None,
    ) -> None:
        self._endpoints = endpoints
        self._hub = hub
        self._trusts_marker = trusts_marker
        self._pause = pause
        self._asks = asks
        self._reads = trusts_marker or (asks is not None and pause is not None)
        self._observe = observe
        self._key = key

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """Raise CircuitOpen when all circuits are open."""
        call = attempt.call
        port = call.port
        now = port.now()
        key = None if self._key is None else self._key(call)
        chosen = self._endpoints.choose(now, port.rng, call.tried, probes=not attempt.hedge, key=key)
        if chosen is None:
            raise self._refusal(attempt, now)
        endpoint, attempt.permit = chosen
        attempt.endpoint = endpoint
        attempt.entry.endpoint = endpoint.url
        attempt.started = now
        call.tried += (endpoint,)
        attempt.at_end(self._settle)
        if attempt.permit is not None and attempt.permit.refused:
            self._tell_observed(attempt, endpoint, now)
        reply = await proceed(attempt)
        if attempt.streaming:
            attempt.headers_took = port.now() - now
        if self._reads or reply.status_code == UNAVAILABLE:
            self._heed(attempt, reply)
        return reply

    def _heed(self, attempt: Attempt, reply: Reply) -> None:
        """What an answer says of its endpoint, besides being one."""
        if self._trusts_marker and DEPENDENCY_DOWN in reply.headers:
            attempt.excused = True
        elif reply.status_code == UNAVAILABLE and self._pause is not None:
            self._leave_alone(attempt, reply, "retry-after", self._pause)
        if self._asks is not None and self._pause is not None:
            self._leave_alone(attempt, reply, self._asks, self._pause)

    def _leave_alone(self, attempt: Attempt, reply: Reply, header: str, most: float) -> None:
        call, endpoint = attempt.call, attempt.chosen
        value = reply.headers.get(header)
        asked = None if value is None else retry_after(value, wall_now=call.port.wall_now())
        if not asked:
            return
        now, seconds = call.port.now(), min(asked, most)
        if self._observe:
            if self._endpoints.ejections.may_eject(endpoint, now):
                would = f"pause {endpoint.url} for {seconds:.3g} s"
                call.journal.note(f"pauses: would {would}, but only observes")
                if self._hub.listeners:
                    self._hub.emit(Observed(call.upstream, "pauses", would))
        elif self._endpoints.pause(endpoint, now, seconds):
            call.journal.note(f"pauses: {endpoint.url} is left alone for {seconds:.3g} s")
            self._hub.announce(EndpointPaused(call.upstream, endpoint.url, seconds))

    def _settle(self, attempt: Attempt, now: float) -> None:
        endpoint, took = attempt.chosen, now - attempt.started
        outcome = judge(attempt, endpoint, took)
        if attempt.excused:
            outcome = NEUTRAL
        attempt.entry.outcome = outcome
        answered = took if attempt.fault is None and attempt.status is not None else None
        if attempt.stalled:
            self._hub.announce(Stalled(attempt.call.upstream, endpoint.url, attempt.stalled))
        if attempt.streaming and outcome is not UNANSWERED:
            endpoint.hear()
        if attempt.lost:
            endpoint.latency.record(took)  # at least so long
        if attempt.headers_took is not None:
            took = attempt.headers_took  # how long the body lasts is between it and who reads it
        self._endpoints.settle(endpoint, attempt.permit, outcome, now, answered, took, attempt.error)

    def _tell_observed(self, attempt: Attempt, endpoint: Endpoint, now: float) -> None:
        circuit = endpoint.circuit
        retry_in = circuit.retry_in(now) if circuit is not None else None
        would = f"not call {endpoint.url}: its circuit is open; next probe in {retry_in or 0.0:.3g} s"
        attempt.call.journal.note(f"circuit (observed): would {would}")
        if self._hub.listeners:
            self._hub.emit(Observed(attempt.call.upstream, "circuit", would))

    def _refusal(self, attempt: Attempt, now: float) -> CircuitOpen | NoEndpoint:
        name = attempt.call.upstream
        if not self._endpoints.members:
            return NoEndpoint(f"{name} has no endpoint", upstream=name)
        retry_in = self._endpoints.retry_in(now)
        when = "it is held open by hand" if retry_in is None else f"next probe in {retry_in:.3g} s"
        return CircuitOpen(
            f"circuit of {name} at {self._endpoints.named} is open; {when}", upstream=name, retry_in=retry_in
        )


def judge(attempt: Attempt, endpoint: Endpoint, took: float) -> Outcome:
    """What an ended attempt counts as for its endpoint."""
    fault, status = attempt.fault, attempt.status
    if fault is None:
        if status == GATEWAY_TIMEOUT and attempt.hurried:
            # It gave up in time because we told it how little is left: as good as cut short by us.
            return endpoint.judge_cut(took, attempt.patience)
        return Outcome.NEUTRAL if status is None else endpoint.outcomes.judge_status(status)
    if fault is Fault.CANCELLED and status is not None and status >= 500:
        # The user closed the stream early, but the failure had been answered before.
        return endpoint.outcomes.judge_status(status)
    if fault is Fault.TIMEOUT and attempt.streaming and attempt.call.overdue(attempt.started + took):
        # It answered; how long its body lasts is between it and who reads it.
        return Outcome.NEUTRAL
    if not attempt.stalled and _cut_short(attempt, took):
        return endpoint.judge_cut(took, attempt.patience)
    return judge_fault(fault, stalled=bool(attempt.stalled))


def _cut_short(attempt: Attempt, took: float) -> bool:
    """Whether something shorter than the upstream's own settings ended the wait: a deadline, or a hedge that won."""
    if attempt.fault is Fault.CANCELLED:
        return attempt.lost and attempt.status is None
    if attempt.fault is not Fault.TIMEOUT or took >= attempt.patience:
        return False
    return attempt.narrowed or attempt.call.overdue(attempt.started + took)
