"""Discovery: one thread for each upstream whose nodes are found out, beside the calls.

Laws
    1. It begins with the first call, and ends with end(); it never keeps its upstream alive. A forked child makes a
       Discovery of its own. How the source is asked: see watching.
    2. What an answer does is decided by Membership. An answer that is held is asked for again every second, at most.
    3. That a source fails, answers again, or that an answer is held is told once: logged, and an event.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from resilient_http.events import DiscoveryFailed, DiscoveryHeld, DiscoveryRestored, Hub
from resilient_http.settings.discovery import DiscoverySettings
from resilient_http.state.diagnosis import Cause
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.membership import Membership, Verdict
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.sources.answer import Answer, read_answer
from resilient_http.upstreams.watching import AGAIN, Run, Watching

logger = logging.getLogger("resilient_http.discovery")

Origin = tuple[str, str, int]


class Discovery(Watching):
    """Finds out the nodes of one upstream. Thread-safe.

    Args:
        upstream: Its name.
        settings: Where, and how often.
        make: Makes the source; called in the thread.
        where: What is asked, for people: without credentials.
        nodes: What is replaced. Not kept alive.
        hub: Where it is told how that goes.

    Attributes:
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
        super().__init__("discovery", make, **_paces(settings))
        self.patient_until = 0.0
        self._upstream = upstream
        self._settings = settings
        self._where = where
        self._nodes = weakref.ref(nodes)
        self._hub = hub
        self._membership: Membership[Origin] = Membership(settings.confirm_after)
        self._left_out: tuple[int, tuple[str, ...]] = 0, ()

    def adjust(self, settings: DiscoverySettings) -> None:
        """Go by other numbers, with the source as it is."""
        if settings != self._settings:
            self._settings, self._membership.confirm_after = settings, settings.confirm_after
            self.pace(**_paces(settings))

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
            "left_out": self._left_out[0],
            "left_out_why": list(self._left_out[1]),
        }

    # In the thread

    def _begun(self) -> None:
        self.patient_until = time.monotonic() + self._settings.first_wait

    def _hear(self, run: Run, said: Any) -> float | None:
        nodes = self._nodes()
        if nodes is None:
            run.stop.set()
            return None
        answer = read_answer(said, nodes.scheme if nodes.endpoints.members else None)
        if self._run is not run:  # it was ended meanwhile
            return None
        run.failures = 0
        self._tell_restored()
        self._tell_left_out(answer)
        was_held = self._membership.held is not None
        verdict = self._decide(run, answer, nodes)
        if verdict is Verdict.HELD:
            if not was_held:
                self._tell_held()
            return None
        if was_held:
            became = "applied" if verdict is Verdict.APPLIED else "taken back"
            logger.info("discovery of %s: what was held is %s", self._upstream, became)
        return answer.valid_for or 0.0

    def _decide(self, run: Run, answer: Answer, nodes: Nodes) -> Verdict:
        now, members = time.monotonic(), nodes.endpoints.members
        out = nodes.endpoints.ejections.out(now)
        verdict = self._membership.answer(
            {each.origin: (each.weight, each.backup, each.zone) for each in answer.endpoints},
            now,
            out=[_origin(member) for member in members if member in out],
            failed=[_origin(member) for member in members if _has_failed(member)],
        )
        if verdict is not Verdict.HELD:
            # Does nothing where nothing has changed, or where it was ended meanwhile: by other settings, say.
            nodes.replace(answer.endpoints, now, lambda: self._run is run)
        return verdict

    def _tell_failed(self, why: str) -> None:
        if self._membership.fail(why, time.monotonic()):
            kept = "discovery of %s: %s fails (%s); the nodes stay as they are"
            logger.warning(kept, self._upstream, self._where, why)
            if self._hub.listeners:
                self._hub.emit(DiscoveryFailed(self._upstream, why))

    def _tell_restored(self) -> None:
        failed_for = self._membership.recover(time.monotonic())
        if failed_for is not None:
            logger.info("discovery of %s: %s answers again after %.3g s", self._upstream, self._where, failed_for)
            if self._hub.listeners:
                self._hub.emit(DiscoveryRestored(self._upstream, failed_for))

    def _tell_left_out(self, answer: Answer) -> None:
        if answer.left_out and not self._left_out[0]:
            told = "discovery of %s: %s values of %s cannot be its endpoints (%s)"
            logger.warning(told, self._upstream, answer.left_out, self._where, "; ".join(answer.wrong))
        self._left_out = answer.left_out, answer.wrong

    def _tell_held(self) -> None:
        held = self._membership.held
        missing = [] if held is None else _urls(held.missing)
        logger.warning("discovery of %s: an answer takes away %s; it is held", self._upstream, ", ".join(missing))
        if self._hub.listeners:
            self._hub.emit(DiscoveryHeld(self._upstream, tuple(missing)))


def _paces(settings: DiscoverySettings) -> dict[str, float]:
    soon = AGAIN if settings.confirm_after is None else min(AGAIN, settings.confirm_after)
    return {"interval": settings.interval, "max_backoff": settings.max_backoff, "soon": soon}


def _origin(member: Endpoint) -> Origin:
    return member.scheme, member.host, member.port


def _urls(origins: Iterable[Origin]) -> list[str]:
    return [Endpoint(*origin).url for origin in sorted(origins)]


def _has_failed(member: Endpoint) -> bool:
    """Whether its circuit has opened on failures, so that nobody takes it away by leaving it out."""
    circuit = member.circuit
    return circuit is not None and not circuit.closed and circuit.cause is not Cause.SLOW and not circuit.by_hand
