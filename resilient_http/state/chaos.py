"""Chaos: which attempt gets which fault, and until when.

Laws
    1. Time and randomness are arguments, or come from the seed; the same seed gives the same faults, in the order of
       the attempts.
    2. At its end it injects nothing any more, whatever it was told.
    3. An answer, an abort and a drip exclude each other, so their shares add up. A latency comes before any of them.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaultRules:
    """What may be injected, each into a share (0 to 1) of the attempts.

    Attributes:
        latency: Seconds, from and to; None for none.
        status: Of an answer that nobody gave; None for none.
        headers, body: Of that answer.
        abort: "before" anything is sent, or "after" all was; None for none.
        drip: Bytes per second at which the body comes; None for no slowing.
        methods: Of the attempts that may be hit; None for all.
    """

    latency: tuple[float, float] | None = None
    latency_share: float = 1.0
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    error_share: float = 1.0
    abort: str | None = None
    abort_share: float = 1.0
    drip: float | None = None
    drip_share: float = 1.0
    methods: frozenset[str] | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of fault that there are."""
        given = {"latency": self.latency, "error": self.status, "abort": self.abort, "drip": self.drip}
        return tuple(kind for kind, value in given.items() if value is not None)

    def draw(self, method: str, rng: random.Random) -> Fault | None:
        """What an attempt gets, or None. Takes as many random numbers whatever comes of them."""
        hit, slow, long = rng.random(), rng.random(), rng.random()
        if self.methods is not None and method not in self.methods:
            return None
        latency = 0.0
        if self.latency is not None and slow < self.latency_share:
            least, most = self.latency
            latency = least + (most - least) * long
        for kind, share in (("error", self.error_share), ("abort", self.abort_share), ("drip", self.drip_share)):
            if kind not in self.kinds:
                continue
            if hit < share:
                return Fault(kind, latency, self)
            hit -= share
        return Fault("latency", latency, self) if latency else None


@dataclass(frozen=True, slots=True)
class Fault:
    """What one attempt gets.

    Attributes:
        kind: "latency" alone, or "error", "abort" or "drip".
        latency: Seconds before it, or before the attempt is sent.
        rules: What it was drawn from.
    """

    kind: str
    latency: float
    rules: FaultRules

    @property
    def kinds(self) -> tuple[str, ...]:
        """All that is done to the attempt, in order."""
        return ("latency", self.kind) if self.latency and self.kind != "latency" else (self.kind,)

    def __str__(self) -> str:
        texts = {
            "latency": "",
            "error": f"{self.rules.status} injected",
            "abort": f"connection aborted {self.rules.abort} sending",
            "drip": f"body at {self.rules.drip or 0.0:.3g} bytes/s",
        }
        late = f"{self.latency:.3g} s of latency injected" if self.latency else ""
        return ", ".join(filter(None, (late, texts[self.kind])))


@dataclass(frozen=True, slots=True)
class Order:
    """Faults that the inbound request asks for, with a signature that was good.

    Attributes:
        upstream: Into whose calls; "*" for all that take orders.
        until: Wall-clock seconds since the epoch.
        rules: Which.
    """

    upstream: str
    until: float
    rules: FaultRules

    def holds(self, upstream: str, wall_now: float) -> bool:
        """Whether it is about that upstream, and not over."""
        return wall_now < self.until and self.upstream in (upstream, "*")


class Chaos:
    """The faults of an upstream, or of a route of its. Thread-safe.

    Args:
        rules: Which.
        ends: Monotonic seconds at which it is over.
        seed: Of what is drawn; None for another one each time.
        orders: Whether an Order is obeyed.
    """

    __slots__ = ("_lock", "_rng", "ends", "orders", "rules")

    def __init__(self, rules: FaultRules, ends: float, *, seed: int | None = None, orders: bool = False) -> None:
        self.rules = rules
        self.ends = ends
        self.orders = orders
        self._rng = random.Random(seed)
        self._lock = threading.Lock()

    def draw(self, method: str, now: float) -> Fault | None:
        """What an attempt gets that is made now, or None."""
        if now >= self.ends or not self.rules.kinds:
            return None
        with self._lock:
            return self.rules.draw(method, self._rng)

    def obey(self, order: Order, upstream: str, method: str, wall_now: float) -> Fault | None:
        """What an attempt gets by an order, or None."""
        if not self.orders or not order.holds(upstream, wall_now):
            return None
        with self._lock:
            return order.rules.draw(method, self._rng)

    def as_dict(self, now: float) -> dict[str, object]:
        """JSON-able: what it does, and for how long still."""
        left = max(0.0, self.ends - now) if self.rules.kinds else 0.0
        return {"kinds": list(self.rules.kinds), "ends_in": round(left, 3), "by_header": self.orders}
