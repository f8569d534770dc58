"""Beats: what is done now and then beside the calls; in threads of a sync process, in an event loop of an async one.

Laws
    1. A beat asks `due` what there is to do and how long to wait, has each work done by itself, and asks again when the
       time has passed, a work has ended, or it is woken.
    2. It keeps nobody alive and holds up nobody: its threads are daemons; in a loop there is no task but the works that
       are under way, cancelled with the loop or when it ends. It ends by itself when the owner of `due` is gone.
    3. The works see none of the context variables of the call that it began in.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from resilient_http.call import Port
from resilient_http.engines.threads import Threads
from resilient_http.ports.asynchronous import AsyncPort
from resilient_http.ports.sync import SyncPort, drive

LONGEST = 3600.0  # seconds that are waited at once
LANES = 64
ENDS_WITHIN = 1.0  # seconds that works have to end which were cancelled

Work = Callable[[Port], Coroutine[Any, Any, None]]
Due = Callable[[float], tuple[list[Work], float]]


class Beats:
    """Begins beats, through the ports that the calls of a process share.

    Args:
        sync: For those in threads.
        asynchronous: For those in event loops.
        variables: The context variables that the works see.
    """

    def __init__(self, sync: SyncPort, asynchronous: AsyncPort, variables: Context) -> None:
        self._sync = sync
        self._asynchronous = asynchronous
        self._variables = variables

    def serve(self, port: object) -> bool:
        """Whether a call through that port goes through the shared engines; else it is a mock's, or a user's."""
        return port is self._sync or port is self._asynchronous

    def begin(self, due: Due, *, threaded: bool, name: str = "health") -> ThreadBeat | LoopBeat:
        """Begin one.

        Args:
            due: A bound method, held weakly: what to do at that instant, and in how many seconds to ask again.
            threaded: Whether in threads whatever runs here; else in asyncio's running loop, where there is one.
            name: Of its thread.
        """
        if not threaded:
            with contextlib.suppress(RuntimeError):  # trio's
                return LoopBeat(self._asynchronous, self._variables, due, asyncio.get_running_loop())
        return ThreadBeat(self._sync, self._variables, due, name)


class ThreadBeat:
    """In threads.

    Attributes:
        threaded: That it is.
        alive: Whether it goes on.
        done: How many works have ended.
    """

    threaded = True

    def __init__(self, port: SyncPort, variables: Context, due: Due, name: str) -> None:
        self._port = weakref.ref(port)  # its engines know the endpoints, and those know everybody
        self._variables = variables
        # Who is told of a collection must take no lock: see architecture.md. A SimpleQueue's put() may come anywhere.
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._due = weakref.WeakMethod(due, lambda _: self.end())
        self._threads = Threads(LANES)
        self.done = 0
        self.alive = True
        try:
            threading.Thread(target=self._run, name=f"resilient-http {name}", daemon=True).start()
        except RuntimeError:  # Python is about to exit
            self.alive = False

    def wake(self) -> None:
        """Ask again now."""
        self._woken.put(None)

    def end(self) -> None:
        """Begin no more works. Does not wait for those under way."""
        self.alive = False
        self._woken.put(None)

    async def ended(self) -> None:
        """At once: works are left behind."""

    def _run(self) -> None:
        while self.alive:
            self._wait(self._begin_works())

    def _begin_works(self) -> float:
        """Seconds to wait. In a frame of its own: what it holds on to would keep the owner of `due` alive."""
        due, port = self._due(), self._port()
        if due is None or port is None:
            self.alive = False
            return 0.0
        works, wait = due(port.now())
        for work in works:
            if not self._threads.start(partial(self._do, work, port)):
                self._do(work, port)  # no thread to be had
        return min(wait, LONGEST)

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(Empty):
            self._woken.get(timeout=max(0.0, seconds))
            while True:
                self._woken.get_nowait()

    def _do(self, work: Work, port: SyncPort) -> None:
        if self.alive:
            self._variables.copy().run(lambda: drive(work(port)))
            self.done += 1
            self.wake()


class LoopBeat:
    """In an event loop of asyncio's: timers, and a task for each work.

    Attributes:
        threaded: That it is not.
        done: How many works have ended.
    """

    threaded = False

    def __init__(self, port: AsyncPort, variables: Context, due: Due, loop: asyncio.AbstractEventLoop) -> None:
        self._port = weakref.ref(port)
        self._variables = variables
        self._due = weakref.WeakMethod(due)
        self._loop = loop
        self._ended = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle = loop.call_soon(self._beat, context=variables.copy())
        self.done = 0

    @property
    def alive(self) -> bool:
        """Whether it goes on: its loop runs."""
        return not self._ended and self._loop.is_running()

    def wake(self) -> None:
        """Ask again now. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._beat, context=self._variables.copy())

    def end(self) -> None:
        """Begin no more works, and cancel those under way. From any thread."""
        self._ended = True
        with contextlib.suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                self._cut()
                return
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cut)

    async def ended(self) -> None:
        """Wait for what was cancelled, in its own loop."""
        if self._tasks and asyncio.get_running_loop() is self._loop:
            await asyncio.wait(self._tasks, timeout=ENDS_WITHIN)

    def _beat(self) -> None:
        self._timer.cancel()
        due, port = self._due(), self._port()
        if self._ended or due is None or port is None:
            return
        if getattr(self._loop, "_asyncgens_shutdown_called", False):
            return  # asyncio.run() has cancelled what there was, and will cancel nothing more
        works, wait = due(port.now())
        for work in works:
            task = self._loop.create_task(self._do(work, port), context=self._variables.copy())
            # A loop that is closed without asyncio.run() cancels nothing, and complains of what was under way.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own word for it
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._timer = self._loop.call_later(min(wait, LONGEST), self._beat, context=self._variables.copy())

    async def _do(self, work: Work, port: AsyncPort) -> None:
        await work(port)
        self.done += 1
        self._beat()

    def _cut(self) -> None:
        self._timer.cancel()
        for task in self._tasks:
            task.cancel()
