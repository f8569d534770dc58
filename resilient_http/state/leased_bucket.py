"""LeasedBucket: this process's part of a token bucket that several processes share.

Laws
    1. An attempt takes a token from memory. Nothing here waits or does I/O; what is to be asked of the shared bucket is
       asked beside the calls: ask(), and answer() with what it said.
    2. What is leased counts as the shared bucket's own until it is used: what lies there and what all processes hold is
       never more than its burst. So all of them together never send more than the rate and the burst allow, in any
       span of time.
    3. It asks for what it is likely to use before it asks again. What is above that goes back; a process without calls
       holds what it may need at once, and two tokens at most while others go short.
    4. Who waits is before who comes. A token that was not used is given back.
    5. The first attempt of all may go before anything was leased; what it took is told, and taken from the shared one.
    6. An answer holds for two intervals. Without another one the process is alone, and goes on with its share of the
       rate: one of as many as were seen last. What it took meanwhile is told as soon as it is back.

    not known -- an answer ------------------------>  leasing
    not known -- no answer, or none for `expires` -->  alone    (with all of the rate: it has seen nobody else)
    leasing   -- no answer for two intervals ------->  alone    (with its share)
    alone     -- an answer ------------------------>  leasing
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

PACES = 5  # so many times an interval it may ask when it runs short
SPARE = 2  # tokens of one without calls while others go short: for the first, and until it is made up for
SHORTEST_LOOK = 0.005  # seconds; who waits does not look more often


@dataclass(frozen=True, slots=True)
class LeaseRules:
    """The numbers of leasing. Their meaning and reasons: see SharedSettings."""

    interval: float = 0.25
    expires: float = 2.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process tells and asks of the shared bucket.

    Attributes:
        held: Tokens that it holds and keeps.
        back: Tokens that it gives back.
        want: Tokens that it would like to have.
        spent: Tokens that it used without having leased them.
        known: Whether it has had an answer before, so that a shared bucket that is empty of memory is not a new one.
        crowd: How many processes there were, when it comes back after it was alone; else 0.
    """

    held: int = 0
    back: int = 0
    want: int = 0
    spent: int = 0
    known: bool = False
    crowd: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the shared bucket says.

    Attributes:
        granted: Tokens that are this process's now.
        processes: How many processes share it, this one included.
        claimants: How many others want more than they have.
        level: What lies there still.
    """

    granted: int
    processes: int = 1
    claimants: int = 0
    level: float = 0.0


class LeasedBucket:
    """One per upstream. Thread-safe.

    Args:
        rate: Tokens per second of all processes together. Positive.
        burst: Most tokens kept by all together. At least 1.
        rules: How often it asks, and when it is forgotten.

    Attributes:
        on_need: Called, by a thread with a call, when it should ask soon; or None.
        processes: How many shared it when it last heard, this one included.
        alone: Whether it goes on by itself.
    """

    on_need: Callable[[], object] | None = None

    def __init__(self, rate: float, burst: float, rules: LeaseRules | None = None) -> None:
        self.rate = rate
        self.burst = burst
        self.rules = rules or LeaseRules()
        self.processes = 1
        self.alone = False
        self._tokens = 0.0
        self._waiting = 0
        self._known = self._borrowed = self._hurried = False
        self._spent = self._unsent = 0
        self._taken = 0  # since it last asked: these still count as held
        self._guided_until: float | None = None
        self._updated = -math.inf  # the drip of one that is alone
        self._asks = 0
        self._demand = 0.0  # tokens a second
        self._target = 1
        self._asked_at = -math.inf
        self._claimants = 0
        self._level = 0.0
        self._lock = threading.Lock()

    def adjust(self, rate: float, burst: float) -> None:
        """Go by other numbers from now on, with what is leased."""
        with self._lock:
            self.rate, self.burst = rate, burst

    def reserve(self, now: float, patience: float = 0.0) -> float:
        """0.0 when a token was taken, else seconds until one may be there.

        When that is at most `patience`, it has a turn: it comes for its token (collect), or leaves.
        """
        with self._lock:
            self._look(now)
            self._asks += 1
            wait = 0.0
            if self._tokens - self._waiting >= 1:
                self._take()
            elif not (self._known or self._borrowed or self.alone):
                self._borrowed = True
                self._spent += 1
            else:
                wait = self._wait(now)
                if wait <= patience:
                    self._waiting += 1
            hurry = self._hurry(now)
        self._tell(hurry)
        return wait

    def collect(self, now: float) -> float:
        """One that waited comes for its token: 0.0 when it has it, else seconds until it may come again."""
        with self._lock:
            self._look(now)
            wait = 0.0
            if self._tokens >= 1:
                self._waiting -= 1
                self._take()
            else:
                wait = (1 - self._tokens) / self._share if self.alone else self._next_answer(now)
            hurry = self._hurry(now)
        self._tell(hurry)
        return wait

    def leave(self) -> None:
        """One that waited does so no more."""
        with self._lock:
            self._waiting -= 1

    def refund(self) -> None:
        """A token that was taken has not been used."""
        with self._lock:
            if self.alone:
                self._tokens = min(self._cap, self._tokens + 1)
                self._spent = max(0, self._spent - 1)
            elif self._taken > 0:
                self._taken -= 1
                self._tokens += 1
            else:
                # It counts as held no more, and is the shared bucket's to keep or to spill.
                self._unsent += 1

    def tokens(self, now: float) -> float:
        """Tokens that are there for who comes; below 0 when some wait for theirs."""
        with self._lock:
            self._look(now)
            return self._tokens - self._waiting

    def ask(self, now: float) -> Ask:
        """What to tell and ask of the shared bucket. What it gives back is gone, whether or not there is an answer."""
        with self._lock:
            self._look(now)
            self._learn(now)
            self._hurried = False
            if self.alone:
                crowd = self.processes if self._known else 0
                return Ask(want=self._target, spent=self._spent, known=self._known, crowd=crowd)
            excess = max(0, int(self._tokens) - self._target - self._waiting)
            self._tokens -= excess
            back, self._unsent = excess + self._unsent, 0
            self._taken = 0
            held = int(self._tokens)
            want = max(0, self._target + self._waiting - held)
            return Ask(held, back, want, self._spent, self._known)

    def answer(self, ask: Ask, answer: Answer, asked: float) -> None:
        """What the shared bucket said to what was asked then."""
        with self._lock:
            # One that was alone has told all that it took, so what has dripped meanwhile is not its own.
            self._tokens = answer.granted + (0.0 if self.alone else self._tokens)
            self._spent = max(0, self._spent - ask.spent)
            self._known, self.alone = True, False
            self.processes, self._claimants, self._level = answer.processes, answer.claimants, answer.level
            self._guided_until = asked + 2 * self.rules.interval

    def go_alone(self) -> None:
        """There will be no answer."""
        with self._lock:
            self._guided_until = -math.inf

    @property
    def _pace(self) -> float:
        return self.rules.interval / PACES

    @property
    def _share(self) -> float:
        """Tokens a second of one that is alone."""
        return self.rate / self.processes

    @property
    def _cap(self) -> float:
        return max(1.0, self.burst / self.processes)

    def _take(self) -> None:
        self._tokens -= 1
        if self.alone:
            self._spent += 1
        else:
            self._taken += 1

    def _look(self, now: float) -> None:
        if self._guided_until is None:
            self._guided_until = now + self.rules.expires
        if now < self._guided_until:
            return
        if not self.alone:
            self.alone, self._updated = True, now
            if not self._known:
                self._tokens = self._cap - self._spent
        passed = now - self._updated
        if passed > 0:  # a thread may come late with the time it read
            self._updated = now
            self._tokens = min(max(self._cap, self._tokens), self._tokens + passed * self._share)

    def _wait(self, now: float) -> float:
        short = self._waiting + 1 - self._tokens
        if self.alone:
            return short / self._share
        # Others that are short have their turns too.
        due = (short * (self._claimants + 1) - max(0.0, self._level)) / self.rate - (now - self._asked_at)
        return max(due, self._next_answer(now))

    def _next_answer(self, now: float) -> float:
        return max(SHORTEST_LOOK, self._asked_at + self._pace - now)

    def _hurry(self, now: float) -> bool:
        """Whether to ask before the interval is over."""
        if self._hurried or now < self._asked_at + self._pace:
            return False
        self._hurried = self._tokens - self._waiting < max(1.0, self._target / 2)
        return self._hurried

    def _tell(self, hurry: bool) -> None:
        if hurry and self.on_need is not None:
            self.on_need()

    def _learn(self, now: float) -> None:
        """What it is likely to use before it asks again, and how much to hold for that."""
        span = max(now - self._asked_at, self._pace)
        lately = 0.0 if math.isinf(span) else self._asks / span
        weight = 1 - math.exp(-span / (2 * self.rules.interval))
        self._demand += weight * (lately - self._demand)
        likely = math.floor(self._demand * 2 * self.rules.interval + 0.5)
        standing = int(self.burst / (2 * self.processes))
        if self._claimants:
            standing = min(SPARE, standing)
        elif not self._known:
            standing = 1  # it does not know how many there are to leave something for
        elif self.processes == 1:
            standing = max(1, standing)
        if self._asks:
            likely = max(1, likely)
        self._target = int(min(max(1.0, min(self.rate, self.burst)), max(standing, likely)))
        self._asks, self._asked_at = 0, now
