"""The async port: waits on the event loop, asyncio's or trio's."""

from __future__ import annotations

import asyncio
import math
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Self, TypeVar

import anyio

from resilient_http.call import Admission, Attempt, Call
from resilient_http.engines.async_network import abandon
from resilient_http.engines.backend import Backend
from resilient_http.engines.body import (
    KEPT,
    abandoned_unless_exhausted,
    async_body,
    in_memory,
    in_time,
    late,
)
from resilient_http.engines.drip import AsyncDrip
from resilient_http.engines.exchange import failed, received, request_for
from resilient_http.engines.loop import has_ended, running_loop, waker
from resilient_http.engines.pool import EnginePool, aiohttp_engine, is_instrumented
from resilient_http.engines.reaper import OpenStream
from resilient_http.engines.time_limit import unless_cancelled, within
from resilient_http.errors import SettingsError
from resilient_http.events import Hub, StreamReclaimed
from resilient_http.ports.async_race import AsyncRace
from resilient_http.ports.beside import Question, beside
from resilient_http.ports.loops import close_with_loop
from resilient_http.ports.messages import Messages
from resilient_http.scope import Cancellation
from resilient_http.state.concurrency import DEFAULT, ConcurrencyLimit
from resilient_http.state.endpoint import Endpoint

T = TypeVar("T")


