"""The scripted upstream: it answers as the test says, in the place of the network, below the real policies.

Laws
    1. A request gets the next answer of the first rule that it fits and that has one left; what `on()` made comes
       before what fits any request.
    2. What fits none, or finds no answer left, is an error of the test's: Unscripted, which nothing repeats or hides.
    3. At the end an answer that was never asked for is one too, unless the test says otherwise.
"""

from __future__ import annotations

import importlib
import inspect
import json as json_module
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from resilient_http.settings.templates import ANY_METHOD, parse_template

if TYPE_CHECKING:
    from resilient_http.testing.clock import VirtualClock

NOT_GIVEN: Any = object()
CONNECTING = ("ConnectError", "ConnectTimeout")


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


class _Answer:
    """What a rule answers with, and how often."""

    def __init__(self, make: Callable[[Any, Any], Any], text: str, delay: float, times: int | None, phase: str) -> None:
        self.make = make
        self.text = text
        self.delay = delay
        self.times = times
        self.phase = phase
        self.given = 0

    @property
    def is_left(self) -> bool:
        return self.times is None or self.given < self.times

    @property
    def is_owed(self) -> bool:
        return self.given < (1 if self.times is None else self.times)

    def __str__(self) -> str:
        often = "from then on" if self.times is None else f"{self.times} times" if self.times > 1 else "once"
        return f"{self.text} {often} (asked for {self.given} times)"


class Rule:
    """Answers for some requests, one after another. Get one from ScriptedUpstream.on()."""

    def __init__(self, text: str, fits: Callable[[Any], bool]) -> None:
        self.text = text
        self.fits = fits
        self.answers: list[_Answer] = []
        self._delay = 0.0

    def reply(
        self,
        status: int = 200,
        *,
        json: Any = NOT_GIVEN,
        text: str | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> Self:
        """Then an answer.

        Args:
            status: Its status.
            json, text, content: Its body, one of them.
            headers: Its header fields.
            times: How often; None for from then on.
        """
        body = {"text": text, "content": content} | ({} if json is NOT_GIVEN else {"json": json})
        given = {name: value for name, value in body.items() if value is not None or name == "json"}

        def make(request: Any, library: Any) -> Any:
            return library.Response(status, headers=headers, request=request, **given)

        return self._add(make, str(status), times)

    then = reply

    def fail(self, error: type[Exception] | Exception, *, times: int | None = 1) -> Self:
        """Then an exception: `httpx.ConnectError`, say. What of httpx's it is, the policies know as of a real one's."""
        name = error.__name__ if inspect.isclass(error) else type(error).__name__

        def make(request: Any, library: Any) -> Any:
            raise _failure(error, request, library)

        return self._add(make, name, times, "connect" if name in CONNECTING else "read")

    def answer(self, function: Callable[[Any], Any], *, times: int | None = None) -> Self:
        """Then what a plain function of the request gives: an httpx.Response."""
        return self._add(lambda request, _: function(request), getattr(function, "__name__", "function"), times)

    def delay(self, seconds: float) -> Self:
        """Have the answer that is added next come so late; no later than the attempt waits, then as a ReadTimeout."""
        self._delay = seconds
        return self

    def _add(self, make: Callable[[Any, Any], Any], text: str, times: int | None, phase: str = "read") -> Self:
        if times is not None and times < 1:
            message = f"times={times}: how often it is given, at least once; None for from then on"
            raise ValueError(message)
        if self.answers and self.answers[-1].times is None:
            message = f"{self.text}: {self.answers[-1].text} is given from then on (times=None), so nothing comes after"
            raise ValueError(message)
        late = f" after {self._delay:g} s" if self._delay else ""
        self.answers.append(_Answer(make, text + late, self._delay, times, phase))
        self._delay = 0.0
        return self

    def __str__(self) -> str:
        return f"{self.text}: {', '.join(map(str, self.answers)) or 'no answer'}"


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
            ValueError: The path cannot be understood.
        """
        pattern = None
        if path is not None:
            pattern = re.compile(parse_template(f"{ANY_METHOD} {path}").pattern, re.DOTALL)

        def fits(request: Any) -> bool:
            return (
                (method is None or request.method == method.upper())
                and (upstream is None or request.url.host == upstream)
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

    def _next(self, request: Any) -> _Answer:
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


def _wait(answer: _Answer, request: Any) -> tuple[float, bool]:
    """How long to wait, and whether that is all that the attempt waits."""
    limit = (request.extensions.get("timeout") or {}).get(answer.phase)
    if limit is None or answer.delay <= limit:
        return answer.delay, False
    return float(limit), True


def _made(answer: _Answer, request: Any, *, late: bool) -> Any:
    library = _library_of(request)
    if late:
        kind = library.ConnectTimeout if answer.phase == "connect" else library.ReadTimeout
        raise kind(f"scripted to take {answer.delay:g} s", request=request)
    return answer.make(request, library)


def _failure(error: type[Exception] | Exception, request: Any, library: Any) -> Exception:
    if isinstance(error, Exception):
        return error
    kind: Any = error
    if error.__module__.partition(".")[0] in ("httpx", "httpx2"):
        kind = getattr(library, error.__name__)  # the one of whoever asks
    of_a_request = issubclass(kind, library.RequestError)
    made: Exception = kind("scripted", request=request) if of_a_request else kind("scripted")
    return made
