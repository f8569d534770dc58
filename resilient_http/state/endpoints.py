"""Endpoints: the nodes of an upstream, and which of them the next attempt goes to.

Laws
    1. Choosing takes the endpoint's permit in the same step, so two callers never share one half-open probe.
    2. Of two endpoints drawn at random, by weight, the less loaded is taken (p2c). Load is the requests in flight plus
       a penalty per failure that fades with a half-life, over the weight: a node that fails fast attracts no traffic.
    3. A backup is chosen when no other endpoint is admitted, or when this call has tried all others (as nginx's is). An
       endpoint that this call has tried comes after those that it has not.
    4. A circuit that is open is never chosen. When all are, the choice is refused.
    5. A paused endpoint comes after all others. At most half of them are paused at once, so never the only one.

Source: M. Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001).
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from resilient_http.state.circuit import Circuit, Permit
from resilient_http.state.giving_way import give_way
from resilient_http.state.latency import Latency
from resilient_http.state.outcome import FAILED, Outcome, OutcomeRules

PENALTY = 4.0
HALF_LIFE = 5.0


@dataclass(frozen=True, slots=True)
class Link:
    """How an endpoint is reached; opaque here, read by the engines.

    Attributes:
        host: `Host` header in place of the upstream's name, or None to keep the request's own.
        server_name: Name to ask for, and to verify, in TLS; None for the URL's.
        verify: True, False, or the path of a CA bundle.
        cert: Client certificate: path of a PEM file, or (certificate, key).
        http2: Whether HTTP/2 is offered.
        proxy: URL of a proxy, or None.
        max_keepalive: Most connections that are kept idle.
        keepalive_expiry: Seconds that an idle connection is kept.
        max_age: Seconds after which a connection takes no further request; inf for no limit.
    """

    host: str | None = None
    server_name: str | None = None
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    http2: bool = False
    proxy: str | None = field(default=None, repr=False)
    max_keepalive: int = 100
    keepalive_expiry: float | None = 4.0
    max_age: float = 300.0


class Endpoint:
    """One node (origin) of an upstream, and what is known about it.

    Args:
        scheme: "http" or "https".
        host: Name or address, without brackets.
        port: 1 to 65535.
        weight: Share of the traffic relative to its siblings. Positive.
        backup: Used only when no other endpoint is admitted.
        circuit: Its circuit, or None when the upstream has none.
        link: How it is reached.

    Attributes:
        outcomes: What an attempt counts as, where a user has changed that.
    """

    __slots__ = (
        "_cut_in_a_row", "_lock", "_penalised", "_penalty", "_uncounted", "backup", "circuit", "host",
        "in_flight", "latency", "link", "netloc", "outcomes", "paused_until", "port", "scheme", "url", "weight",
    )  # fmt: skip

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        *,
        weight: float = 1.0,
        backup: bool = False,
        circuit: Circuit | None = None,
        link: Link | None = None,
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        bracketed = f"[{host}]" if ":" in host else host
        self.netloc = bracketed if port == {"http": 80, "https": 443}.get(scheme, 0) else f"{bracketed}:{port}"
        self.url = f"{scheme}://{self.netloc}"
        self.weight = weight
        self.backup = backup
        self.circuit = circuit
        self.link = link or Link()
        self.outcomes = OutcomeRules()
        self.in_flight = 0
        self.paused_until = -math.inf
        self.latency = Latency()
        self._penalty = 0.0
        self._penalised = 0.0
        self._cut_in_a_row = 0  # since the last answer; of them
        self._uncounted = 0  # so many have been neutral
        self._lock = threading.Lock()

    def load(self, now: float) -> float:
        """Requests in flight and the fading penalty for failures, over the weight."""
        if not self._penalty:
            return self.in_flight / self.weight
        return (self.in_flight + self._faded(now)) / self.weight

    def begin(self) -> None:
        """An attempt goes to this endpoint; settle() ends it."""
        if self._lock.locked():
            give_way(self._lock)
        with self._lock:
            self.in_flight += 1

    def judge_cut(self, waited: float, patience: float) -> Outcome:
        """What an attempt counts as that was cut short after `waited` seconds without an answer.

        Silent, so a failure, when it was patient enough: min(`patience`, 4 times the usual p95 but at least 0.25 s), or
        1 s while the p95 is unknown; or when it is the tenth in a row that waited 0.25 s with no answer between them.
        The numbers are those of OutcomeRules.
        """
        rules = self.outcomes
        usual = self.latency.quantile(0.95)
        needed = rules.silent_after if usual is None else max(rules.silent_least, rules.silent_factor * usual)
        silent = waited >= min(patience, needed)
        if waited >= rules.silent_least:
            with self._lock:
                self._cut_in_a_row += 1
                silent = silent or self._cut_in_a_row >= rules.silent_in_a_row
                self._uncounted += not silent
        return Outcome.UNANSWERED if silent else Outcome.NEUTRAL

    def settle(
        self,
        permit: Permit | None,
        outcome: Outcome,
        now: float,
        *,
        answered: float | None = None,
        heard: bool = False,
        error: BaseException | None = None,
        took: float = 0.0,
    ) -> None:
        """An attempt at this endpoint ended.

        Args:
            permit: What choose() gave.
            outcome: What it counts as.
            now: Monotonic seconds.
            answered: Seconds to the whole answer, or None when there was none.
            heard: Whether there was one whose body nobody read to its end.
            error: The exception, for listeners of the circuit.
            took: Seconds that the endpoint took, for the circuit's rule about slow calls.
        """
        if self._lock.locked():
            give_way(self._lock)
        with self._lock:
            self.in_flight -= 1
            if outcome is not Outcome.SUCCESS and outcome in FAILED:  # an enum is hashed in Python
                self._penalty = self._faded(now) + PENALTY
                self._penalised = now
            silent_too = 0
            if answered is not None or heard:
                self._cut_in_a_row = self._uncounted = 0
            elif outcome is Outcome.UNANSWERED and self._cut_in_a_row >= self.outcomes.silent_in_a_row:
                # Those before this one turn out to have been silent too.
                silent_too, self._cut_in_a_row, self._uncounted = self._uncounted, 0, 0
        if answered is not None and outcome is Outcome.SUCCESS:
            # What fails fast, or throttles, does not tell how long an answer takes.
            self.latency.record(answered)
        if self.circuit is None or permit is None:
            return
        self.circuit.record(permit, outcome, now, error, took)
        for _ in range(silent_too):
            self.circuit.record(permit, outcome, now, error, took)

    def _faded(self, now: float) -> float:
        passed = now - self._penalised
        return self._penalty * 2.0 ** (-passed / HALF_LIFE) if passed < 20 * HALF_LIFE else 0.0

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}>"


class Endpoints:
    """The endpoints of one upstream. Thread-safe.

    Args:
        members: At least one endpoint.
    """

    __slots__ = ("_backups", "_even", "_lock", "_only", "_pauses_end", "_primaries", "members")

    def __init__(self, members: Sequence[Endpoint]) -> None:
        self.members = tuple(members)
        self._primaries = tuple(member for member in members if not member.backup)
        self._backups = tuple(member for member in members if member.backup)
        self._only = members[0] if len(members) == 1 else None
        self._even = len({member.weight for member in members}) == 1
        self._pauses_end = -math.inf
        self._lock = threading.Lock()

    def choose(
        self, now: float, rng: random.Random, tried: Collection[Endpoint] = (), *, probes: bool = True
    ) -> tuple[Endpoint, Permit | None] | None:
        """Take an endpoint and its permit, or None when all are refused. Give it back with Endpoint.settle().

        Args:
            now: Monotonic seconds.
            rng: Draws.
            tried: Those that this call has been sent to.
            probes: Whether the attempt may be the probe of a circuit.
        """
        if self._only is not None:
            return _take(self._only, now, probes=probes)
        paused = [] if now >= self._pauses_end else [member for member in self.members if now < member.paused_until]
        primaries: Sequence[Endpoint] = self._primaries
        if not tried and not paused and primaries:
            best = _less_loaded(primaries, now, rng, even=self._even)
            taken = _take(best, now, probes=probes)
            if taken is not None:
                return taken
            primaries = [member for member in primaries if member is not best]
        groups: tuple[Sequence[Endpoint], ...] = (primaries, self._backups)
        if tried:
            fresh = [[member for member in group if member not in tried] for group in groups]
            groups = (*fresh, *([member for member in group if member in tried] for group in groups))
        if paused:
            groups = (*([member for member in group if member not in paused] for group in groups), paused)
        for group in groups:
            chosen = self._choose_among(group, now, rng, probes=probes)
            if chosen is not None:
                return chosen
        return None

    def pause(self, member: Endpoint, now: float, seconds: float) -> bool:
        """Leave an endpoint alone for so long. False when too many are already."""
        with self._lock:
            if not self.may_pause(member, now):
                return False
            member.paused_until = max(member.paused_until, now + seconds)
            self._pauses_end = max(self._pauses_end, member.paused_until)
            return True

    def may_pause(self, member: Endpoint, now: float) -> bool:
        """Whether pause() would leave it alone."""
        others = sum(other is not member and now < other.paused_until for other in self.members)
        return others < len(self.members) // 2

    def has_untried(self, tried: Collection[Endpoint], now: float) -> bool:
        """Whether an endpoint that is no backup is left that is not among those tried, and would be admitted."""
        return self._only is None and any(
            member not in tried
            and now >= member.paused_until
            and (member.circuit is None or member.circuit.admits(now))
            for member in self._primaries
        )

    def retry_in(self, now: float) -> float | None:
        """Seconds until the earliest circuit lets a probe through, or None when none will by itself."""
        waits = [member.circuit.retry_in(now) for member in self.members if member.circuit is not None]
        return min((wait for wait in waits if wait is not None), default=None)

    def usual(self) -> float:
        """Seconds that an attempt usually takes (p50) at the quickest endpoint; 0.0 while unknown."""
        known = [seconds for member in self.members if (seconds := member.latency.quantile(0.5)) is not None]
        return min(known, default=0.0)

    def _choose_among(
        self, candidates: Sequence[Endpoint], now: float, rng: random.Random, *, probes: bool
    ) -> tuple[Endpoint, Permit | None] | None:
        while candidates:
            best = _less_loaded(candidates, now, rng, even=self._even)
            taken = _take(best, now, probes=probes)
            if taken is not None:
                return taken
            candidates = [member for member in candidates if member is not best]
        return None


def _take(member: Endpoint, now: float, *, probes: bool) -> tuple[Endpoint, Permit | None] | None:
    permit = None
    if member.circuit is not None:
        if not probes and not member.circuit.closed:
            return None
        permit = member.circuit.acquire(now)
        if permit is None:
            return None
    member.begin()
    return member, permit


def _less_loaded(members: Sequence[Endpoint], now: float, rng: random.Random, *, even: bool) -> Endpoint:
    count = len(members)
    if count == 1:
        return members[0]
    if even:
        first, second = int(rng.random() * count), int(rng.random() * (count - 1))
        one, other = members[first], members[second + (second >= first)]
    else:
        one = _draw(members, rng)
        other = _draw([member for member in members if member is not one], rng)
    # Equally loaded, as all are while they are idle, the first drawn is taken: so the weights rule then too.
    return other if other.load(now) < one.load(now) else one


def _draw(members: Sequence[Endpoint], rng: random.Random) -> Endpoint:
    """One of them, drawn by weight."""
    return rng.choices(members, [member.weight for member in members])[0]
