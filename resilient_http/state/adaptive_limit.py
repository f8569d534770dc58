"""AdaptiveLimit: finds how many attempts an upstream bears at once: additive increase, multiplicative decrease.

Laws
    1. Attempts are looked at in windows: `ROUNDS` times the limit and at least `LEAST`; then up to `MOST`, until their
       mean latency is known to `PRECISION`. Only attempts that began after the last change of the limit count, so a
       window is at least one round trip, and nothing is punished twice.
    2. A window is bad when, chance aside, more than `DROPPED` above the usual share of its attempts was dropped (timed
       out, or refused with 429 or 503), or when its mean latency is more than `tolerance` times the usual one. Then
       the limit is multiplied by `backoff`.
    3. A good window in which at least half of the limit was in use raises it by 1. One that was not says nothing.
    4. The usual latency follows what is quicker, and never what is slower. It is learnt anew where less concurrency
       does not help: when `VAIN` decreases in a row have not lowered the mean by the share `HELPED`, or at `least`.
    5. The usual share of drops is none, until a fall by drops to `LOW` of where it began (or to `least`) has not halved
       their share: then that share, at most `MOST_STRAY`, is not ours to answer. It follows what is less. While a fall
       is not over the limit does not rise: a share that hovers about `DROPPED` would never be told from chance.
    6. It stays between `least` and `most`.

Source: Netflix, concurrency-limits: AIMDLimit, which it recommends for clients. Ours goes by latency too (a client of a
server that queues sees nothing else), and changes once per round trip and not once per answer, as TCP does (RFC 5681).
"""

from __future__ import annotations

import math
import threading
from collections import deque

LEAST = 20
ROUNDS = 4  # windows of fewer know only the quickest of the attempts that began together
MOST = 400
PRECISION = 0.05  # standard error of the mean over the mean
FOLLOW = 0.3  # share of the way to a quicker mean that the usual latency goes: a lucky window is not believed at once
DROPPED = 0.05
VAIN = 5
HELPED = 0.15
LOW = (
    0.35  # far enough that an upstream with less than half of its capacity left is not taken for one that does not care
)
MOST_STRAY = 0.5  # above it the upstream is down, and asking for more is no help
TELLING = 100  # attempts at a low limit that tell the share of drops
MISSED = 6  # drops that would have been expected since the last decrease, for a fall with few of them to be over
LASTS = 200  # attempts since the last decrease after which it is over in any case
STRAY_FOLLOW = 0.1


class AdaptiveLimit:
    """The limit of one upstream. Thread-safe.

    Args:
        least: Its floor. At least 1.
        most: Its ceiling.
        initial: Where it begins; what latency is usual is learnt there.
        tolerance: Times the usual latency that is still good. Above 1.
        backoff: What a bad window multiplies the limit by. Between 0 and 1.

    Attributes:
        usual: The usual latency in seconds, None while nothing is known.
        stray: The share of drops that has nothing to do with the limit.
    """

    __slots__ = (
        "_backoff",
        "_changed",
        "_fall",
        "_learnt",
        "_least",
        "_limit",
        "_lock",
        "_most",
        "_slow",
        "_tolerance",
        "_window",
        "stray",
        "usual",
    )

    def __init__(self, least: int, most: int, initial: int, *, tolerance: float, backoff: float) -> None:
        self._least = least
        self._most = most
        self._limit = float(min(max(initial, least), most))
        self._tolerance = tolerance
        self._backoff = backoff
        self._changed = -math.inf
        self._slow: deque[float] = deque(maxlen=VAIN + 1)  # means of slow windows in a row
        self._window = _Window()
        self._lock = threading.Lock()
        self._fall: _Fall | None = None
        self._learnt = 0.0  # the stray share, as it was learnt
        self.stray = 0.0
        self.usual: float | None = None

    @property
    def limit(self) -> int:
        """As it stands."""
        return int(self._limit)

    @property
    def tolerated(self) -> float:
        """Seconds up to which an attempt is not slow; infinity while nothing is known."""
        return math.inf if self.usual is None else self.usual * self._tolerance

    def adjust(self, least: int, most: int, _initial: int, *, tolerance: float, backoff: float) -> None:
        """Go by other numbers from now on, with what is learnt: it does not begin anew."""
        with self._lock:
            self._least, self._most, self._tolerance, self._backoff = least, most, tolerance, backoff
            self._limit = float(min(max(self._limit, least), most))

    def record(self, started: float, now: float, in_flight: int, *, dropped: bool) -> str | None:
        """An attempt ended.

        Args:
            started: When it was sent, monotonic seconds.
            now: Monotonic seconds.
            in_flight: Attempts under way when it ended, itself included.
            dropped: Whether it timed out or was refused. Then its latency says nothing.

        Returns:
            Why the limit has changed, or None when it has not.
        """
        with self._lock:
            if started < self._changed:
                return None
            window, before = self._window, self.limit
            window.add(None if dropped else now - started, in_flight)
            if not window.is_full(before, self.stray + DROPPED):
                return None
            self._window = _Window()
            why = self._judge(window)
            if self.limit == before:
                return None
            self._changed = now
            return why

    def _judge(self, window: _Window) -> str:
        """Change the limit as a full window asks. Gives why."""
        allowed = (self.stray + DROPPED) * window.known
        chance = 0.0 if self._fall is not None else math.sqrt(allowed)
        if window.dropped > allowed + chance:
            self._slow.clear()
            return self._be_dropped(window)
        if self._fall is not None and self._fall.is_over(window, self.limit, self.stray + DROPPED / 2):
            self._fall = None
        self.stray = min(self._learnt, self.stray + (window.dropped / window.known - self.stray) * STRAY_FOLLOW)
        took = window.mean
        if self.usual is None or self.limit <= self._least:
            self.usual = took
        elif took < self.usual:
            self.usual += (took - self.usual) * FOLLOW
        if took > self.usual * self._tolerance:
            return self._be_slow(took, self.usual)
        self._slow.clear()
        if window.peak * 2 >= self._limit and self._fall is None:
            self._limit = min(self._most, math.floor(self._limit) + 1.0)
        return f"{window.known} attempts were good"

    def _be_dropped(self, window: _Window) -> str:
        fall = self._fall = self._fall or _Fall(self.limit, self._least)
        fall.goes_on(window, self.limit)
        if fall.in_vain:
            self.stray = self._learnt = fall.low.share
            self._fall = None
            return "less concurrency did not help"
        return self._decrease(f"{window.dropped} of {window.known} attempts timed out or were refused")

    def _be_slow(self, took: float, usual: float) -> str:
        self._slow.append(took)
        if len(self._slow) > VAIN and took > (1 - HELPED) * max(self._slow):
            # Not because of us: the work itself has become slower, or others cause it.
            self.usual = took
            self._slow.clear()
            return "less concurrency did not help"
        return self._decrease(f"attempts took {took:.3g} s, usually {usual:.3g} s")

    def _decrease(self, why: str) -> str:
        self._limit = max(float(self._least), self._limit * self._backoff)
        return why


