"""Follower: has a document from afar watched, beside the calls, and hands on each one that is new.

Laws
    1. It begins with the first call, and ends with end(); it keeps nobody alive. A forked child makes one of its own.
       How the source is asked: see watching.
    2. A source that fails, or a document that is refused, changes nothing: the last good one stays. The watching goes
       on.
    3. That a source fails, or answers again, is told once: logged, and an event. A document that is refused is told
       once for each that is different from the one before.
    4. It is a thread in every process, also where the calls are made in an event loop: what it does (reading a file,
       validating settings, composing the rings of all upstreams) would hold up that loop.
"""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from resilient_http.errors import SettingsError
from resilient_http.events import Hub, WatchFailed, WatchRestored
from resilient_http.settings.watch import WatchSettings
from resilient_http.upstreams.documents.document import read_document
from resilient_http.upstreams.watching import Run, Watching

NOTHING = object()


class Follower(Watching):
    """Watches one document. Thread-safe.

    Args:
        settings: Where it is, and how often it is asked for.
        make: Makes the source; called in the thread.
        where: What is asked, for people: without credentials.
        apply: A bound method, held weakly: acts on a document (a mapping, or the error that it is none), as `by` says.
            Raises SettingsError when it is refused.
        hub: Where it is told how that goes.
    """

    def __init__(
        self,
        settings: WatchSettings,
        make: Callable[[], Any],
        where: str,
        apply: Callable[[Mapping[str, Any] | SettingsError, str], object],
        hub: Hub,
    ) -> None:
        super().__init__("watch", make, interval=settings.interval, max_backoff=settings.max_backoff)
        self._settings = settings
        self._where = where
        self._apply = weakref.WeakMethod(apply)
        self._hub = hub
        self._said: Any = NOTHING
        self._changed_at: float | None = None
        self._good_at: float | None = None
        self._failing: str | None = None
        self._failing_since = 0.0
        self._refused: str | None = None

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able: where the document comes from, and how that goes."""
        good_at, changed_at, failing = self._good_at, self._changed_at, self._failing
        return {
            "kind": self._settings.kind,
            "where": self._where,
            "running": self.running,
            "age": None if good_at is None else round(now - good_at, 3),
            "unchanged_for": None if changed_at is None else round(now - changed_at, 3),
            "refused": self._refused,
            "failing": failing,
            "failing_for": None if failing is None else round(now - self._failing_since, 3),
        }

    def _hear(self, run: Run, said: Any) -> float | None:
        apply = self._apply()
        if apply is None or self._run is not run:
            run.stop.set()
            return None
        document: Mapping[str, Any] | SettingsError | None = None
        if said != self._said:
            try:
                document = read_document(said, self._settings.written)
            except SettingsError as exc:
                document = exc
        run.failures = 0
        self._good_at = time.monotonic()
        self._tell_restored(self._good_at)
        if document is not None:
            self._try(apply, document)
            self._said, self._changed_at = copy.deepcopy(said), self._good_at
        return 0.0

    def _try(self, apply: Callable[..., object], document: Mapping[str, Any] | SettingsError) -> None:
        try:
            apply(document, self._where)
        except SettingsError as exc:
            self._refused = str(exc)
        else:
            self._refused = None

    def _tell_failed(self, why: str) -> None:
        first = self._failing is None
        self._failing = why
        if first:
            self._failing_since = time.monotonic()
            self._hub.announce(WatchFailed("", self._where, why))

    def _tell_restored(self, now: float) -> None:
        if self._failing is None:
            return
        self._failing, failed_for = None, now - self._failing_since
        self._hub.announce(WatchRestored("", self._where, failed_for))
