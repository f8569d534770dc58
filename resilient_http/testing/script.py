"""The scripted upstream: it answers as the test says, in the place of the network, below the real policies.

Laws
    1. A request gets the next answer of the first rule that it fits and that has one left; what `on()` made comes
       before what fits any request.
    2. What fits none, or finds no answer left, is an error of the test's: Unscripted, which nothing repeats or hides.
    3. At the end an answer that was never asked for is one too, unless the test says otherwise.
"""

from __future__ import annotations

import importlib
import json as json_module
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from resilient_http.testing.arguments import check_function, check_method, check_upstream, pattern_of
from resilient_http.testing.rule import Answer, Rule

if TYPE_CHECKING:
    from resilient_http.testing.clock import VirtualClock


class Unscripted(AssertionError):
    """A request for which the test has scripted no answer."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as the upstream got it: one for each attempt.

    Attributes:
        method: Its method.
        url: Its URL, the logical one.
        path: Its path, as it is sent, without the query.
        host: The `Host` that it was sent with: the endpoint's.
        headers: Its header fields; httpx.Headers, or httpx2's.
        content: Its body.
        at: Monotonic seconds, virtual where the clock is.
    """

    method: str
    url: str
    path: str
    host: str
    headers: Any
    content: bytes
    at: float

    def json(self) -> Any:
        """Its body, as JSON."""
        return json_module.loads(self.content)


class ScriptedUpstream(Rule):
    """An upstream, or all of them, as a transport of httpx's or httpx2's, sync and async. Thread-safe.

    It is a rule itself: for requests that fit none of on()'s.

    Attributes:
        requests: What it got, in order.
        unscripted: What it got and had no answer for.
    """

    def __init__(self) -> None:
        super().__init__("any request", lambda _: True)
        self.requests: list[Sent] = []
        self.unscripted: list[str] = []
        self._rules: list[Rule] = []
        self._clock: Callable[[], VirtualClock | None] = lambda: None
        self._lock = threading.Lock()

    def on(
        self,
        method: str | None = None,
        path: str | None = None,
        *,
        upstream: str | None = None,
        matching: Callable[[Any], bool] | None = None,
    ) -> Rule:
        """A rule of its own for some requests.

        Args:
            method: Of them; None for any.
            path: As "/charges/{id}" or "/charges/*", as routes are written, without a query; None for any.
            upstream: The name of the upstream, or the host, that is called; None for any.
            matching: A plain function of the request that says whether it fits; None for any.

        Raises:
            ValueError: One of them is none; the message names it.
        """
        check_method(method)
        check_upstream(upstream)
        if matching is not None:
            check_function("on(matching)", matching)
        pattern = None if path is None else pattern_of(path)

        def fits(request: Any) -> bool:
            return (
                (method is None or request.method == method.upper())
                and (upstream is None or request.url.host == upstream.lower())
                and (pattern is None or pattern.fullmatch(_path_of(request)) is not None)
                and (matching is None or matching(request))
            )

        at = "" if upstream is None else f" at {upstream}"
        which = "" if matching is None else f" matching {getattr(matching, '__name__', matching)}"
        rule = Rule(f"{method or '*'} {path or '*'}{at}{which}", fits)
        self._rules.append(rule)
        return rule

    def by(self, clock: Callable[[], VirtualClock | None]) -> None:
        """What its delays go by, asked each time; real time where it gives None."""
        self._clock = clock

    def verify(self, *, all_asked: bool = True) -> None:
        """Raise what is wrong with what was asked.

        Raises:
            AssertionError: It is.
        """
        if self.unscripted:
            raise Unscripted(self._why(self.unscripted[0], len(self.unscripted)))
        owed = [f"{rule.text}: {each}" for rule in self._all() for each in rule.answers if each.is_owed]
        if all_asked and owed:
            message = f"scripted, and not asked for: {'; '.join(owed)} (all_asked=False lets that be)"
            raise AssertionError(message)

    # As a transport

    def handle_request(self, request: Any) -> Any:
        """One attempt."""
        request.read()
        answer = self._next(request)
        seconds, late = _wait(answer, request)
        clock = self._clock()
        if seconds:
            (time.sleep if clock is None else clock.sleep)(seconds)
        return _made(answer, request, late=late)

    async def handle_async_request(self, request: Any) -> Any:
        """One attempt."""
        await request.aread()
        answer = self._next(request)
        seconds, late = _wait(answer, request)
        clock = self._clock()
        if seconds:
            await (anyio.sleep if clock is None else clock.sleep_in_task)(seconds)
        return _made(answer, request, late=late)

    def close(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _next(self, request: Any) -> Answer:
        clock = self._clock()
        headers = type(request.headers)(request.headers)
        at = time.monotonic() if clock is None else clock.now()
        host = headers.get("host", "")
        sent = Sent(request.method, str(request.url), _path_of(request), host, headers, request.content, at)
        with self._lock:
            self.requests.append(sent)
            for rule in self._all():
                answer = next((each for each in rule.answers if each.is_left), None)
                if answer is not None and rule.fits(request):
                    answer.given += 1
                    return answer
            what = f"{request.method} {request.url}"
            self.unscripted.append(what)
        raise Unscripted(self._why(what))

    def _why(self, what: str, times: int = 1) -> str:
        known = "; ".join(str(rule) for rule in self._all() if rule.answers) or "nothing"
        often = f" (and {times - 1} more)" if times > 1 else ""
        return f"no answer is scripted for {what}{often}; scripted: {known}"

    def _all(self) -> list[Rule]:
        return [*self._rules, self]

    def __repr__(self) -> str:
        return f"<ScriptedUpstream {len(self.requests)} requests>"


def _path_of(request: Any) -> str:
    path: bytes = request.url.raw_path.partition(b"?")[0]
    return path.decode("ascii")


def _library_of(request: Any) -> Any:
    """httpx, or httpx2."""
    return importlib.import_module(type(request).__module__.partition(".")[0])


def _wait(answer: Answer, request: Any) -> tuple[float, bool]:
    """How long to wait, and whether that is all that the attempt waits."""
    limit = (request.extensions.get("timeout") or {}).get(answer.phase)
    if limit is None or answer.delay <= limit:
        return answer.delay, False
    return float(limit), True


def _made(answer: Answer, request: Any, *, late: bool) -> Any:
    library = _library_of(request)
    if late:
        kind = library.ConnectTimeout if answer.phase == "connect" else library.ReadTimeout
        raise kind(f"scripted to take {answer.delay:g} s", request=request)
    return answer.make(request, library)
