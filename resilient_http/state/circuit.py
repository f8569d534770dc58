"""Circuit: when to stop calling an endpoint that is failing.

Laws
    1. Every change of state happens here, under the lock; no lock is held during a call or while a listener runs.
    2. Time is an argument (`now`, monotonic seconds). Only the switches for people (open, close, ...) and pybreaker's
       own call() ask the clock that was handed in.
    3. A result counts only for the generation that admitted it; late results are dropped.
    4. Half open, at most `probes` are under way. Each has a lease: one that does not report in time blocks nobody, and
       when it does report, to the same generation, it counts.
    5. What a person switched by hand stands above every rule, here and in other processes.
    6. While it is guided (other processes share it), it probes only with the right to; unguided, by its own time.

    closed    -- the diagnosis says "failing" ------>  open
    closed    -- most other processes opened --->  open
    open      -- open_for has passed ----------->  half open (a leased probe)
    half open -- enough probes succeeded ------->  closed
    half open -- a probe failed, all were slow ->  open, for longer
    any       -- another process's probes did -->  closed
    any       -- force_open() ------------------>  open until close()
    any       -- force_close() ----------------->  closed until close(): counts, and never opens
    any       -- disable() --------------------->  disabled: admits all and counts nothing, until close()

What is failing: see diagnosis. It is pybreaker's circuit as far as a user of pybreaker can see (see breaker): storage,
listeners, `current_state`, `open()`, `close()`, `half_open()` and its exception; the decisions are ours.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence

import pybreaker

from resilient_http.state.breaker import Breaker
from resilient_http.state.diagnosis import Cause, CircuitRules, Diagnosis
from resilient_http.state.giving_way import if_free
from resilient_http.state.outcome import FAILED, SUCCESS, Outcome

NEVER = float("-inf")
TOGETHER = 16  # successes that are counted at once


class Permit:
    """Leave to make one attempt. Hand it back once, with the outcome, to Circuit.record().

    Attributes:
        refused: Whether it was given only because the circuit does no more than observe.
    """

    __slots__ = ("expires", "generation", "probe", "refused")

    def __init__(self, generation: int, *, probe: bool = False, expires: float = 0.0, refused: bool = False) -> None:
        self.generation = generation
        self.probe = probe
        self.expires = expires
        self.refused = refused


OBSERVED = Permit(-1, refused=True)  # of no generation: what it is used for would not have happened, so does not count


class Circuit(Breaker):
    """The circuit of one endpoint. Thread-safe.

    Args:
        name: What messages call it: "payments at http://10.0.0.1:8080".
        rules: When it opens, and for how long.
        rng: Source of jitter.
        clock: Monotonic seconds, for the switches that a person uses.
        listeners: pybreaker listeners. One that raises is logged and changes nothing.
        on_change: Called as `on_change(circuit, state)` after each change, with pybreaker's name of the new state.

    Attributes:
        cause: Why it last opened or closed.
        rest: Seconds that it was last opened for.
        observed: How many attempts it would have refused, had it not been told only to observe.
        generation: Counts the changes of state.
        wanted: Whether a call would have probed, had this process had the right to; see guide().
    """

    def __init__(
        self,
        name: str = "",
        rules: CircuitRules | None = None,
        *,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        listeners: Sequence[pybreaker.CircuitBreakerListener] = (),
        on_change: Callable[[Circuit, str], object] | None = None,
    ) -> None:
        self.rules = rules = rules or CircuitRules()
        super().__init__(
            clock=clock,
            on_change=on_change,
            fail_max=_fail_max(rules),
            reset_timeout=rules.open_for,
            success_threshold=rules.successes,
            listeners=listeners,
            name=name,
        )
        self._rng = rng or random.Random()
        self._diagnosis = Diagnosis(rules)
        self._slow_after = rules.slow_after
        self.generation = 0
        self.cause = Cause.NONE
        self.observed = 0
        self._admits_all: Permit | None = Permit(0)  # None unless closed or disabled
        self._counts: Permit | None = self._admits_all  # the same, but None when disabled
        self._disabled = False
        self._noted: deque[tuple[Permit, float]] = deque()  # successes that are still to be counted
        self._held = False  # by hand, open or closed
        self._rest = rules.open_for  # of the next time; `rest` is the jittered one of this time
        self.rest = 0.0
        self._rests_until = NEVER  # while it is open
        self._closed_since = NEVER
        self._probes: list[Permit] = []
        self._good_probes = 0
        self._slow_probes = 0
        self.wanted = False
        self._guided_until = NEVER
        self._right_until = NEVER

    # Decisions

    def acquire(self, now: float) -> Permit | None:
        """Leave to make one attempt, or None when refused; then `retry_in` says for how long."""
        permit = self._admits_all
        if permit is not None:
            return permit
        if now < self._rests_until and not self.rules.observe and not self._changes:
            return None
        with self._lock:
            permit = self._acquire_probe(now)
            if permit is None and self.rules.observe and not self._held:
                self.observed += 1
                permit = OBSERVED
        self._announce()
        return permit

    def record(
        self, permit: Permit, outcome: Outcome, now: float, error: BaseException | None = None, took: float = 0.0
    ) -> None:
        """Report how the attempt of `permit` ended. Every permit is reported exactly once.

        Args:
            permit: What acquire() gave.
            outcome: NEUTRAL gives a probe's lease back and counts for nothing else.
            now: Monotonic seconds.
            error: What pybreaker listeners are told as the failure.
            took: Seconds that the endpoint took, for the rule about slow calls.
        """
        if permit is self._counts and outcome is SUCCESS and took <= self._slow_after:
            # The usual case, by the shortest way: it can wait to be counted until there is a failure to judge.
            self._noted.append((permit, now))
            if len(self._noted) >= TOGETHER:
                if_free(self._lock, self._count_noted)
        elif not self._count(permit, outcome, now, slow=took > self._slow_after):
            return
        if self._changes or self._listeners:
            self._announce()
            self._tell(outcome, error)

    def _count(self, permit: Permit, outcome: Outcome, now: float, *, slow: bool) -> bool:
        """Whether the permit is of this generation, so that its attempt was counted."""
        with self._lock:
            self._count_noted()
            if self._disabled or permit.generation != self.generation:
                return False
            if permit.probe:
                self._record_probe(permit, outcome, now, slow=slow)
            elif outcome is not Outcome.NEUTRAL:
                cause = self._diagnosis.add(now, outcome, slow=slow)
                if cause and not self._held:
                    self._trip(now, cause)
            return True

    def _count_noted(self) -> None:
        counts, noted, good = self._counts, self._noted, []
        while noted:
            permit, at = noted.popleft()
            if permit is counts:
                good.append(at)
        if good:
            self._diagnosis.succeed(good)

    def adjust(self, rules: CircuitRules) -> None:
        """Go by other rules from now on: with what is known, and in the state that it is in."""
        with self._lock:
            if self._rest == self.rules.open_for:
                self._rest = rules.open_for
            self._rest = min(self._rest, rules.max_open_for)
            self.rules = rules
            self._diagnosis.adjust(rules)
            self._slow_after = rules.slow_after
            # What pybreaker's users read; it decides nothing here.
            self.fail_max = _fail_max(rules)
            self.reset_timeout, self.success_threshold = rules.open_for, rules.successes

    def retry_in(self, now: float) -> float | None:
        """Seconds until a probe may be let through; 0.0 when admitting; None when held open by hand."""
        until = self._rests_until  # once: another thread may change it
        if now < until and not self._held:
            return until - now
        with self._lock:
            if self._admits_all is not None:
                return 0.0
            if self._held:
                return None
            if not self._may_probe(now):
                return self._guided_until - now
            live = [probe.expires for probe in self._probes if probe.expires > now]
            return min(live) - now if len(live) >= self.rules.probes else 0.0

    def admits(self, now: float) -> bool:
        """Whether acquire() would give a permit at `now`. Changes nothing."""
        if self._admits_all is not None or (self.rules.observe and not self._held):
            return True
        return self.retry_in(now) == 0.0

    @property
    def closed(self) -> bool:
        """Whether calls pass as usual (closed, or disabled)."""
        return self._admits_all is not None

    @property
    def by_hand(self) -> bool:
        """Whether a person has put it into the state that it is in, so that no other process has a say."""
        return self._held or self._disabled or (self.cause is Cause.HAND and self._admits_all is None)

    # What other processes say; see shared_circuit

    def follow(self, now: float, generation: int) -> None:
        """Open, if closed and still of that generation: most other processes have."""
        with self._lock:
            if self.closed and not self.by_hand and generation == self.generation:
                self._trip(now, Cause.OTHERS)
        self._announce()

    def join(self, now: float, generation: int) -> None:
        """Close, if open and still of that generation: another process's probes succeeded."""
        with self._lock:
            if not self.closed and not self.by_hand and generation == self.generation:
                self._enter_closed(now, Cause.OTHERS)
        self._announce()

    def postpone(self, until: float, rest: float) -> None:
        """Rest until that instant, if open: another process's probe failed, and it rests for `rest` seconds."""
        with self._lock:
            if self.current_state == pybreaker.STATE_OPEN and not self.by_hand:
                self._rests_until = max(self._rests_until, until)
                self._rest = min(self.rules.max_open_for, max(self._rest, 2 * rest))

    def guide(self, until: float, right_until: float) -> None:
        """Until `until` let no probe through, but before `right_until`: the right to probe is one process's."""
        with self._lock:
            self._guided_until = until
            self._right_until = right_until
            if right_until > NEVER:
                self.wanted = False

    def due_in(self, now: float) -> float:
        """Seconds until it would probe, had it the right; 0.0 when it would now, infinity when it is closed."""
        with self._lock:
            if self.closed or self.by_hand:
                return float("inf")
            return max(0.0, self._rests_until - now)

    def probing(self, now: float) -> bool:
        """Whether a probe is under way."""
        with self._lock:
            return any(probe.expires > now for probe in self._probes)

    def evidence(self) -> tuple[float, float]:
        """When the newest success and the newest failure were that it counted since it was last closed."""
        with self._lock:
            self._count_noted()
            return self._diagnosis.window.newest(failed=False), self._diagnosis.window.newest(failed=True)

    # Switches for people, with pybreaker's names where it has them

    def open(self) -> bool:
        """Open as if the rule had said so: probes follow after `open_for`."""
        with self._lock:
            self._trip(self._clock(), Cause.HAND)
        self._announce()
        return True

    def half_open(self) -> None:
        """Let probes through now."""
        with self._lock:
            self._enter_half_open()
            self.cause = Cause.HAND
        self._announce()

    def close(self) -> None:
        """Close, forget what was counted, and end what force_open(), force_close() or disable() began."""
        with self._lock:
            self._enter_closed(self._clock(), Cause.HAND)
        self._announce()

    def force_open(self) -> None:
        """Open until close() is called: no probes."""
        with self._lock:
            self._trip(self._clock(), Cause.HAND)
            self._held = True
        self._announce()

    def force_close(self) -> None:
        """Close until close() is called: everything is admitted and counted, and no rule opens it."""
        with self._lock:
            self._enter_closed(self._clock(), Cause.HAND)
            self._held = True
        self._announce()

    def disable(self) -> None:
        """Admit everything and count nothing until close() is called."""
        with self._lock:
            self._enter_closed(self._clock(), Cause.HAND)
            self._disabled = True
            self._counts = None
        self._announce()

    @property
    def mode(self) -> str:
        """closed, open, half-open, forced open, forced closed or disabled."""
        if self._disabled:
            return "disabled"
        return f"forced {self.current_state}" if self._held else self.current_state

    # The state machine; the lock is held

    def _acquire_probe(self, now: float) -> Permit | None:
        if self._held or now < self._rests_until:
            return None
        if not self._may_probe(now):
            self.wanted = True
            return None
        if self.current_state == pybreaker.STATE_OPEN:
            self._enter_half_open()
        self._probes = [probe for probe in self._probes if probe.expires > now]
        if len(self._probes) >= self.rules.probes:
            return None
        probe = Permit(self.generation, probe=True, expires=now + self.rules.lease)
        self._probes.append(probe)
        return probe

    def _may_probe(self, now: float) -> bool:
        return now >= self._guided_until or now < self._right_until or self.cause is Cause.HAND

    def _record_probe(self, permit: Permit, outcome: Outcome, now: float, *, slow: bool) -> None:
        if permit in self._probes:  # else its lease had run out: it blocked nobody, and still it tells
            self._probes.remove(permit)
        if outcome in FAILED:
            self._trip(now, Cause.PROBE)
        elif outcome is Outcome.SUCCESS:
            rules = self.rules
            self._good_probes += 1
            self._slow_probes += slow
            if self._good_probes < rules.successes:
                return
            if self._slow_probes and self._slow_probes >= rules.slow_rate * rules.successes:
                self._trip(now, Cause.SLOW)
            else:
                self._enter_closed(now, Cause.PROBE)

    def _trip(self, now: float, cause: Cause) -> None:
        rules = self.rules
        if self.closed and now - self._closed_since >= rules.calm_after:
            self._rest = rules.open_for
        self.rest = self._rest * self._rng.uniform(1 - rules.jitter, 1 + rules.jitter)
        self._rest = min(rules.max_open_for, self._rest * 2)
        self._begin_generation()
        self._rests_until = now + self.rest
        self.cause = cause
        super().open()

    def _enter_half_open(self) -> None:
        self._begin_generation()
        super().half_open()

    def _enter_closed(self, now: float, cause: Cause) -> None:
        self._begin_generation()
        self._diagnosis.clear()
        self._closed_since = now
        self._admits_all = self._counts = Permit(self.generation)
        self.cause = cause
        super().close()

    def _begin_generation(self) -> None:
        self.generation += 1
        self._admits_all = self._counts = None
        self._probes = []
        self._good_probes = self._slow_probes = 0
        self._rests_until = NEVER
        self._held = self._disabled = self.wanted = False


def _fail_max(rules: CircuitRules) -> int:
    return rules.streak or rules.failures or rules.min_calls
