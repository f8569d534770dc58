"""Rules of a script: for which requests, and what is answered to them, one after another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

from resilient_http.testing.arguments import (
    check,
    check_body,
    check_delay,
    check_error,
    check_function,
    check_headers,
    check_status,
    check_times,
)  # fmt: skip

NOT_GIVEN: Any = object()
CONNECTING = ("ConnectError", "ConnectTimeout")


class Answer:
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
        """Whether it can be given once more."""
        return self.times is None or self.given < self.times

    @property
    def is_owed(self) -> bool:
        """Whether somebody should still ask for it."""
        return self.given < (1 if self.times is None else self.times)

    def __str__(self) -> str:
        often = "from then on" if self.times is None else f"{self.times} times" if self.times > 1 else "once"
        return f"{self.text} {often} (asked for {self.given} times)"


class Rule:
    """Answers for some requests, one after another. Get one from ScriptedUpstream.on()."""

    def __init__(self, text: str, fits: Callable[[Any], bool]) -> None:
        self.text = text
        self.fits = fits
        self.answers: list[Answer] = []
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

        Raises:
            ValueError: There is no such answer; the message names the argument.
        """
        body = {"text": text, "content": content} | ({} if json is NOT_GIVEN else {"json": json})
        given = {name: value for name, value in body.items() if value is not None or name == "json"}
        check_status(status)
        check_body(given)
        check_headers(headers)

        null = given == {"json": None}  # for httpx that is no body at all

        def make(request: Any, library: Any) -> Any:
            own = {"content": b"null"} if null else given
            made = library.Response(status, headers=headers, request=request, **own)
            if null:
                made.headers.setdefault("content-type", "application/json")
            return made

        return self._add(make, str(status), times)

    then = reply

    def fail(self, error: type[Exception] | Exception, *, times: int | None = 1) -> Self:
        """Then an exception: `httpx.ConnectError`, say. What of httpx's it is, the policies know as of a real one's.

        Raises:
            ValueError: It is no exception.
        """
        check_error(error)
        name = error.__name__ if inspect.isclass(error) else type(error).__name__

        def make(request: Any, library: Any) -> Any:
            raise _failure(error, request, library)

        return self._add(make, name, times, "connect" if name in CONNECTING else "read")

    def answer(self, function: Callable[[Any], Any], *, times: int | None = None) -> Self:
        """Then what a plain function of the request gives: an httpx.Response.

        Raises:
            ValueError: It is no plain function; or, for whoever asks, it gives something else.
        """
        check_function("answer(function)", function)
        name = getattr(function, "__name__", "function")

        def make(request: Any, library: Any) -> Any:
            made = function(request)
            fits = isinstance(made, library.Response)
            check(f"answer({name})", made, f"it is to give a Response of {library.__name__}'s", fits=fits)
            return made

        return self._add(make, name, times)

    def delay(self, seconds: float) -> Self:
        """Have the answer that is added next come so late; no later than the attempt waits, then as a ReadTimeout.

        Raises:
            ValueError: It is no time, or there is one already.
        """
        check_delay(seconds)
        if self._delay:
            message = f"delay(seconds={seconds!r}): there is one of {self._delay:g} s already; an answer comes first"
            raise ValueError(message)
        self._delay = seconds
        return self

    def _add(self, make: Callable[[Any, Any], Any], text: str, times: int | None, phase: str = "read") -> Self:
        check_times(times)
        if self.answers and self.answers[-1].times is None:
            message = f"{self.text}: {self.answers[-1].text} is given from then on (times=None), so nothing comes after"
            raise ValueError(message)
        late = f" after {self._delay:g} s" if self._delay else ""
        self.answers.append(Answer(make, text + late, self._delay, times, phase))
        self._delay = 0.0
        return self

    def __str__(self) -> str:
        return f"{self.text}: {', '.join(map(str, self.answers)) or 'no answer'}"


def _failure(error: type[Exception] | Exception, request: Any, library: Any) -> Exception:
    if isinstance(error, Exception):
        return error
    kind: Any = error
    if error.__module__.partition(".")[0] in ("httpx", "httpx2"):
        kind = getattr(library, error.__name__)  # the one of whoever asks
    of_a_request = issubclass(kind, library.RequestError)
    made: Exception = kind("scripted", request=request) if of_a_request else kind("scripted")
    return made
