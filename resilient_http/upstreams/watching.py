"""Watching: one thread that asks a source beside the calls, and hears what it says.

Laws
    1. It begins with begin(), and ends with end(); it never keeps the process alive. Another begin() begins it anew.
    2. A source that fails is asked again after pauses that double up to `max_backoff`, with jitter. A stream that
       breaks off is begun anew, and that it failed is told only when it does not begin.
    3. Why it fails is shown without credentials; of what others raise, the type alone.
    4. No trace knows its requests.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY  # what its own suppress_instrumentation() sets

from resilient_http.upstreams.sources.source import SourceFailed

FIRST_PAUSE = 0.25  # seconds
JITTER = 0.2
AGAIN = 1.0  # seconds until a stream that ended is begun anew, and what is doubtful is asked for again


@dataclass(slots=True)
class Run:
    """One life of the thread."""

    stop: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)  # from the pause between two questions
    source: Any = None
    failures: int = 0
    next_at: float | None = None


class Watching(ABC):
    """Asks a source again and again. Thread-safe.

    Args:
        name: Of the thread.
        make: Makes the source, which has resolve() or watch(stop) or both; called in the thread.
        interval: Seconds between two questions.
        max_backoff: Most seconds between two tries while the source fails.
        soon: Seconds until what is doubtful is asked for again.

    Attributes:
        running: Whether the thread runs.
    """

    def __init__(
        self, name: str, make: Callable[[], Any], *, interval: float, max_backoff: float, soon: float = AGAIN
    ) -> None:
        self.running = False
        self._name = name
        self._make = make
        self._interval = interval
        self._max_backoff = max_backoff
        self._soon = soon
        self._lock = threading.Lock()
        self._run: Run | None = None
        self._retired = False

    def begin(self) -> None:
        """Have the thread run. Cheap when it does."""
        if self.running:
            return
        with self._lock:
            if self._run is not None or self._retired:
                return
            run = Run()
            thread = threading.Thread(target=self._live, args=(run,), name=f"resilient-http {self._name}", daemon=True)
            self._begun()
            self._run, self.running = run, True
            try:
                thread.start()
            except RuntimeError:  # Python that is about to exit starts no thread
                self._run, self.running = None, False

    def let_go(self) -> Any:
        """Have the thread end, when what it waits for comes to an end. Its source, or None."""
        run, self._run, self.running = self._run, None, False
        if run is None:
            return None
        run.stop.set()
        run.woken.set()
        return run.source

    def pace(self, *, interval: float, max_backoff: float, soon: float) -> None:
        """Other numbers from now on, as the arguments have them; who pauses asks at once."""
        self._interval, self._max_backoff, self._soon = interval, max_backoff, soon
        run = self._run
        if run is not None:
            run.woken.set()

    def end(self) -> None:
        """Have the thread end, and what it waits for. Does not wait for it."""
        _close(self.let_go())

    def retire(self) -> None:
        """End for good: another one takes its place, or none. Calls under way do not begin it anew."""
        with self._lock:
            self._retired = True
        self.end()

    @abstractmethod
    def _hear(self, run: Run, said: Any) -> float | None:
        """Act on what the source said.

        Returns:
            Seconds for which it holds, 0.0 where the source does not say; None when it has to be asked for again soon.

        Raises:
            SourceFailed: It is no answer.
        """

    @abstractmethod
    def _tell_failed(self, why: str) -> None:
        """The source has failed; called each time that it does."""

    def _begun(self) -> None:  # noqa: B027 - who needs it says so
        """The thread is about to start."""

    def _live(self, run: Run) -> None:
        context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            while not run.stop.is_set():
                run.next_at = None
                run.woken.clear()
                pause = self._round(run)
                run.next_at = time.monotonic() + pause
                if not run.stop.is_set():
                    run.woken.wait(pause)
        finally:
            if self._run is run:  # something that is no Exception ended it
                self._run, self.running = None, False
            _close(run.source)

    def _round(self, run: Run) -> float:
        """Ask, and hear what is said. Seconds until the next time."""
        try:
            if run.source is None:
                run.source = self._make()
            if hasattr(run.source, "watch"):
                return self._watch(run)
            held = self._hear(run, run.source.resolve())
        except SourceFailed as exc:
            return self._fail(run, exc.why)
        except Exception as exc:  # noqa: BLE001 - a user's source may raise anything; its text may hold a secret
            return self._fail(run, type(exc).__name__)
        if held is None:
            return self._soon
        return held or _varied(self._interval)

    def _watch(self, run: Run) -> float:
        spoke = False
        changes = run.source.watch(run.stop)
        try:
            with closing(changes) if hasattr(changes, "close") else nullcontext():
                for said in changes:
                    spoke = True
                    try:
                        held = self._hear(run, said)
                    except SourceFailed as exc:
                        self._fail(run, exc.why)
                        continue
                    if held is None:
                        break
        except Exception:
            if not spoke:
                raise
        if not spoke and not run.stop.is_set():
            raise SourceFailed("it ended without an answer")
        return _varied(self._soon)

    def _fail(self, run: Run, why: str) -> float:
        if self._run is not run:
            return 0.0
        pause: float = min(self._max_backoff, FIRST_PAUSE * 2 ** min(run.failures, 20))
        run.failures += 1
        self._tell_failed(why)
        return _varied(pause)


def _varied(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1)


def _close(source: Any) -> None:
    close = getattr(source, "close", None)
    if callable(close):
        with contextlib.suppress(Exception):
            close()
