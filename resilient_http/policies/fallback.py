"""Fallback: what answers instead of a failure.

It answers for: our own refusals, a deadline that has passed, the network's faults, and the statuses it is told (those
from 500 on). It never answers for a 4xx, for a caller that went away, or for any other exception: a mistake in a
program stays one. What it answers with is marked: in the journal, by a header, as an event.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from resilient_http.call import Call, Headers
from resilient_http.errors import DeadlineExceeded, Refused
from resilient_http.events import FallbackUsed, Hub, Observed
from resilient_http.journal import describe
from resilient_http.policies import CallProceed
from resilient_http.state.outcome import Fault
from resilient_http.state.tally import Tally

MARKER = "x-resilient-http-fallback"
FAILURES = frozenset({Fault.UNREACHABLE, Fault.UNTRUSTED, Fault.TIMEOUT, Fault.BROKEN, Fault.LOCAL})


class Source(Protocol):
    """Where an answer comes from."""

    kind: str

    async def answer(self, call: Call, failure: Any) -> Any:
        """A response, or None for no answer. `failure` is the exception, or the response as it can be looked at."""

    def keep(self, call: Call, reply: Any) -> None:
        """The call has ended well enough: learn from it. Must not raise an Exception."""


class FallbackPolicy:
    """Answers in place of a failure.

    Args:
        source: Where the answer comes from.
        statuses: Statuses that are a failure.
        observe: Whether to tell only what would have been answered.
        tally: Counts the answers.
        hub: Where to tell of them.
    """

    def __init__(
        self, source: Source, statuses: frozenset[int], tally: Tally, hub: Hub, *, observe: bool = False
    ) -> None:
        self._source = source
        self._statuses = statuses
        self._observe = observe
        self._tally = tally
        self._hub = hub

    async def __call__(self, call: Call, proceed: CallProceed) -> Any:
        """The answer, or what the call has ended with."""
        try:
            reply = await proceed(call)
        except Exception as exc:
            if call.gone or not is_failure(call, exc):
                raise
            answer = await self._instead(call, exc, describe(exc))
            if answer is None:
                raise
            return answer
        port, answer = call.port, None
        try:
            if reply.status_code not in self._statuses:
                self._source.keep(call, reply)
                return reply
            answer = await self._instead(call, port.readable(call, reply), f"status {reply.status_code}")
        except BaseException:
            await port.discard(reply)  # nobody will read it
            raise
        if answer is None:
            return reply
        await port.discard(reply)
        return answer

    async def _instead(self, call: Call, failure: Any, why: str) -> Any:
        source = self._source
        answer = await source.answer(call, failure)
        if answer is None:
            self._tally.add(f"{source.kind}: none")
            call.journal.note(f"fallback: no {source.kind} answer for {why}")
            return None
        if self._observe:
            self._tally.add(f"{source.kind}: observed")
            call.journal.note(f"fallback: would answer ({source.kind}) for {why}, but only observes")
            if self._hub.listeners:
                self._hub.emit(Observed(call.upstream, "fallback", f"answer ({source.kind}) for {why}"))
            return None
        answer.headers[MARKER] = source.kind
        self._tally.add(source.kind)
        call.journal.note(f"fallback: answered ({source.kind}) for {why}")
        if self._hub.listeners:
            self._hub.emit(FallbackUsed(call.upstream, source.kind, why))
        return answer


def is_failure(call: Call, error: Exception) -> bool:
    """Whether a call that ended so may be answered by a fallback: the upstream failed it, or we did not let it."""
    if call.foreign:
        return False
    return isinstance(error, (Refused, DeadlineExceeded)) or call.port.fault_of(error) in FAILURES


class FixedAnswer:
    """The same answer each time.

    Args:
        status: Its status.
        headers: Its header fields.
        body: Its body.
    """

    kind = "fixed"

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        self._answer = status, headers, body

    async def answer(self, call: Call, failure: Any) -> Any:
        """A new response, always."""
        return _reply(call, *self._answer)

    def keep(self, call: Call, reply: Any) -> None:
        """There is nothing to learn."""


class FunctionAnswer:
    """What a plain function of the user's says.

    Args:
        function: Of the call and its failure. Gives a response of the backend's, bytes, a str, what JSON can say as a
            dict or list, or None for no answer. What it raises is raised as it is.
    """

    kind = "function"

    def __init__(self, function: Callable[[Call, Any], Any]) -> None:
        self._function = function

    async def answer(self, call: Call, failure: Any) -> Any:
        """Ask it.

        Raises:
            TypeError: It gave something else.
        """
        given = self._function(call, failure)
        if given is None:
            return None
        if isinstance(given, bytes):
            return _reply(call, 200, (("content-type", "application/octet-stream"),), given)
        if isinstance(given, str):
            return _reply(call, 200, (("content-type", "text/plain; charset=utf-8"),), given.encode())
        if isinstance(given, (dict, list)):
            return _reply(call, 200, (("content-type", "application/json"),), json.dumps(given).encode())
        return call.port.adopt(given)

    def keep(self, call: Call, reply: Any) -> None:
        """There is nothing to learn."""


def _reply(call: Call, status: int, headers: Headers, body: bytes) -> Any:
    """A response of ours; the one to HEAD has no body (RFC 9110, section 9.3.2)."""
    if call.method != "HEAD":
        return call.port.reply(status, headers, body)
    answer = call.port.reply(status, headers, b"")
    answer.headers.pop("content-length", None)  # it would say how long the body of a GET is
    return answer
