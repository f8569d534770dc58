"""The simulated port: any number of calls on a virtual clock, through the real policies and state.

Nothing here waits, and nothing is random but for the seed: the same seed gives the same run, to the last digit. A call
is a coroutine that is spawned at an instant; run() lets the clock jump from one event to the next.

    port = SimulatedPort(respond, seed=1)
    port.spawn(some_call(), at=0.5)
    port.run()
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from types import coroutine
from typing import Any, TypeVar

from resilient_http.call import Admission, Attempt, Call, Headers
from resilient_http.scope import Cancellation
from resilient_http.state.concurrency import DEFAULT, ConcurrencyLimit
from resilient_http.state.outcome import Fault
from resilient_http.state.race import FIRST, HEDGE, Race

T = TypeVar("T")


@dataclass(slots=True)
class SimulatedReply:
    """An answer of a simulated endpoint."""

    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class SimulatedFailure(Exception):
    """An attempt of a simulated call ended without an answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


Respond = Callable[[Attempt, float], tuple[float, SimulatedReply | Fault]]
"""What an endpoint does with an attempt at an instant: after so many seconds (infinity: never), this."""


class _Task:
    """A coroutine, and the number of the one heap entry that may resume it."""

    __slots__ = ("close", "due", "resume")

    def __init__(self, coroutine: Coroutine[float, None, Any]) -> None:
        self.resume = coroutine.send
        self.close = coroutine.close
        self.due = 0


@coroutine
def _until(instant: float) -> Generator[float, None, None]:
    yield instant


