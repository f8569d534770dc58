"""A world on a virtual clock: one upstream, its endpoints, and what the callers see. Nothing here waits."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.events import Event, Hub
from resilient_http.journal import Journal
from resilient_http.pipeline import compose
from resilient_http.ports.simulated import Respond, SimulatedPort, SimulatedReply
from resilient_http.settings.models import Settings
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import Fault
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.upstream import Upstream

QUICK = 0.02

Answer = int | Fault | SimulatedReply | tuple[float, int | Fault | SimulatedReply]
"""What an endpoint does: a status, a fault or a reply, after 20 ms or after so many seconds."""

HANG: Answer = (math.inf, Fault.TIMEOUT)
REFUSE: Answer = (0.001, Fault.UNREACHABLE)


def throttled(status: int = 503, *, retry_after: str) -> SimulatedReply:
    """An answer that says when to come back."""
    return SimulatedReply(status, {"retry-after": retry_after})


def script(*answers: Answer) -> Respond:
    """Each attempt gets the next answer, whichever endpoint it goes to; the last one stays."""
    left = list(answers)
    return lambda attempt, now: _timed(left.pop(0) if len(left) > 1 else left[0])


def by_host(**answers: Answer | Callable[[Attempt, float], Answer]) -> Respond:
    """Each endpoint answers in its own way; `n1=503` or `n1=lambda attempt, now: ...`."""

    def respond(attempt: Attempt, now: float) -> tuple[float, SimulatedReply | Fault]:
        answer = answers[attempt.chosen.host]
        return _timed(answer(attempt, now) if callable(answer) else answer)

    return respond


def _timed(answer: Answer) -> tuple[float, SimulatedReply | Fault]:
    delay, what = answer if isinstance(answer, tuple) else (QUICK, answer)
    return delay, SimulatedReply(what) if isinstance(what, int) else what


@dataclass
class Made:
    """A call that was made, and what its caller saw."""

    at: float
    call: Call | None = None
    response: Any = None
    error: BaseException | None = None
    took: float = math.nan

    @property
    def journal(self) -> Journal:
        assert self.call is not None, "the call has not begun"
        return self.call.journal

    @property
    def status(self) -> int | None:
        return None if self.response is None else self.response.status_code

    @property
    def good(self) -> bool:
        return self.error is None and self.response is not None and self.response.status_code < 500

    @property
    def decisions(self) -> list[str]:
        return [entry.decision for entry in self.journal.attempts]


class Untraced:
    """Stands in for the tracer."""

    detail = None

    def begin_attempt(self, attempt: Attempt) -> None:
        return None

    def leave_attempt(self, token: object) -> None:
        raise AssertionError("there was no token to give back")


class World:
    """One upstream, called "payments", through the whole pipeline.

    Args:
        respond: What its endpoints do.
        seed: Of all randomness.
        root: Settings beside the upstream's.
        own: The upstream's settings; without endpoints it has one, n1.
    """

    def __init__(
        self,
        respond: Respond,
        *,
        seed: int = 1,
        enabled: bool = True,
        root: Mapping[str, Any] | None = None,
        **own: Any,
    ) -> None:
        self.events: list[Event] = []
        self.port = SimulatedPort(respond, seed=seed)
        hub = Hub([self.events.append])
        settings = Settings(**(root or {}), upstreams={"payments": {"endpoints": ["http://n1"], **own}})
        own_settings = settings.upstreams["payments"]
        rng = random.Random(seed)
        nodes = Nodes("payments", own_settings, hub, zone=settings.zone, circuits=enabled, rng=rng)
        self.upstream = Upstream(
            "payments",
            own_settings,
            lambda upstream, settings: compose(upstream, settings, Untraced(), hub),
            nodes,
            enabled=enabled,
        )

    def spawn(self, method: str = "GET", *, at: float = 0.0, within: float = math.inf, **facts: Any) -> Made:
        """Have a call made at an instant; run() lets it happen."""
        made = Made(at)
        self.port.spawn(self._make(made, method, within, facts), at=at)
        return made

    def traffic(self, *, calls: int, rate: float, within: float = math.inf) -> Iterator[Made]:
        """Steady traffic, each call as it ends."""
        ended: list[Made] = []

        async def one(made: Made) -> None:
            await self._make(made, "GET", within, {})
            ended.append(made)

        for i in range(calls):
            self.port.spawn(one(Made(i / rate)), at=i / rate)
            self.port.run(until=i / rate)
            yield from ended
            ended.clear()
        self.port.run()
        yield from ended

    def make(self, method: str = "GET", *, within: float = math.inf, **facts: Any) -> Made:
        """Make a call now, and let everything run to its end."""
        made = self.spawn(method, at=self.port.now(), within=within, **facts)
        self.port.run()
        return made

    def open_call(self, method: str = "GET", *, within: float = math.inf, **facts: Any) -> Call:
        """A call that is ready to go through the pipeline."""
        call = Call(self.port, method, started=self.port.now())
        call.bound(self.port.now() + within, within)
        call.priority = facts.get("priority")
        repeatable = facts.get("repeatable", method in self.upstream.pipeline.repeatable)
        body = {"replayable": facts.get("replayable", True), "at_once": facts.get("at_once", True)}
        call.route = facts.get("route")
        call.enter("payments", facts.get("request"), method, repeatable=repeatable, **body)
        return call

    def told(self, *kinds: type[Event]) -> list[Event]:
        """The events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]

    def endpoint(self, host: str) -> Endpoint:
        return next(member for member in self.upstream.endpoints.members if member.host == host)

    async def _make(self, made: Made, method: str, within: float, facts: dict[str, Any]) -> None:
        made.call = self.open_call(method, within=within, **facts)
        try:
            made.response = await self.upstream.pipeline_of(None, made.call.route).run(made.call)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            made.error = exc
        made.took = self.port.now() - made.at


class CallerGoneError(BaseException):
    """What a cancelled task is thrown, on whichever event loop."""


def cancel(coroutine: Coroutine[Any, None, Any]) -> None:
    """Cancel a coroutine where it waits; it has to let itself be cancelled."""
    with pytest.raises(CallerGoneError):
        coroutine.throw(CallerGoneError())


def ended(port: SimulatedPort, coroutine: Coroutine[Any, None, Any]) -> Any:
    """What a coroutine returns; raises what it raises."""
    results: list[Any] = []

    async def note() -> None:
        results.append(await coroutine)

    port.spawn(note(), at=port.now())
    port.run()
    assert results, "it never came to its end"
    return results[0]
