"""Ejections: which endpoints are left alone for a reason that is a guess, and how many may be at once.

A failed health check, a node that asked to be left alone and a circuit that opened on slow answers are such reasons. A
circuit that opened on failures is not: it is asked beside this, and stays open whatever the others do.

Laws
    1. At most half of the endpoints are out at once, so never the only one. The first come goes first; the others
       follow as it comes back.
    2. When more than the panic share are to be out, none is: what says so is then likelier to be wrong than they are.
    3. An endpoint is to be out as long as one reason holds; each lasts until its instant, or until it is withdrawn.
    4. What is said of one that is gone is not heard: an attempt, or a check, may end after it has left.

Source: the panic threshold of Envoy, "Load Balancing: Panic threshold" in its documentation.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

Member = TypeVar("Member", bound=Hashable)

PANIC = 0.7
NOBODY: frozenset[object] = frozenset()


class Ejections(Generic[Member]):
    """Who is out. Thread-safe.

    Args:
        panic: Share of the endpoints; when more are to be out, all are used. 0 to 1; 1 for never.

    Attributes:
        on_panic: Called as `on_panic(begins, wanted, total)` when a panic begins or ends, or None.
    """

    __slots__ = ("_lock", "_members", "_next", "_out", "_panic", "_reasons", "on_panic", "panicking")

    def __init__(self, *, panic: float = PANIC) -> None:
        self.on_panic: Callable[[bool, int, int], object] | None = None
        self.panicking = False
        self._panic = panic
        self._members: frozenset[Member] = frozenset()
        self._reasons: dict[Member, dict[str, float]] = {}
        self._out: frozenset[Member] = frozenset()
        self._next = math.inf  # when the next reason lapses
        self._lock = threading.Lock()

    def adjust(self, panic: float, now: float) -> None:
        """Go by another panic share from now on."""
        with self._lock:
            self._panic = panic
            change = self._lapse(now)
        self._tell(change)

    def keep(self, members: Iterable[Member]) -> None:
        """These are the endpoints from now on; what was wanted of others is forgotten."""
        with self._lock:
            kept = self._members = frozenset(members)
            self._reasons = {member: reasons for member, reasons in self._reasons.items() if member in kept}
            change = self._decide()
        self._tell(change)

    def eject(self, member: Member, reason: str, now: float, until: float = math.inf) -> bool:
        """It is to be out until then, for that reason; never for a shorter time than before. Whether it is now."""
        with self._lock:
            if member not in self._members:
                return False
            reasons = self._reasons.setdefault(member, {})
            reasons[reason] = max(until, reasons.get(reason, until))
            change = self._lapse(now)
        self._tell(change)
        return member in self._out

    def readmit(self, member: Member, reason: str, now: float) -> None:
        """That reason holds no longer."""
        if member not in self._reasons:
            return
        with self._lock:
            self._reasons.get(member, {}).pop(reason, None)
            change = self._lapse(now)
        self._tell(change)

    def out(self, now: float) -> frozenset[Member]:
        """Who is to be left alone at that instant."""
        if now >= self._next:
            with self._lock:
                change = self._lapse(now)
            self._tell(change)
        return self._out

    def may_eject(self, member: Member, now: float) -> bool:
        """Whether eject() would take it out."""
        out, total = self.out(now), len(self._members)
        wanted = len(self._reasons) + (member not in self._reasons)
        return member in out or (not self.panicking and len(out) < total // 2 and wanted <= self._panic * total)

    def reasons(self, member: Member, now: float) -> dict[str, float]:
        """Why it is to be out, each with its seconds left; infinity for one that must be withdrawn."""
        return {reason: until - now for reason, until in dict(self._reasons.get(member, {})).items() if until > now}

    # The lock is held

    def _lapse(self, now: float) -> bool:
        for member, reasons in list(self._reasons.items()):
            left = {reason: until for reason, until in reasons.items() if until > now}
            if left:
                self._reasons[member] = left
            else:
                del self._reasons[member]
        return self._decide()

    def _decide(self) -> bool:
        """Who is out. Whether a panic began or ended."""
        wanted, total = len(self._reasons), len(self._members)
        panicking = wanted > self._panic * total and total > 1  # of one, none is out anyway
        most = 0 if panicking else total // 2
        self._out = frozenset(list(self._reasons)[:most])
        self._next = min((until for reasons in self._reasons.values() for until in reasons.values()), default=math.inf)
        changed, self.panicking = panicking != self.panicking, panicking
        return changed

    def _tell(self, changed: bool) -> None:
        if changed and self.on_panic is not None:
            self.on_panic(self.panicking, len(self._reasons), len(self._members))
