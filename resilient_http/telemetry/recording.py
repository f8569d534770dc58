"""Recording: the calls that are made in a scope, each with its journal, for whoever looks at one request.

    with record_calls() as recording:
        ...
    for call in recording.calls: print(call.as_dict())

It costs nothing where nobody records. A URL is kept as logs show it: without credentials and query values.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from resilient_http.call import Call
from resilient_http.journal import Journal
from resilient_http.scope import current_scope, enter_scope

MOST = 500  # calls of one recording


class Recording:
    """The calls that were made. Thread-safe.

    Attributes:
        started: Monotonic seconds at which it began.
        dropped: How many calls came after the first 500, which are all that are kept.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.dropped = 0
        self._calls: list[RecordedCall] = []
        self._ended = False
        self._lock = threading.Lock()

    @property
    def calls(self) -> tuple[RecordedCall, ...]:
        """Those that were made so far, in the order in which they began; those under way too."""
        with self._lock:
            return tuple(self._calls)

    def begin(self, call: Call, url: str) -> RecordedCall | None:
        """A call has begun. None when it is not kept."""
        with self._lock:
            if self._ended or len(self._calls) >= MOST:
                self.dropped += not self._ended
                return None
            record = RecordedCall(call.journal, url, time.monotonic() - self.started)
            self._calls.append(record)
        return record

    def end(self) -> None:
        """Keep no more of them: what runs on in the background may do so for long."""
        self._ended = True


class RecordedCall:
    """One call.

    Attributes:
        journal: Its journal, which grows as long as the call is under way.
        url: As it may be seen; "" for what is guarded.
        started: Seconds from the beginning of the recording.
        took: Seconds to the end of the call (of a streamed one, to its headers), or None while it is under way.
        left: Seconds of its deadline that were left at its end, negative when it was overrun; None without a deadline.
        status: Of the response, or None.
        error: Name of the exception that it ended in, or None.
        degraded: "refused", "deadline", "failed", "fell back" or "retried", or None.
    """

    __slots__ = ("degraded", "error", "journal", "left", "started", "status", "took", "url")

    def __init__(self, journal: Journal, url: str, started: float) -> None:
        self.journal = journal
        self.url = url
        self.started = started
        self.took: float | None = None
        self.left: float | None = None
        self.status: int | None = None
        self.error: str | None = None
        self.degraded: str | None = None

    def end(self, call: Call, status: int | None, error: BaseException | None, degraded: str | None) -> None:
        """It has ended."""
        now = call.port.now()
        self.took = now - call.started
        self.left = None if self.journal.budget is None else call.expires - now
        self.status = status
        self.error = None if error is None else type(error).__name__
        self.degraded = degraded

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: the journal's fields, and these."""
        own = ("url", "started", "took", "left", "status", "error", "degraded")
        return self.journal.as_dict() | {name: getattr(self, name) for name in own}


@contextmanager
def record_calls() -> Iterator[Recording]:
    """Record every call that is made in the with block: by clients, transports and guards, in its tasks too.

    Threads follow where the context does (`asyncio.to_thread`, not `ThreadPoolExecutor.submit`).
    """
    recording = Recording()
    try:
        with enter_scope(replace(current_scope(), recording=recording)):
            yield recording
    finally:
        recording.end()