class _Share:
    """Attempts, and how many of them were dropped."""

    __slots__ = ("dropped", "known")

    def __init__(self) -> None:
        self.dropped = self.known = 0

    @property
    def share(self) -> float:
        return self.dropped / self.known if self.known else 0.0

    def add(self, window: _Window) -> None:
        self.dropped += window.dropped
        self.known += window.known


class _Fall:
    """From the first window with too many drops on: does less concurrency help?"""

    __slots__ = ("_began", "_high", "_least", "_since", "low")

    def __init__(self, limit: int, least: int) -> None:
        self._began = limit
        self._least = least
        self._high = _Share()
        self._since = _Share()  # the last decrease
        self.low = _Share()

    def goes_on(self, window: _Window, limit: int) -> None:
        """One more bad window."""
        self._add(window, limit)
        self._since = _Share()

    def is_over(self, window: _Window, limit: int, few: float) -> bool:
        """Whether with this window, a good one, the drops have become few."""
        self._add(window, limit)
        since = self._since
        since.add(window)
        expected = max(self._high.share, self.low.share) * since.known
        return since.known >= LASTS or (since.share <= few and expected >= MISSED)

    @property
    def in_vain(self) -> bool:
        low, high = self.low, self._high
        return low.known >= TELLING and low.share <= MOST_STRAY and 2 * low.share > high.share

    def _add(self, window: _Window, limit: int) -> None:
        if limit <= max(self._least, LOW * self._began):
            self.low.add(window)
        elif 2 * limit >= self._began:
            self._high.add(window)


class _Window:
    """Attempts that are looked at together."""

    __slots__ = ("_squares", "_sum", "answered", "dropped", "peak")

    def __init__(self) -> None:
        self.answered = self.dropped = self.peak = 0
        self._sum = self._squares = 0.0

    @property
    def known(self) -> int:
        return self.answered + self.dropped

    @property
    def mean(self) -> float:
        return self._sum / self.answered

    def add(self, took: float | None, in_flight: int) -> None:
        self.peak = max(self.peak, in_flight)
        if took is None:
            self.dropped += 1
            return
        self.answered += 1
        self._sum += took
        self._squares += took * took

    def is_full(self, limit: int, allowed: float) -> bool:
        known = self.known
        if known < max(LEAST, ROUNDS * limit):
            return False
        if known >= max(MOST, ROUNDS * limit) or self.dropped > allowed * known:
            return True
        # The standard error of the mean is the deviation over the root of the number.
        variance = self._squares / self.answered - self.mean**2
        return variance <= (PRECISION * self.mean) ** 2 * self.answered
