"""Discovery: one thread for each upstream whose nodes are found out, beside the calls.

Laws
    1. It begins with the first call, and ends with end(); it never keeps the process alive, nor its upstream. Another
       call begins it anew. A forked child makes a Discovery of its own.
    2. What an answer does is decided by Membership. A source that fails is asked again after pauses that double up to
       `max_backoff`, with jitter; a stream that breaks off is begun anew, and that it failed is told only when it does
       not begin. An answer that is held is asked for again every second, at most.
    3. That a source fails, answers again, or that an answer is held is told once: logged, and an event.
    4. Where it is asked and why it fails is shown without credentials; of what others raise, the type alone.
    5. No trace knows its requests.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY  # what its own suppress_instrumentation() sets

from resilient_http.events import DiscoveryFailed, DiscoveryHeld, DiscoveryRestored, Hub
from resilient_http.settings.discovery import DiscoverySettings
from resilient_http.state.diagnosis import Cause
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.membership import Membership, Verdict
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.sources.answer import Answer, read_answer
from resilient_http.upstreams.sources.source import SourceFailed

logger = logging.getLogger("resilient_http.discovery")

FIRST_PAUSE = 0.25  # seconds
JITTER = 0.2
AGAIN = 1.0  # seconds until a stream that ended is begun anew, and a held answer is asked for again

Origin = tuple[str, str, int]


@dataclass(slots=True)
class _Run:
    """One life of the thread."""

    stop: threading.Event = field(default_factory=threading.Event)
    source: Any = None
    failures: int = 0
    next_at: float | None = None


class Discovery:
    """Finds out the nodes of one upstream. Thread-safe.

    Args:
        upstream: Its name.
        settings: Where, and how often.
        make: Makes the source; called in the thread.
        where: What is asked, for people: without credentials.
        nodes: What is replaced. Not kept alive.
        hub: Where it is told how that goes.

    Attributes:
        running: Whether the thread runs.
        patient_until: Monotonic seconds until which calls wait for the first answer.
    """

    def __init__(
        self,
        upstream: str,
        settings: DiscoverySettings,
        make: Callable[[], Any],
        where: str,
        nodes: Nodes,
        hub: Hub,
    ) -> None:
        self.running = False
        self.patient_until = 0.0
        self._upstream = upstream
        self._settings = settings
        self._make = make
        self._where = where
        self._nodes = weakref.ref(nodes)
        self._hub = hub
        self._membership: Membership[Origin] = Membership(settings.confirm_after)
        self._soon = AGAIN if settings.confirm_after is None else min(AGAIN, settings.confirm_after)
        self._left_out = 0
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._retired = False

    def begin(self) -> None:
        """Have the thread run. Cheap when it does."""
        if self.running:
            return
        with self._lock:
            if self._run is not None or self._retired:
                return
            run = _Run()
            thread = threading.Thread(target=self._live, args=(run,), name="resilient-http discovery", daemon=True)
            self.patient_until = time.monotonic() + self._settings.first_wait
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
        return run.source

    def end(self) -> None:
        """Have the thread end, and what it waits for. Does not wait for it."""
        _close(self.let_go())

    def retire(self) -> None:
        """End for good: another one finds the nodes from now on, or none. Calls under way do not begin it anew."""
        with self._lock:
            self._retired = True
        self.end()

    def refusal(self, now: float) -> tuple[str, float | None]:
        """Why no node is known, for a person; and seconds until the next try, or None while one is under way."""
        run = self._run
        next_at = None if run is None else run.next_at
        retry_in = None if next_at is None else max(0.0, next_at - now)
        why = self._membership.failing or "no answer yet"
        when = "it is being asked" if retry_in is None else f"next try in {retry_in:.3g} s"
        message = (
            f"{self._upstream} has no endpoint: {self._where} was asked for them ({why}); {when}. Look at "
            f"upstreams.{self._upstream}.discovery, or give upstreams.{self._upstream}.endpoints to begin with"
        )
        return message, retry_in

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able: where the nodes come from, and how far that is known."""
        state = self._membership
        held, since, good_at = state.held, state.failing_since, state.good_at
        return {
            "kind": self._settings.kind,
            "where": self._where,
            "running": self.running,
            "age": None if good_at is None else round(now - good_at, 3),
            "failing": state.failing,
            "failing_for": None if since is None else round(now - since, 3),
            "held": None if held is None else {"for": round(now - held.since, 3), "missing": _urls(held.missing)},
            "left_out": self._left_out,
        }

    # In the thread

    def _live(self, run: _Run) -> None:
        context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
        try:
            while not run.stop.is_set():
                run.next_at = None
                pause = self._round(run)
                run.next_at = time.monotonic() + pause
                run.stop.wait(pause)
        finally:
            if self._run is run:  # something that is no Exception ended it
                self._run, self.running = None, False
            _close(run.source)

    def _round(self, run: _Run) -> float:
        """Ask, and hear what is said. Seconds until the next time."""
        try:
            if run.source is None:
                run.source = self._make()
            if hasattr(run.source, "watch"):
                return self._watch(run)
            answer = self._hear(run, run.source.resolve())
        except SourceFailed as exc:
            return self._fail(run, exc.why)
        except Exception as exc:  # noqa: BLE001 - a user's source may raise anything; its text may hold a secret
            return self._fail(run, type(exc).__name__)
        if answer is None:
            return self._soon
        return answer.valid_for or _varied(self._settings.interval)

    def _watch(self, run: _Run) -> float:
        spoke = False
        changes = run.source.watch(run.stop)
        try:
            with closing(changes) if hasattr(changes, "close") else nullcontext():
                for said in changes:
                    spoke = True
                    try:
                        answer = self._hear(run, said)
                    except SourceFailed as exc:
                        self._fail(run, exc.why)
                        continue
                    if answer is None:
                        break
        except Exception:
            if not spoke:
                raise
        if not spoke and not run.stop.is_set():
            raise SourceFailed("it ended without an answer")
        return _varied(self._soon)

    def _hear(self, run: _Run, said: Any) -> Answer | None:
        """Act on what the source said: the answer, or None when it has to be asked for again soon."""
        nodes = self._nodes()
        if nodes is None:
            run.stop.set()
            return None
        answer = read_answer(said, nodes.scheme if nodes.endpoints.members else None)
        if self._run is not run:  # it was ended meanwhile
            return None
        run.failures = 0
        self._tell_restored()
        self._tell_left_out(answer.left_out)
        was_held = self._membership.held is not None
        verdict = self._decide(answer, nodes)
        if verdict is Verdict.HELD:
            if not was_held:
                self._tell_held()
            return None
        if was_held:
            became = "applied" if verdict is Verdict.APPLIED else "taken back"
            logger.info("discovery of %s: what was held is %s", self._upstream, became)
        return answer

    def _decide(self, answer: Answer, nodes: Nodes) -> Verdict:
        now, members = time.monotonic(), nodes.endpoints.members
        out = nodes.endpoints.ejections.out(now)
        verdict = self._membership.answer(
            {each.origin: (each.weight, each.backup, each.zone) for each in answer.endpoints},
            now,
            out=[_origin(member) for member in members if member in out],
            failed=[_origin(member) for member in members if _has_failed(member)],
        )
        if verdict is not Verdict.HELD:
            nodes.replace(answer.endpoints, now)  # does nothing where nothing has changed
        return verdict

    def _fail(self, run: _Run, why: str) -> float:
        if self._run is not run:
            return 0.0
        pause: float = min(self._settings.max_backoff, FIRST_PAUSE * 2 ** min(run.failures, 20))
        run.failures += 1
        if self._membership.fail(why, time.monotonic()):
            kept = "discovery of %s: %s fails (%s); the nodes stay as they are"
            logger.warning(kept, self._upstream, self._where, why)
            if self._hub.listeners:
                self._hub.emit(DiscoveryFailed(self._upstream, why))
        return _varied(pause)

    def _tell_restored(self) -> None:
        failed_for = self._membership.recover(time.monotonic())
        if failed_for is not None:
            logger.info("discovery of %s: %s answers again after %.3g s", self._upstream, self._where, failed_for)
            if self._hub.listeners:
                self._hub.emit(DiscoveryRestored(self._upstream, failed_for))

    def _tell_left_out(self, count: int) -> None:
        if count and not self._left_out:
            logger.warning("discovery of %s: %s values of %s are no endpoints", self._upstream, count, self._where)
        self._left_out = count

    def _tell_held(self) -> None:
        held = self._membership.held
        missing = [] if held is None else _urls(held.missing)
        logger.warning("discovery of %s: an answer takes away %s; it is held", self._upstream, ", ".join(missing))
        if self._hub.listeners:
            self._hub.emit(DiscoveryHeld(self._upstream, tuple(missing)))


def _varied(seconds: float) -> float:
    return seconds * random.uniform(1 - JITTER, 1)


def _close(source: Any) -> None:
    close = getattr(source, "close", None)
    if callable(close):
        with contextlib.suppress(Exception):
            close()


def _origin(member: Endpoint) -> Origin:
    return member.scheme, member.host, member.port


def _urls(origins: Iterable[Origin]) -> list[str]:
    return [Endpoint(*origin).url for origin in sorted(origins)]


def _has_failed(member: Endpoint) -> bool:
    """Whether its circuit has opened on failures, so that nobody takes it away by leaving it out."""
    circuit = member.circuit
    return circuit is not None and not circuit.closed and circuit.cause is not Cause.SLOW and not circuit.by_hand
