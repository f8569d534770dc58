"""Chaos: faults that are injected on purpose. Innermost: it stands for the network, and for the upstream.

All that is outside sees them as it would see real ones: limits, circuits, repeats, hedges, deadlines, the trace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from resilient_http.call import Attempt
from resilient_http.events import FaultInjected, Hub
from resilient_http.policies import AttemptProceed
from resilient_http.state import outcome
from resilient_http.state.chaos import Chaos, Fault
from resilient_http.state.tally import Tally

BEFORE: Final = "before"
BY_SETTINGS, BY_HEADER = "settings", "header"


class ChaosPolicy:
    """Injects faults into attempts.

    Args:
        chaos: What is injected into the calls of each route; None stands for those of no route.
        tally: Counts it, by kind.
        hub: Where to tell.
    """

    def __init__(self, chaos: Mapping[str | None, Chaos], tally: Tally, hub: Hub) -> None:
        self._chaos = chaos
        self._tally = tally
        self._hub = hub

    async def __call__(self, attempt: Attempt, proceed: AttemptProceed) -> Any:
        """What was injected, or what came of the attempt."""
        fault = self._drawn(attempt)
        if fault is None:
            return await proceed(attempt)
        if fault.kind == "abort" and fault.rules.abort == BEFORE:
            return await self._reset(attempt, fault)
        if fault.latency:
            await self._wait(attempt, fault.latency, attempt.phases.get("read"))
        if fault.kind == "error" and fault.rules.status is not None:
            attempt.answer(fault.rules.status)
            return attempt.call.port.reply(fault.rules.status, fault.rules.headers, fault.rules.body)
        reply = await proceed(attempt)
        if fault.kind == "abort":
            await self._break_off(attempt, reply)
        elif fault.kind == "drip" and fault.rules.drip is not None:
            waiting = attempt.call.port.slowed(attempt, reply, fault.rules.drip)
            await self._wait(attempt, waiting / fault.rules.drip)
        return reply

    def _drawn(self, attempt: Attempt) -> Fault | None:
        call, port = attempt.call, attempt.call.port
        chaos = self._chaos.get(call.route)
        if chaos is None:
            return None
        by, fault = BY_HEADER, None
        if call.chaos is not None:
            fault = chaos.obey(call.chaos, call.upstream, call.method, port.wall_now())
        if fault is None:
            by, fault = BY_SETTINGS, chaos.draw(call.method, port.now())
        if fault is not None:
            self._tell(attempt, fault, by)
        return fault

    def _tell(self, attempt: Attempt, fault: Fault, by: str) -> None:
        call = attempt.call
        for kind in fault.kinds:
            self._tally.add(kind)
        call.journal.note(f"chaos: {fault} (attempt {attempt.number}, by {by})")
        self._hub.announce(FaultInjected(call.upstream, attempt.entry.endpoint, attempt.number, str(fault), by))

    async def _reset(self, attempt: Attempt, fault: Fault) -> NoReturn:
        if fault.latency:
            await self._wait(attempt, fault.latency, attempt.phases.get("connect"), sent=False)
        why = "connection reset before anything was sent"
        raise self._failed(attempt, outcome.Fault.UNREACHABLE, why, sent=False)

    async def _wait(self, attempt: Attempt, seconds: float, phase: float | None = None, *, sent: bool = True) -> None:
        """As for an endpoint that is slow: no longer than the attempt may wait."""
        left = max(0.0, attempt.expires - attempt.call.port.now())
        most = left if phase is None else min(left, phase)
        try:
            await attempt.call.port.linger(attempt, min(seconds, most))
        except BaseException:
            attempt.fault, attempt.sent = outcome.Fault.CANCELLED, sent
            raise
        if attempt.gone:
            attempt.fault, attempt.sent = outcome.Fault.CANCELLED, sent
            raise attempt.cancelled()
        if seconds > most:
            raise self._failed(attempt, outcome.Fault.TIMEOUT, f"no answer within {most:.3g} s", sent=sent)

    async def _break_off(self, attempt: Attempt, reply: Any) -> NoReturn:
        """The endpoint has acted on it, and nobody hears of that."""
        port = attempt.call.port
        attempt.status = attempt.entry.status = None
        error = self._failed(attempt, outcome.Fault.BROKEN, "connection reset before the answer came", sent=True)
        attempt.end(port.now(), error)  # before a streamed body is closed, which would end it as closed early
        await port.discard(reply)
        raise error

    def _failed(self, attempt: Attempt, fault: outcome.Fault, why: str, *, sent: bool) -> Exception:
        attempt.fault, attempt.sent = fault, sent
        return attempt.call.port.failure(fault, f"{why} (injected)", sent=sent)
