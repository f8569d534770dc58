"""Endpoint: one node of an upstream, what is under way there, and what its attempts have taught.

Laws
    1. Load is the requests in flight plus a penalty that fades with a half-life, over the weight. A failure is
       penalised, and so is an answer far slower than the siblings': what fails fast, or is slow, attracts no traffic.
       While its circuit keeps attempts away the penalty is nothing. And it keeps nobody away for longer than a circuit
       would: `open_for` after the last failure one attempt at a time finds out, and a good answer then ends it.
    2. Every attempt that began is settled once, whatever became of it.
    3. An attempt that was cut short without an answer is a failure only when it was patient enough.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from resilient_http.state.circuit import Circuit, Permit
from resilient_http.state.giving_way import give_way
from resilient_http.state.health import Health
from resilient_http.state.latency import Latency
from resilient_http.state.outcome import FAILED, SUCCESS, UNANSWERED, Outcome, OutcomeRules
from resilient_http.state.peak_ewma import PeakEwma

PENALTY = 4.0
HALF_LIFE = 5.0
RETRIED = 5.0  # seconds after a failure of an endpoint without a circuit
MOST = 8 * PENALTY  # so that it is gone within half a minute


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


class Crowd:
    """What is under way at some endpoints together. Thread-safe.

    Args:
        members: The endpoints; each is in one crowd at most, the newest.
    """

    __slots__ = ("_lock", "in_flight")

    def __init__(self, members: Sequence[Endpoint]) -> None:
        self._lock = threading.Lock()
        self.in_flight = sum(member.in_flight for member in members)
        for member in members:
            member.crowd = self

    def add(self, count: int) -> None:
        """So many more, or fewer."""
        with self._lock:
            self.in_flight += count


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
        zone: Where it stands, or None where that is not known.

    Attributes:
        outcomes: What an attempt counts as, where a user has changed that.
        gone: Whether its upstream has it no more.
        since: Monotonic seconds at which it was new, or back; minus infinity for one that was there from the start.
        health: What checks have said of it, or None where it is not checked.
        ewma: How long it takes, where the balancer goes by that.
        crowd: Where what is under way is counted together, where the balancer goes by that.
    """

    __slots__ = (
        "__weakref__", "_cut_in_a_row", "_lock", "_penalised", "_penalty", "_uncounted", "_under_way", "backup",
        "circuit", "crowd", "ewma", "gone", "health", "host", "latency", "link", "netloc", "outcomes", "port", "scheme",
        "since", "url", "weight", "zone",
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
        zone: str | None = None,
    ) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        bracketed = f"[{host}]" if ":" in host else host
        self.netloc = bracketed if port == {"http": 80, "https": 443}.get(scheme, 0) else f"{bracketed}:{port}"
        self.url = f"{scheme}://{self.netloc}"
        self.weight = weight
        self.backup = backup
        self.zone = zone
        self.circuit = circuit
        self.link = link or Link()
        self.outcomes = OutcomeRules()
        self._under_way: list[None] = []  # as long as they are many: to append and to pop is one step, without a lock
        self.gone = False
        self.since = float("-inf")
        self.health: Health | None = None
        self.ewma: PeakEwma | None = None
        self.crowd: Crowd | None = None
        self.latency = Latency()
        self._penalty = 0.0
        self._penalised = 0.0
        self._cut_in_a_row = 0  # since the last answer; of them
        self._uncounted = 0  # so many have been neutral
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Attempts that began and are not settled."""
        return len(self._under_way)

    def load(self, now: float) -> float:
        """Requests in flight and the fading penalty, over the weight."""
        return (self.busy(now) if self._penalty else len(self._under_way)) / self.weight

    def busy(self, now: float) -> float:
        """Requests in flight and the fading penalty."""
        return len(self._under_way) + self.penalty(now)

    def penalty(self, now: float) -> float:
        """What failures and slow answers have left of theirs; 0.0 while an attempt is wanted that finds out."""
        if not self._penalty or (not self._under_way and self._may_try(now)):
            return 0.0
        return self._faded(now)

    def _may_try(self, now: float) -> bool:
        """Whether the last failure was so long ago as that a circuit would let a probe through."""
        return now - self._penalised >= (RETRIED if self.circuit is None else self.circuit.rules.open_for)

    def _faded(self, now: float) -> float:
        passed = now - self._penalised
        return self._penalty * 2.0 ** (-passed / HALF_LIFE) if passed < 20 * HALF_LIFE else 0.0

    def penalise(self, now: float) -> None:
        """It failed, or took far longer than its siblings do: for a while it weighs more."""
        with self._lock:
            self._penalise(now)

    def begin(self) -> None:
        """An attempt goes to this endpoint; settle() ends it."""
        self._under_way.append(None)
        if self.crowd is not None:
            self.crowd.add(1)

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
        answered: float | None = None,
        took: float = 0.0,
        error: BaseException | None = None,
    ) -> None:
        """An attempt at this endpoint ended.

        Args:
            permit: What choose() gave.
            outcome: What it counts as.
            now: Monotonic seconds.
            answered: Seconds to the whole answer, or None when there was none.
            took: Seconds that the endpoint took, for the circuit's rule about slow calls.
            error: The exception, for listeners of the circuit.
        """
        silent_too = self._end(outcome, now, spoke=answered is not None)
        if self.crowd is not None:
            self.crowd.add(-1)
        if answered is not None and outcome is SUCCESS:
            # What fails fast, or throttles, does not tell how long an answer takes.
            self.latency.record(answered)
        if self.ewma is not None and (outcome is SUCCESS or outcome is UNANSWERED):
            self.ewma.observe(took, now)
        circuit = self.circuit
        if circuit is None or permit is None:
            return
        probed = permit.probe and not circuit.closed
        circuit.record(permit, outcome, now, error, took)
        while silent_too:
            circuit.record(permit, outcome, now, error, took)
            silent_too -= 1
        if probed or not circuit.closed:
            self._heed(circuit, permit, outcome, now)

    def hear(self) -> None:
        """It answers, whether or not somebody reads that to its end: it is not silent."""
        if self._cut_in_a_row:
            with self._lock:
                self._cut_in_a_row = self._uncounted = 0

    def _end(self, outcome: Outcome, now: float, *, spoke: bool) -> int:
        """It is no longer in flight. How many before it turn out to have been silent too."""
        self._under_way.pop()
        if outcome is SUCCESS and not self._penalty and not self._cut_in_a_row:
            return 0  # the usual case: there is nothing to forgive
        if self._lock.locked():
            give_way(self._lock)
        with self._lock:
            if outcome is SUCCESS:
                if self._penalty and self._may_try(now):
                    self._penalty = 0.0
            elif outcome in FAILED:
                self._penalise(now)
            if spoke:
                self._cut_in_a_row = self._uncounted = 0
            elif outcome is UNANSWERED and self._cut_in_a_row >= self.outcomes.silent_in_a_row:
                silent_too, self._cut_in_a_row, self._uncounted = self._uncounted, 0, 0
                return silent_too
            return 0

    def _heed(self, circuit: Circuit, permit: Permit, outcome: Outcome, now: float) -> None:
        """Its circuit has closed, or is open."""
        if circuit.closed:  # its probes were answered: what was before is no news any more
            self.since = now
            self._penalty = 0.0
        elif permit.generation >= 0:
            # What else would keep attempts away must not keep the probe away: then one that is up again would be found
            # out as late as that fades.
            self._penalty = 0.0
            if self.ewma is not None and outcome is not SUCCESS:
                self.ewma.forget()

    def _penalise(self, now: float) -> None:
        self._penalty = min(MOST, self._faded(now) + PENALTY)
        self._penalised = now

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}>"