class SimulatedPort:
    """Runs calls on a virtual clock. Single-threaded.

    Args:
        respond: What the endpoints do.
        seed: Of all randomness.
    """

    def __init__(self, respond: Respond, *, seed: int = 0) -> None:
        self.is_async = True
        self.rng = random.Random(seed)
        self._respond = respond
        self._clock = 0.0
        self._order = itertools.count(1).__next__
        self._heap: list[tuple[float, int, _Task]] = []
        self._running: _Task | None = None

    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._clock

    def wall_now(self) -> float:
        """The same: the simulated world began at the epoch."""
        return self._clock

    async def race(
        self,
        run: Callable[[Attempt], Awaitable[Any]],
        first: Attempt,
        delay: float,
        hedge: Callable[..., Attempt | None],
        good: Callable[[Any], bool],
        *,
        cuttable: bool = True,
    ) -> tuple[Any, BaseException | None, bool]:
        """Run both as simulated tasks; the loser is cut where it waits."""
        race, caller = Race(good), self._current
        entrants: list[tuple[Attempt, _Task]] = []

        async def lane(number: int, attempt: Attempt) -> None:
            response: Any = None
            error: Exception | None = None
            try:
                response = await run(attempt)
            except Exception as exc:  # noqa: BLE001 - raised again where the call waits
                error = exc
            race.finish(number, response, error)
            if race.winner is not None:
                self._schedule(caller, self._clock)

        def enter(number: int, attempt: Attempt) -> None:
            entrants.append((attempt, _Task(lane(number, attempt))))
            self._schedule(entrants[-1][1], self._clock)

        enter(FIRST, first)
        try:
            await _until(self._clock + delay)
            second = None if race.winner is not None else hedge()
            if second is not None:
                race.join()
                enter(HEDGE, second)
            if race.winner is None:
                await _until(math.inf)
        finally:
            for number, (attempt, task) in enumerate(entrants):
                attempt.lost = number != race.winner and not race.ended(number)
                task.due = 0  # what would have resumed it does not
                task.close()
        return *race.outcome, race.winner == HEDGE

    async def sleep(self, seconds: float, cancellation: Cancellation | None = None) -> None:
        """Resume when the clock has come so far."""
        await _until(self._clock + max(0.0, seconds))

    async def acquire(
        self,
        limit: ConcurrencyLimit,
        wait: float,
        cancellation: Cancellation | None = None,
        priority: str = DEFAULT,
    ) -> Admission:
        """Queue until a permit comes or the clock has passed `wait`."""
        task = self._current
        ticket = limit.join_queue(lambda: self._schedule(task, self._clock), priority)
        if ticket is None:
            return "queue full"
        if not ticket.granted:
            try:
                await _until(self._clock + max(0.0, wait))
            except BaseException:
                # Cancelled while waiting: leave no permit behind.
                if not limit.abandon(ticket):
                    limit.release(priority)
                raise
        return "granted" if ticket.granted or not limit.abandon(ticket) else "too late"

    @coroutine
    def send(self, attempt: Attempt) -> Generator[float, None, Any]:
        """Ask the simulated endpoint, and keep to the attempt's deadline."""
        delay, answer = self._respond(attempt, self._clock)
        attempt.sent = answer is not Fault.UNREACHABLE
        until = self._clock + delay if delay > 0.0 else self._clock
        if until > attempt.expires:
            until, answer = max(self._clock, attempt.expires), Fault.TIMEOUT
        if until == math.inf:
            message = "a simulated call waits for ever: give it a deadline"
            raise RuntimeError(message)
        try:
            yield until  # as _until() does, and one object less for each attempt
        except BaseException:
            attempt.fault = Fault.CANCELLED
            raise
        if isinstance(answer, Fault):
            attempt.fault = answer
            raise SimulatedFailure(answer)
        attempt.answer(answer.status_code)
        return answer

    def instrumented(self) -> bool:
        """No."""
        return False

    def readable(self, call: Call, reply: Any) -> Any:
        """The reply itself."""
        return reply

    def fault_of(self, error: BaseException) -> Fault:
        """What the simulated endpoint did."""
        return error.fault if isinstance(error, SimulatedFailure) else Fault.FOREIGN

    def request(self, method: str, url: str, headers: Headers) -> str:
        """Its URL, so that an endpoint can tell it from others."""
        return url

    def reply(self, status: int, headers: Headers, body: bytes) -> SimulatedReply:
        """An answer that no endpoint gave."""
        return SimulatedReply(status, dict(headers), body)

    async def linger(self, attempt: Attempt, seconds: float) -> None:
        """Resume when the clock has come so far."""
        await _until(self._clock + max(0.0, seconds))

    def slowed(self, attempt: Attempt, reply: Any, rate: float) -> int:
        """All bodies are here."""
        return len(reply.body)

    def failure(self, fault: Fault, why: str, *, sent: bool) -> Exception:
        """What a simulated endpoint does not give."""
        return SimulatedFailure(fault)

    def adopt(self, given: Any) -> SimulatedReply:
        """A copy of it."""
        if not isinstance(given, SimulatedReply):
            message = f"a simulated reply is needed, not {type(given).__name__}"
            raise TypeError(message)
        return SimulatedReply(given.status_code, dict(given.headers), given.body)

    def body(self, reply: Any) -> bytes | None:
        """Its body."""
        found: bytes = reply.body
        return found

    def lines(self, message: Any) -> Headers:
        """Its header lines."""
        return tuple((name.lower(), value) for name, value in message.headers.items())

    async def fetch(self, store: Any, ask: Callable[[], Any], within: float) -> Any:
        """At once."""
        return ask()

    def beside(self, store: Any, tell: Callable[[], Any]) -> None:
        """At once."""
        tell()

    async def bounded(self, seconds: float, work: Coroutine[Any, Any, T], late: Callable[[], Exception]) -> T:
        """Run it to its end: nothing is cut on the virtual clock."""
        return await work

    async def discard(self, reply: Any) -> None:
        """Nothing is held."""

    async def set_aside(self, reply: Any, within: float) -> bool:
        """Nothing is held."""
        return True

    @property
    def _current(self) -> _Task:
        if self._running is None:
            message = "a simulated call runs only inside run()"
            raise RuntimeError(message)
        return self._running

    def spawn(self, call: Coroutine[Any, None, Any], *, at: float = 0.0) -> None:
        """Start a coroutine at an instant."""
        self._schedule(_Task(call), at)

    def start(self, call: Coroutine[Any, None, Any], *, at: float) -> None:
        """Run all that comes before an instant, and then a coroutine at once. Only from outside of run()."""
        self.run(until=at)
        self._clock = max(self._clock, at)
        self._resume(_Task(call))

    def run(self, *, until: float = math.inf) -> None:
        """Run until nothing is left to do, or the clock has come to `until`. What a coroutine raises is raised here."""
        heap, pop, resume = self._heap, heapq.heappop, self._resume
        while heap and heap[0][0] <= until:
            instant, number, task = pop(heap)
            if number != task.due:
                continue  # it was woken before
            self._clock = max(self._clock, instant)
            resume(task)

    def _resume(self, task: _Task) -> None:
        self._running = task
        try:
            instant = task.resume(None)
        except StopIteration:
            return
        finally:
            self._running = None
        task.due = number = self._order()
        heapq.heappush(self._heap, (instant, number, task))

    def _schedule(self, task: _Task, instant: float) -> None:
        task.due = number = self._order()
        heapq.heappush(self._heap, (instant, number, task))