class AsyncPort(Messages):
    """Waits by suspending the task. One port serves any number of event loops; engines are kept per loop.

    Args:
        backend: httpx or httpx2.
        hub: Where to tell that a stream was reclaimed.
        engine: A transport of the user's to send everything through, or None for one of ours per endpoint and loop.
        kind: What ours are made of, "default" or "aiohttp".

    Raises:
        SettingsError: That is not installed.
    """

    def __init__(self, backend: Backend, hub: Hub, engine: Any = None, *, kind: str = "default") -> None:
        self.is_async = True
        self.rng = random.Random()
        self.now = time.monotonic
        self.wall_now = time.time
        super().__init__(backend)
        self._hub = hub
        self._engine = engine
        self._kind = kind
        if kind == "aiohttp":
            aiohttp_engine()
        self._addressed = isinstance(engine, backend.module.AsyncHTTPTransport)
        self._body = async_body(backend.module)
        self._pools: weakref.WeakKeyDictionary[Any, EnginePool] = weakref.WeakKeyDictionary()
        # The loop that asked last, and its pool.
        self._newest: tuple[Callable[[], Any], EnginePool | None] = (lambda: None), None

    def over(self, engine: Any) -> Self:
        """A port like this one that sends everything through a transport of the user's."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other._engine = engine
        other._addressed = isinstance(engine, self._backend.module.AsyncHTTPTransport)
        return other

    @property
    def engines(self) -> EnginePool:
        """The engines of the running loop; they are closed when it ends."""
        loop = running_loop()
        newest, pool = self._newest
        if pool is not None and newest() is loop:
            return pool
        pool = self._pools.get(loop)
        if pool is None:
            if self._kind == "aiohttp" and not isinstance(loop, asyncio.AbstractEventLoop):
                message = 'engine is "aiohttp", which runs on asyncio only; on trio leave `engine` at "default"'
                raise SettingsError(message, path="engine", value=self._kind)
            # Connections know their loop, so these entries would keep each other alive.
            for ended in filter(has_ended, list(self._pools)):
                self._pools.pop(ended, None)
            pool = self._pools.setdefault(loop, EnginePool(self._backend, is_async=True, kind=self._kind))
        self._newest = weakref.ref(loop), pool
        return pool

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
        """Run both in this loop; the loser is cancelled."""
        race = AsyncRace(run, first, delay, hedge, good)
        outcome = await race.decide()
        for response in race.unread:
            await self.set_aside(response, 0.0)
        return outcome

    async def sleep(self, seconds: float, cancellation: Cancellation | None = None) -> None:
        """Let other tasks run for so long. Who awaits the call sees to its cancellation."""
        await anyio.sleep(seconds)

    async def wait_for(self, event: anyio.Event, seconds: float) -> None:
        """Until it is set, for so long at most."""
        with anyio.move_on_after(seconds):
            await event.wait()

    async def linger(self, attempt: Attempt, seconds: float) -> None:
        """Let other tasks run for so long; whoever wins a race cancels this."""
        await self.sleep(seconds, attempt.call.cancellation)

    def slowed(self, attempt: Attempt, reply: Any, rate: float) -> int:
        """Put a drip between the network and its reader, where the user streams it."""
        if not isinstance(reply.stream, self._body):
            return len(self.body(reply) or b"")
        reply.stream.slow(lambda stream: AsyncDrip(stream, attempt, rate, self._backend, self.linger))
        return 0

    async def acquire(
        self,
        limit: ConcurrencyLimit,
        wait: float,
        cancellation: Cancellation | None = None,
        priority: str = DEFAULT,
    ) -> Admission:
        """Suspend until a permit comes; it may come from another thread or loop."""
        granted = anyio.Event()
        ticket = limit.join_queue(waker(granted.set), priority)
        if ticket is None:
            return "queue full"
        if ticket.granted:
            return "granted"
        try:
            await self.wait_for(granted, wait)
        except BaseException:
            # Cancelled while waiting: leave no permit behind.
            if not limit.abandon(ticket):
                limit.release(priority)
            raise
        return "too late" if limit.abandon(ticket) else "granted"

    async def send(self, attempt: Attempt) -> Any:
        """Send and, unless the user streams it, read the whole body."""
        endpoint = attempt.chosen
        request = request_for(attempt, endpoint, watched=self._engine is None, addressed=self._addressed)
        try:
            if self._engine is None:
                engines = self.engines
                if not engines.closes_with_loop:
                    await close_with_loop(engines)
                if engines.retired:
                    engines.drain_retired()
                # Our own clamps its waits itself; only a body that the user generates may wait beyond that.
                exchange = self._exchange if attempt.call.replayable else self._cut_off
                response = await exchange(engines.engine(endpoint), request, attempt)
            else:
                response = await self._cut_off(self._engine, request, attempt)
        except BaseException as exc:
            failed(attempt, exc, self._backend, watched=self._engine is None)
            raise
        return response

    async def _exchange(self, engine: Any, request: Any, attempt: Attempt) -> Any:
        response = await engine.handle_async_request(request)
        received(attempt, response)
        if in_memory(response, self._backend):
            pass  # as a mock's is: there is nothing to read, and nothing to hold a permit for
        elif attempt.call.streamed:
            attempt.streaming, attempt.expires = True, attempt.call.expires
            ours = self._engine is None
            free = partial(abandon, response.stream) if ours else _nothing
            held = OpenStream(attempt, free, waker, self._tell_reclaimed)
            response.stream = self._body(response.stream, attempt, self._backend, held, clamped=ours)
        else:
            response.stream = self._backend.module.ByteStream(await self._read(response.stream, attempt))
        return response

    async def _read(self, stream: Any, attempt: Attempt) -> bytes:
        if hasattr(stream, "whole"):
            whole: bytes = await stream.whole()  # in time by itself
            return whole
        content, chunks = [], aiter(stream)
        try:
            with abandoned_unless_exhausted(chunks):
                async for chunk in chunks:
                    in_time(attempt, self._backend)
                    content.append(chunk)
        finally:
            await stream.aclose()
        return b"".join(content)

    def _cut_off(self, engine: Any, request: Any, attempt: Attempt) -> Coroutine[Any, Any, Any]:
        """Through what waits where we cannot clamp it: cancelled from outside when time is up."""
        left = attempt.expires - self.now()
        work = self._exchange(engine, request, attempt)
        return work if left == math.inf else within(left, work, self._late)

    def _late(self) -> Exception:
        return late(self._backend)

    def guarded(
        self, call: Call, work: Coroutine[Any, Any, T], *, grace: float | None = None
    ) -> Coroutine[Any, Any, T]:
        """`work` for a call, cut when its inbound caller goes away.

        Args:
            call: The call.
            work: What is done for it.
            grace: Where code of the user's takes part, which may wait where we cannot clamp it: the work is cut so many
                seconds after the call's deadline.
        """
        dress = self._backend.dress
        if grace is not None and call.expires < math.inf:
            work = within(max(0.0, call.expires - self.now()) + grace, work, lambda: dress(call.exceeded()))
        if call.cancellation is not None:
            work = unless_cancelled(call.cancellation, work, lambda: dress(call.cancelled()))
        return work

    async def fetch(self, store: Any, ask: Callable[[], Any], within: float) -> Any:
        """Suspend for as long as it takes, and no longer than `within`."""
        done = anyio.Event()
        question = Question(ask, waker(done.set))
        if beside(store).ask(question):
            with anyio.move_on_after(within):
                await done.wait()
        return question.answer

    async def bounded(self, seconds: float, work: Coroutine[Any, Any, T], late: Callable[[], Exception]) -> T:
        """Await it; cancel it when it takes longer."""
        return await (work if seconds == math.inf else within(max(0.0, seconds), work, late))

    async def discard(self, reply: Any) -> None:
        """Close a body that nobody will read."""
        if isinstance(reply.stream, self._body):
            await reply.stream.aclose()

    async def set_aside(self, reply: Any, within: float) -> bool:
        """Read the rest of a streamed response, if it is small and comes in time, and give its connection back."""
        if not isinstance(reply.stream, self._body):
            return True
        reply.stream.expire(self.now() + within)
        kept, size = [], 0
        try:
            async for chunk in reply.stream:
                kept.append(chunk)
                size += len(chunk)
                if size > KEPT:
                    return False
        except self._backend.module.HTTPError:
            return False
        finally:
            await reply.stream.aclose()
        reply.stream = self._backend.module.ByteStream(b"".join(kept))
        return True

    def instrumented(self) -> bool:
        """Whether OpenTelemetry's instrumentation sees our engine."""
        module = self._backend.module
        ours = self._engine is None and self._kind == "default"
        return is_instrumented(module) and (ours or isinstance(self._engine, module.AsyncHTTPTransport))

    def _tell_reclaimed(self, attempt: Attempt, why: str) -> None:
        self._hub.announce(StreamReclaimed(attempt.call.upstream, attempt.chosen.url, why))

    def connections_to(self, endpoint: Endpoint) -> int:
        """How many are open in all loops, idle ones included. From any thread."""
        return sum(pool.connections_to(endpoint) for pool in list(self._pools.values()))

    def retire(self, endpoint: Endpoint) -> None:
        """Have the connections of an endpoint that is gone closed with the next call of each loop."""
        for pool in list(self._pools.values()):
            pool.retire(endpoint)

    async def aclose(self) -> None:
        """Close all connections of the running loop."""
        for engine in self.engines.take_all():
            await engine.aclose()


def _nothing() -> None:
    """The connections of a transport of the user's are its own; it may have its reasons."""
