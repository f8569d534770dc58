"""Switches: what a person has switched off or forced in an incident, each until its instant.

Laws
    1. Every switch has an instant after which it is over by itself.
    2. A switch is thrown for one upstream or for all (`ALL`), by hand or from afar. Of two about the same thing, what
       is said of the one upstream counts more than what is said of all, and there what was thrown by hand more than
       what comes from afar.
    3. What comes from afar is said as a whole: what it says no longer is over.
    4. Throwing the same one again gives it another instant, share and person.
    5. Time is an argument. Nothing here acts: whoever composes the way of a call asks for the position.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

ALL: Final = "*"
NEAR: Final = 0.5  # seconds


class What(Enum):
    """What is switched."""

    RETRIES_OFF = "retries off"
    HEDGES_OFF = "hedges off"
    CIRCUIT_OPEN = "circuit open"
    CIRCUIT_CLOSED = "circuit closed"
    SHED = "shed"

    @property
    def about(self) -> str:
        """What it is about: "retries", "hedges", "circuit" or "shed"."""
        return self.value.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch.

    Attributes:
        what: What is switched.
        until: Monotonic seconds at which it is over.
        by: Who has thrown it.
        share: Of the calls that are shed. 0 < share <= 1.
        endpoint: URL of the one endpoint whose circuit is forced; None for all of them.
        afar: Whether a document says so, and not a hand.
    """

    what: What
    until: float
    by: str
    share: float = 1.0
    endpoint: str | None = None
    afar: bool = False

    def __str__(self) -> str:
        if self.what is What.SHED and self.share < 1.0:
            return f"shed {self.share:.3g}"
        return self.what.value + ("" if self.endpoint is None else f" at {self.endpoint}")

    @property
    def slot(self) -> tuple[str, str | None]:
        """What it is about: one of those counts."""
        return self.what.about, self.endpoint

    def status(self, now: float) -> dict[str, Any]:
        """JSON-able."""
        return {"what": str(self), "by": self.by, "for": round(max(0.0, self.until - now), 3)}


@dataclass(frozen=True, slots=True)
class Position:
    """The switches that count for one upstream.

    Attributes:
        retries: That which has them off, or None; and so on.
        circuits: Those that force one.
    """

    retries: Switch | None = None
    hedges: Switch | None = None
    shed: Switch | None = None
    circuits: tuple[Switch, ...] = ()

    def status(self, now: float) -> list[dict[str, Any]]:
        """JSON-able: each of them."""
        thrown = (self.retries, self.hedges, self.shed, *self.circuits)
        return [switch.status(now) for switch in thrown if switch is not None]


AS_USUAL: Final = Position()

Slot = tuple[str, bool, tuple[str, str | None]]  # of whom, whether from afar, what about
Named = tuple[str, Switch]


class Switches:
    """Everything that is switched. Thread-safe.

    Args:
        thrown: What is from the start; what `thrown` of another one says.

    Attributes:
        thrown: What is, as an immutable whole.
    """

    def __init__(self, thrown: Mapping[Slot, Switch] | None = None) -> None:
        self.thrown: Mapping[Slot, Switch] = dict(thrown or {})
        self._lock = threading.Lock()

    def throw(self, name: str, switch: Switch) -> None:
        """It holds from now on."""
        with self._lock:
            self.thrown = {**self.thrown, (name, switch.afar, switch.slot): switch}

    def lift(self, name: str, about: str | None = None) -> list[Named]:
        """Those of that name are over: all, or those about that. What is over."""
        with self._lock:
            return self._drop(slot for slot in self.thrown if slot[0] == name and about in (None, slot[2][0]))

    def say(self, switches: Iterable[Named]) -> tuple[list[Named], list[Named]]:
        """These are what comes from afar, all of it. What is new, and what is over."""
        said = {(name, True, switch.slot): switch for name, switch in switches}
        with self._lock:
            before = self.thrown
            over = self._drop(slot for slot in before if slot[1] and slot not in said)
            new = {slot: switch for slot, switch in said.items() if not _same(before.get(slot), switch)}
            self.thrown = {**self.thrown, **new}
        return [(slot[0], switch) for slot, switch in new.items()], over

    def lapse(self, now: float) -> list[Named]:
        """What is over at that instant."""
        with self._lock:
            return self._drop(slot for slot, switch in self.thrown.items() if switch.until <= now)

    def next_at(self) -> float | None:
        """When the next one is over; None when there is none."""
        return min((switch.until for switch in self.thrown.values()), default=None)

    def position(self, name: str) -> Position:
        """What counts for that upstream."""
        thrown = self.thrown
        if not thrown:
            return AS_USUAL
        slots: dict[tuple[str, str | None], Switch] = {}
        for whose, afar in ((ALL, True), (ALL, False), (name, True), (name, False)):
            slots |= {slot[2]: switch for slot, switch in thrown.items() if slot[:2] == (whose, afar)}
        circuits = tuple(switch for (about, _), switch in slots.items() if about == "circuit")
        one = {about: switch for (about, endpoint), switch in slots.items() if endpoint is None}
        return Position(one.get("retries"), one.get("hedges"), one.get("shed"), circuits)

    def _drop(self, slots: Iterable[Slot]) -> list[Named]:
        gone = list(slots)
        over = [(slot[0], self.thrown[slot]) for slot in gone]
        if gone:
            self.thrown = {slot: switch for slot, switch in self.thrown.items() if slot not in gone}
        return over


def _same(known: Switch | None, said: Switch) -> bool:
    """Whether nothing is new in it. Its instant comes from another clock, and so is never quite the same."""
    if known is None or abs(known.until - said.until) > NEAR:
        return False
    return replace(known, until=said.until) == said
