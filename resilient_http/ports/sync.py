"""The sync port: its methods never suspend, so a sync client drives a call with a single `send(None)`."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any, Self, TypeVar

from resilient_http.call import Admission, Attempt
from resilient_http.engines.backend import Backend
from resilient_http.engines.body import KEPT, in_memory, in_time, sync_body
from resilient_http.engines.drip import SyncDrip
from resilient_http.engines.exchange import failed, received, request_for
from resilient_http.engines.pool import EnginePool, is_instrumented
from resilient_http.engines.reaper import OpenStream
from resilient_http.engines.sync_network import sever
from resilient_http.engines.threads import Threads
from resilient_http.errors import ForeignAwait, Saturated
from resilient_http.events import Hub, StreamReclaimed
from resilient_http.ports.beside import Question, beside
from resilient_http.ports.lanes import Lanes
from resilient_http.ports.messages import Messages
from resilient_http.ports.sync_race import SyncRace
from resilient_http.scope import Cancellation
from resilient_http.state.concurrency import DEFAULT, ConcurrencyLimit
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.race import FIRST, HEDGE

T = TypeVar("T")

LOOPLESS = frozenset({  # what anyio, sniffio, asyncio and trio raise where there is no event loop
    "NoEventLoopError", "AsyncLibraryNotFoundError", "no running event loop", "must be called from async context",
})  # fmt: skip
LANES = 64  # threads for hedges; when all are busy, calls run without


class SyncPort(Messages):
    """Waits by blocking the thread. Thread-safe.

    Args:
        backend: httpx or httpx2.
        hub: Where to tell that a stream was reclaimed.
        engine: A transport of the user's to send everything through, or None for one of ours per endpoint.
    """

    def __init__(self, backend: Backend, hub: Hub, engine: Any = None) -> None:
        self.is_async = False
        self.rng = random.Random()
        self.now = time.monotonic
        self.wall_now = time.time
        self.engines = EnginePool(backend, is_async=False)
        self._threads = Threads(LANES)
        super().__init__(backend)
        self._hub = hub
        self._engine = engine
        self._addressed = isinstance(engine, backend.module.HTTPTransport)
        self._body = sync_body(backend.module)

    def over(self, engine: Any) -> Self:
        """A port like this one that sends everything through a transport of the user's."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other._engine = engine
        other._addressed = isinstance(engine, self._backend.module.HTTPTransport)
        return other

    def race(
        self,
        run: Callable[[Attempt], Awaitable[Any]],
        first: Attempt,
        delay: float,
        hedge: Callable[..., Attempt | None],
        good: Callable[[Any], bool],
        *,
        cuttable: bool = True,
    ) -> Coroutine[Any, Any, tuple[Any, BaseException | None, bool]]:
        """Run the first here and the hedge in a thread of ours; both there, where we could not cut the first."""
        if self._engine is None and cuttable:
            return SyncRace(run, drive, first, hedge, good, self._threads).decide(first.started + delay)
        return self._race_in_threads(run, first, delay, hedge, good)

    async def _race_in_threads(
        self,
        run: Callable[[Attempt], Awaitable[Any]],
        first: Attempt,
        delay: float,
        hedge: Callable[..., Attempt | None],
        good: Callable[[Any], bool],
    ) -> tuple[Any, BaseException | None, bool]:
        lanes = Lanes(self._threads, lambda attempt: drive(run(attempt)), good)  # type: ignore[arg-type]
        if not lanes.start(FIRST, first):
            return await run(first), None, False
        try:
            if not lanes.first_ended.wait(delay):
                second = hedge()
                if second is not None and not lanes.start(HEDGE, second):
                    second.end(self.now(), Saturated("no thread for a hedge", upstream=second.call.upstream))
            lanes.decided.wait()
        finally:
            lanes.leave()  # decided, or interrupted: whoever still runs is not waited for
        return *lanes.race.outcome, lanes.race.winner == HEDGE

    async def sleep(self, seconds: float, cancellation: Cancellation | None = None) -> None:
        """Block for so long."""
        if cancellation is None:
            time.sleep(seconds)  # noqa: ASYNC251 - this port never suspends; the thread is the caller's own
        else:
            cancelled = threading.Event()
            with cancellation.listening(cancelled.set):
                cancelled.wait(seconds)

    async def linger(self, attempt: Attempt, seconds: float) -> None:
        """Block for so long, or until it has lost its race, or its caller goes away."""
        grip = attempt.grip
        if grip is None:
            await self.sleep(seconds, attempt.call.cancellation)
            return
        here, there = socket.socketpair()  # what it can be cut at, as at the socket of its endpoint
        with here, there, self._severed(attempt, here):
            here.settimeout(max(0.001, seconds))
            if grip.take(here):
                with suppress(OSError):
                    here.recv(1)
                grip.release()

    def _severed(self, attempt: Attempt, sock: socket.socket) -> AbstractContextManager[None]:
        cancellation = attempt.call.cancellation
        return nullcontext() if cancellation is None else cancellation.listening(partial(sever, sock))

    def slowed(self, attempt: Attempt, reply: Any, rate: float) -> int:
        """Put a drip between the network and its reader, where the user streams it."""
        if not isinstance(reply.stream, self._body):
            return len(self.body(reply) or b"")
        reply.stream.slow(lambda stream: SyncDrip(stream, attempt, rate, self._backend, self._linger_now))
        return 0

    def _linger_now(self, attempt: Attempt, seconds: float) -> None:
        drive(self.linger(attempt, seconds))

    async def acquire(
        self,
        limit: ConcurrencyLimit,
        wait: float,
        cancellation: Cancellation | None = None,
        priority: str = DEFAULT,
    ) -> Admission:
        """Block until a permit comes."""
        granted = threading.Event()
        ticket = limit.join_queue(granted.set, priority)
        if ticket is None:
            return "queue full"
        if ticket.granted:
            return "granted"
        try:
            with nullcontext() if cancellation is None else cancellation.listening(granted.set):
                granted.wait(None if wait == float("inf") else max(0.0, wait))
        except BaseException:
            # KeyboardInterrupt: leave no permit behind.
            if not limit.abandon(ticket):
                limit.release(priority)
            raise
        if not limit.abandon(ticket):
            return "granted"
        return "cancelled" if cancellation is not None and cancellation.requested else "too late"

    async def send(self, attempt: Attempt) -> Any:
        """Send and, unless the user streams it, read the whole body."""
        endpoint = attempt.chosen
        watched = self._engine is None
        engine = self._engine or self.engines.engine(endpoint)
        if self.engines.retired:
            self.engines.drain_retired()
        request = request_for(attempt, endpoint, watched=watched, addressed=self._addressed)
        try:
            response = engine.handle_request(request)
            received(attempt, response)
            if in_memory(response, self._backend):
                pass  # as a mock's is: there is nothing to read, and nothing to hold a permit for
            elif attempt.call.streamed:
                attempt.streaming, attempt.expires = True, attempt.call.expires
                held = OpenStream(attempt, response.stream.close, None, self._tell_reclaimed)
                response.stream = self._body(response.stream, attempt, self._backend, held)
            else:
                response.stream = self._backend.module.ByteStream(self._read(response.stream, attempt))
        except BaseException as exc:
            failed(attempt, exc, self._backend, watched=watched)
            raise
        return response

    def _read(self, stream: Any, attempt: Attempt) -> bytes:
        chunks = []
        try:
            for chunk in stream:
                in_time(attempt, self._backend)
                chunks.append(chunk)
        finally:
            stream.close()
        return b"".join(chunks)

    async def fetch(self, store: Any, ask: Callable[[], Any], within: float) -> Any:
        """Block for as long as it takes, and no longer than `within`."""
        done = threading.Event()
        question = Question(ask, done.set)
        if beside(store).ask(question):
            done.wait(within)
        return question.answer

    async def bounded(self, seconds: float, work: Coroutine[Any, Any, T], late: Callable[[], Exception]) -> T:
        """Run it to its end: what blocks a thread cannot be cut.

        Raises:
            ForeignAwait: It looked for an event loop: it awaited something that is not its port.
        """
        try:
            return await work
        except RuntimeError as exc:
            if type(exc).__name__ in LOOPLESS or str(exc) in LOOPLESS:
                raise _foreign(f"what needs an event loop ({exc})") from exc
            raise

    async def discard(self, reply: Any) -> None:
        """Close a body that nobody will read."""
        if isinstance(reply.stream, self._body):
            reply.stream.close()

    async def set_aside(self, reply: Any, within: float) -> bool:
        """Read the rest of a streamed response, if it is small and comes in time, and give its connection back."""
        if not isinstance(reply.stream, self._body):
            return True
        reply.stream.expire(self.now() + within)
        kept, size = [], 0
        try:
            for chunk in reply.stream:
                kept.append(chunk)
                size += len(chunk)
                if size > KEPT:
                    return False
        except self._backend.module.HTTPError:
            return False
        finally:
            reply.stream.close()
        reply.stream = self._backend.module.ByteStream(b"".join(kept))
        return True

    def instrumented(self) -> bool:
        """Whether OpenTelemetry's instrumentation sees our engine."""
        module = self._backend.module
        return is_instrumented(module) and (self._engine is None or isinstance(self._engine, module.HTTPTransport))

    def _tell_reclaimed(self, attempt: Attempt, why: str) -> None:
        self._hub.announce(StreamReclaimed(attempt.call.upstream, attempt.chosen.url, why))

    def connections_to(self, endpoint: Endpoint) -> int:
        """How many are open, idle ones included."""
        return self.engines.connections_to(endpoint)

    def retire(self, endpoint: Endpoint) -> None:
        """Have the connections of an endpoint that is gone closed with the next call."""
        self.engines.retire(endpoint)

    def close(self) -> None:
        """Close all connections."""
        for engine in self.engines.take_all():
            engine.close()


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends.

    Raises:
        ForeignAwait: It did suspend: a policy or middleware awaited something that is not its port.
    """
    try:
        foreign = coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise _foreign(repr(foreign))


def _foreign(what: str) -> ForeignAwait:
    message = (
        f"something awaited {what} in a sync client; a policy or middleware may await only proceed() and its "
        "port, as in `await call.port.sleep(1)`"
    )
    return ForeignAwait(message)
