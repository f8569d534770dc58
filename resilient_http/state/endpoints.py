"""Endpoints: the nodes of an upstream, and which of them the next attempt goes to.

Laws
    1. Choosing takes the endpoint's permit in the same step, so two callers never share one half-open probe.
    2. Preferred are, in this order: those of the own zone, those of other zones, backups. In each of these groups a
       balancer picks (state/balancers). The own zone spills over by the share of it that is not healthy.
    3. An endpoint that this call has tried comes after all that it has not (backups too, as nginx's do); one that is
       ejected (state/ejections.py) comes after all others.
    4. A circuit that is open is never chosen, but for one that opened on slow answers alone and is not ejected: that is
       a guess, and there is a limit to those. When all are open, the choice is refused, unless one is open for that
       guess alone. Of an upstream with one endpoint it is refused all the same: there is no other one to choose.
    5. An endpoint that is new, or back, takes its share by and by, over `slow_start` seconds.
    6. An answer that took far longer than the siblings' usually do (three times, and 25 ms more), from an endpoint that
       is usually so slow, weighs on it like a failure.
    7. Endpoints may be replaced at any time. Attempts under way end where they are, and what stays keeps its state.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from resilient_http.state.balancers import Balancer, MakeBalancer
from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.circuit import Permit
from resilient_http.state.diagnosis import SLOW
from resilient_http.state.ejections import PANIC, Ejections
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.outcome import SUCCESS, Outcome

FAR = 3.0  # times the usual latency of the quickest sibling: slow, when it is
FURTHER = 0.025  # seconds more, too: a node in the next building is no worse than one in the same rack
RECKONED_EVERY = 0.1  # seconds: what is usual, and how much of the zone is healthy
FIRST_SHARE = 0.1  # of the traffic that an endpoint takes that has just come
SPARE = 1.4  # times the share of a zone that is healthy: so much of its traffic it can bear, as Envoy has it
ASKED = 8  # circuits that may refuse, one after the other, before those that would are listed
NAMED = 5  # URLs in a message
TOLERATED = Permit(-1)  # of no generation: what is used in spite of its circuit does not count for it

Choice = tuple[Endpoint, Permit | None]


class Endpoints:
    """The endpoints of one upstream. Thread-safe.

    Args:
        members: The endpoints; none when they are still to be found out.
        balancer: Makes what picks in a group of them.
        zone: Where this process stands; endpoints of that zone are preferred. None for no preference.
        slow_start: Seconds over which one that is new or back takes its share; 0.0 for at once.
        panic: See Ejections.

    Attributes:
        known: Whether it is known which they are; until then there are none.
        ejections: Which of them are left alone for reasons that are guesses.
    """

    def __init__(
        self,
        members: Sequence[Endpoint],
        balancer: MakeBalancer = P2C,
        *,
        zone: str | None = None,
        slow_start: float = 0.0,
        panic: float = PANIC,
    ) -> None:
        self._make = balancer
        self._zone = zone
        self._slow_start = slow_start
        self._lock = threading.Lock()
        self.known = bool(members)
        self.ejections: Ejections[Endpoint] = Ejections(panic=panic)
        self._slow: frozenset[Endpoint] = frozenset()  # those that are ejected for it, or would be
        self._far = math.inf  # seconds: an answer that took longer was slow
        self._spilled = 0.0
        self._arrange(members)

    def replace(self, members: Sequence[Endpoint], now: float) -> list[Endpoint]:
        """These are the endpoints from now on; those that stay are the same objects. Those that are gone.

        Args:
            members: The endpoints.
            now: Monotonic seconds.
        """
        with self._lock:
            kept = set(members)
            gone = [member for member in self.members if member not in kept]
            for member in gone:
                member.gone = True
            if self.known:  # the first ones are not new: all of them are
                for member in kept - set(self.members):
                    member.since = now
            self._arrange(members)
            self.known = True
        self._note_slow_of(members, now)
        return gone

    def _arrange(self, members: Sequence[Endpoint]) -> None:
        primaries = [member for member in members if not member.backup]
        near = [member for member in primaries if self._zone is not None and member.zone == self._zone]
        beside = set(near)
        far = [member for member in primaries if member not in beside]
        backups = [member for member in members if member.backup]
        self._fleet = _Fleet(
            members[0] if len(members) == 1 else None,
            tuple(self._make(group) for group in (near, far, backups) if group),
            tuple(near) if far else (),
            tuple(primaries),
            ", ".join(member.url for member in members[:NAMED]),
        )
        self.members = tuple(members)
        self._reckon_at = -math.inf
        self._slow = self._slow.intersection(members)
        self.ejections.keep(members)

    def adjust(self, balancer: MakeBalancer, now: float, *, zone: str | None, slow_start: float, panic: float) -> None:
        """Choose in another way from now on."""
        with self._lock:
            self._make, self._zone, self._slow_start = balancer, zone, slow_start
            self._arrange(self.members)
        self.ejections.adjust(panic, now)

    def choose(
        self,
        now: float,
        rng: random.Random,
        tried: Collection[Endpoint] = (),
        *,
        probes: bool = True,
        key: str | None = None,
    ) -> Choice | None:
        """Take an endpoint and its permit, or None when all are refused. Give it back with settle().

        Args:
            now: Monotonic seconds.
            rng: Draws.
            tried: Those that this call has been sent to.
            probes: Whether the attempt may be the probe of a circuit.
            key: What calls that belong together have in common.
        """
        fleet = self._fleet
        if fleet.only is not None:
            return self._take(fleet.only, now, probes=probes)
        groups = self._by_spill(fleet, now, rng) if fleet.near else fleet.groups
        if self._slow:  # a person, or another process, may have closed one of their circuits
            self._note_slow_of(self._slow, now)
        out = self.ejections.out(now)
        refused: set[Endpoint] = set()
        if not out and not tried:
            if groups and not self._slow_start:  # the usual case, by the shortest way
                member = groups[0].pick((), now, rng, key)
                if member is not None:
                    taken = self._take(member, now, probes=probes)
                    if taken is not None:
                        return taken
                    self._note_refusal(member, refused, now)
            orders: tuple[Collection[Endpoint], ...] = ((),)
        else:
            out = frozenset(member for member in out if not _is_slow(member))  # those have probes to be sent
            orders = ({*out, *tried}, out, ()) if out and tried else ({*out, *tried}, ())
        for passed in orders:
            for group in groups if len(refused) < len(self.members) else ():
                chosen = self._choose_in(group, passed, refused, now, rng, probes=probes, key=key)
                if chosen is not None:
                    return chosen
        slow = self._slow  # refused for a guess; now they are the last ones left
        return _tolerated(min(slow, key=lambda member: member.load(now))) if slow else None

    def settle(
        self,
        member: Endpoint,
        permit: Permit | None,
        outcome: Outcome,
        now: float,
        answered: float | None = None,
        took: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """An attempt at one of them ended; see Endpoint.settle()."""
        member.settle(permit, outcome, now, answered, took, error)
        if self._fleet.only is not None:
            return
        if answered is not None and outcome is SUCCESS:
            if now >= self._reckon_at:
                self._reckon(now)
            if answered > self._far and (member.latency.quantile(0.5) or 0.0) > self._far:
                member.penalise(now)
        if member in self._slow or (member.circuit is not None and member.circuit.cause is SLOW):
            self._note_slow_of((member,), now)

    def pause(self, member: Endpoint, now: float, seconds: float) -> bool:
        """Leave an endpoint alone for so long. False when too many are already."""
        return self.ejections.eject(member, "paused", now, now + seconds)

    def note_health(self, member: Endpoint, now: float, *, healthy: bool) -> None:
        """Checks say so of it from now on. One that was left alone for it is back, and starts slowly."""
        if not healthy:
            self.ejections.eject(member, "unhealthy", now)
            return
        if "unhealthy" in self.ejections.reasons(member, now) and member in self.ejections.out(now):
            member.since = now
        self.ejections.readmit(member, "unhealthy", now)

    def has_untried(self, tried: Collection[Endpoint], now: float) -> bool:
        """Whether an endpoint that is no backup is left that is not among those tried, and would be admitted."""
        fleet = self._fleet
        if fleet.only is not None:
            return False
        out = self.ejections.out(now)
        return any(
            member not in tried and member not in out and self._would_take(member, now) for member in fleet.primaries
        )

    def retry_in(self, now: float) -> float | None:
        """Seconds until the earliest circuit lets a probe through, or None when none will by itself."""
        earliest = None
        for member in self.members:
            wait = None if member.circuit is None else member.circuit.retry_in(now)
            if wait is not None and (earliest is None or wait < earliest):
                earliest = wait
        return earliest

    @property
    def named(self) -> str:
        """The URLs of the first few, for a message."""
        return self._fleet.named

    def usual(self) -> float:
        """Seconds that an attempt usually takes (p50) at the quickest endpoint; 0.0 while unknown."""
        known = [seconds for member in self.members if (seconds := member.latency.quantile(0.5)) is not None]
        return min(known, default=0.0)

    def _choose_in(
        self,
        group: Balancer,
        passed: Collection[Endpoint],
        refused: set[Endpoint],
        now: float,
        rng: random.Random,
        *,
        probes: bool,
        key: str | None,
    ) -> Choice | None:
        held_back: list[Endpoint] = []
        if refused:
            passed = {*passed, *refused}
        while (member := group.pick(passed, now, rng, key)) is not None:
            if self._slow_start and self._holds_back(member, now, rng):
                held_back.append(member)
                passed = {*passed, member}
                continue
            taken = self._take(member, now, probes=probes)
            if taken is not None:
                return taken
            self._note_refusal(member, refused, now)
            passed = {*passed, *refused}
        for member in held_back:  # there is nothing else
            taken = self._take(member, now, probes=probes)
            if taken is not None:
                return taken
            refused.add(member)
        return None

    def _note_refusal(self, member: Endpoint, refused: set[Endpoint], now: float) -> None:
        """A circuit has refused: of few, and of many after a while, all are asked that would."""
        refused.add(member)
        if len(refused) == ASKED or len(self.members) <= ASKED:
            refused.update(each for each in self.members if each is not member and not self._would_take(each, now))

    def _take(self, member: Endpoint, now: float, *, probes: bool) -> Choice | None:
        permit = None
        circuit = member.circuit
        if circuit is not None:
            permit = circuit.acquire(now) if probes or circuit.closed else None
            if permit is None:
                return _tolerated(member) if self._bears(member, now) else None
        member.begin()
        return member, permit

    def _would_take(self, member: Endpoint, now: float) -> bool:
        return member.circuit is None or member.circuit.admits(now) or self._bears(member, now)

    def _bears(self, member: Endpoint, now: float) -> bool:
        """Whether it is used although its circuit opened: on slow answers, and too many are left alone already."""
        return member in self._slow and _is_slow(member) and member not in self.ejections.out(now)

    def _note_slow_of(self, members: Collection[Endpoint], now: float) -> None:
        for member in members:
            slow = _is_slow(member) and self._fleet.only is None
            if slow is not (member in self._slow):
                self._note_slow(member, now, slow=slow)

    def _note_slow(self, member: Endpoint, now: float, *, slow: bool) -> None:
        with self._lock:
            if slow and member in self.members:
                self._slow |= {member}
            else:
                self._slow -= {member}
        if slow:
            self.ejections.eject(member, "slow", now)
        else:
            self.ejections.readmit(member, "slow", now)

    def _holds_back(self, member: Endpoint, now: float, rng: random.Random) -> bool:
        """Whether one that is new, or back, leaves this attempt to another."""
        age = now - member.since
        return age < self._slow_start and rng.random() >= max(FIRST_SHARE, age / self._slow_start)

    def _by_spill(self, fleet: _Fleet, now: float, rng: random.Random) -> tuple[Balancer, ...]:
        """The groups, the own zone first but for the share of the attempts that it spills over."""
        if now >= self._reckon_at:
            self._reckon(now)
        near, far, *backups = fleet.groups
        return (far, near, *backups) if rng.random() < self._spilled else fleet.groups

    def _reckon(self, now: float) -> None:
        self._reckon_at = now + RECKONED_EVERY
        usual = self.usual()
        self._far = max(FAR * usual, usual + FURTHER) if usual else math.inf
        near, out = self._fleet.near, self.ejections.out(now)
        if near:
            healthy = [
                member for member in near if member not in out and (member.circuit is None or member.circuit.closed)
            ]
            share = sum([member.weight for member in healthy], 0.0) / sum([member.weight for member in near], 0.0)
            self._spilled = max(0.0, 1.0 - SPARE * share)


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The endpoints as arranged for choosing: replaced as one.

    Attributes:
        only: The one, where there is one.
        groups: What picks in each group, the preferred first.
        near: Those of the own zone, where there are others.
        primaries: Those that are no backups.
        named: The URLs of the first few.
    """

    only: Endpoint | None
    groups: tuple[Balancer, ...]
    near: tuple[Endpoint, ...]
    primaries: tuple[Endpoint, ...]
    named: str


def _is_slow(member: Endpoint) -> bool:
    """Whether its circuit opened on slow answers alone."""
    circuit = member.circuit
    if circuit is None or circuit.closed or circuit.cause is not SLOW:
        return False
    return not (circuit.by_hand or circuit.rules.observe)  # those are held open, or refuse nobody


def _tolerated(member: Endpoint) -> Choice:
    member.begin()
    return member, TOLERATED
