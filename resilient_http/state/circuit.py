"""Circuit: when to stop calling an endpoint that is failing.

Laws
    1. Every change of state happens here, under the lock; no lock is held during a call or while a listener runs.
    2. Time is an argument (`now`, monotonic seconds). Only the switches for people (open, close, ...) and pybreaker's
       own call() ask the clock that was handed in.
    3. A result counts only for the generation that admitted it; late results are dropped.
    4. Half open, at most `probes` are under way. Each has a lease: one that does not report in time blocks nobody, and
       when it does report, to the same generation, it counts.

    closed    -- the rule says "failing" ------->  open
    open      -- open_for has passed ----------->  half open (a leased probe)
    half open -- enough probes succeeded ------->  closed
    half open -- a probe failed ---------------->  open, for longer
    any       -- force_open() ------------------>  open until close()
    any       -- disable() --------------------->  disabled: admits all and counts nothing, until close()

The rule (CircuitRules): failing is when half of the newest outcomes failed, or so many in a row, or fewer in a row
while little is known. It is pybreaker's circuit as far as a user of pybreaker can see: storage, listeners,
`current_state`, `open()`, `close()`, `half_open()` and its exception; the decisions are ours.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pybreaker

from resilient_http.state.outcome import FAILED, Outcome
from resilient_http.state.window import Window

logger = logging.getLogger("resilient_http.circuit")

JITTER = 0.2  # a circuit's rest is varied by this share either way, so that processes do not probe in step


class FailedAnswer(Exception):
    """Handed to pybreaker listeners as the failure when an endpoint answered with a status that counts as one."""


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """The numbers of a circuit. Their meaning, ranges and reasons: see CircuitSettings."""

    failure_rate: float = 0.5
    min_calls: int = 20
    window: int = 100
    window_span: float = 30.0
    streak: int = 10
    quiet_streak: int = 5
    open_for: float = 5.0
    max_open_for: float = 60.0
    calm_after: float = 60.0
    probes: int = 1
    successes: int = 2
    lease: float = 10.0


class Permit:
    """Leave to make one attempt. Hand it back once, with the outcome, to Circuit.record()."""

    __slots__ = ("expires", "generation", "probe")

    def __init__(self, generation: int, *, probe: bool = False, expires: float = 0.0) -> None:
        self.generation = generation
        self.probe = probe
        self.expires = expires


class Circuit(pybreaker.CircuitBreaker):  # type: ignore[misc, unused-ignore]
    """The circuit of one endpoint. Thread-safe.

    Args:
        name: What messages call it: "payments at http://10.0.0.1:8080".
        rules: When it opens, and for how long.
        rng: Source of jitter.
        clock: Monotonic seconds, for the switches that a person uses.
        listeners: pybreaker listeners. One that raises is logged and changes nothing.
        on_change: Called as `on_change(circuit, state)` after each change, with pybreaker's name of the new state.
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
        self.rules = rules or CircuitRules()
        self._changes: deque[tuple[Any, Any]] = deque()
        self._telling = False
        super().__init__(
            fail_max=self.rules.streak,
            reset_timeout=self.rules.open_for,
            success_threshold=self.rules.successes,
            listeners=listeners,
            name=name,
        )
        self._on_change = on_change
        self._rng = rng or random.Random()
        self._clock = clock
        self._window = Window(self.rules.window, self.rules.window_span)
        self._streak = 0
        self._generation = 0
        self._admits_all: Permit | None = Permit(0)  # None unless closed or disabled
        self._disabled = False
        self._held = False
        self._rest = self.rules.open_for  # of the next time; `rest` is the jittered one of this time
        self.rest = 0.0
        self._opens_until = 0.0
        self._closed_since = float("-inf")
        self._probes: list[Permit] = []
        self._good_probes = 0

    # Decisions

    def acquire(self, now: float) -> Permit | None:
        """Leave to make one attempt, or None when refused; then `retry_in` says for how long."""
        permit = self._admits_all
        if permit is not None:
            return permit
        with self._lock:
            permit = self._acquire_probe(now)
        self._announce()
        return permit

    def record(self, permit: Permit, outcome: Outcome, now: float, error: BaseException | None = None) -> None:
        """Report how the attempt of `permit` ended. Every permit is reported exactly once.

        Args:
            permit: What acquire() gave.
            outcome: NEUTRAL gives a probe's lease back and counts for nothing else.
            now: Monotonic seconds.
            error: What pybreaker listeners are told as the failure.
        """
        with self._lock:
            if permit is self._admits_all and outcome is Outcome.SUCCESS and not self._disabled:
                # The usual case, by the shortest way.
                self._streak = 0
                self._window.add(now, False)
                if not self._listeners:
                    return
            elif self._disabled or permit.generation != self._generation:
                return
            elif permit.probe:
                self._record_probe(permit, outcome, now)
            elif outcome is not Outcome.NEUTRAL:
                self._record_closed(outcome, now)
        if self._changes or self._listeners:
            self._announce()
            self._tell(outcome, error)

    def retry_in(self, now: float) -> float | None:
        """Seconds until a probe may be let through; 0.0 when admitting; None when held open by hand."""
        with self._lock:
            if self._admits_all is not None:
                return 0.0
            if self._held:
                return None
            if self.current_state == pybreaker.STATE_OPEN:
                return max(0.0, self._opens_until - now)
            live = [probe.expires for probe in self._probes if probe.expires > now]
            return min(live) - now if len(live) >= self.rules.probes else 0.0

    def admits(self, now: float) -> bool:
        """Whether acquire() would give a permit at `now`. Changes nothing."""
        return self._admits_all is not None or self.retry_in(now) == 0.0

    @property
    def closed(self) -> bool:
        """Whether calls pass as usual (closed, or disabled)."""
        return self._admits_all is not None

    # Switches for people, with pybreaker's names where it has them

    def open(self) -> bool:
        """Open as if the rule had said so: probes follow after `open_for`."""
        with self._lock:
            self._trip(self._clock())
        self._announce()
        return True

    def half_open(self) -> None:
        """Let probes through now."""
        with self._lock:
            self._enter_half_open()
        self._announce()

    def close(self) -> None:
        """Close, forget what was counted, and end what force_open() or disable() began."""
        with self._lock:
            self._enter_closed(self._clock())
        self._announce()

    def force_open(self) -> None:
        """Open until close() is called: no probes."""
        with self._lock:
            self._trip(self._clock())
            self._held = True
        self._announce()

    def disable(self) -> None:
        """Admit everything and count nothing until close() is called."""
        with self._lock:
            self._enter_closed(self._clock())
            self._disabled = True
        self._announce()

    @property
    def mode(self) -> str:
        """closed, open, half-open, forced open or disabled."""
        if self._disabled:
            return "disabled"
        return "forced open" if self._held else self.current_state

    # pybreaker's ways to make a call, without its lock around the call

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Run a with block under a permit. An exception counts as a failure, cancellation as neutral."""
        permit = self.acquire(self._clock())
        if permit is None:
            message = f"circuit of {self.name} is open"
            raise pybreaker.CircuitBreakerError(message)
        outcome, error = Outcome.SUCCESS, None
        try:
            yield
        except Exception as exc:
            outcome, error = (Outcome.FAILURE if self.is_system_error(exc) else Outcome.SUCCESS), exc
            raise
        except BaseException:
            # Cancelled, or the process is ending: this says nothing about the endpoint.
            outcome = Outcome.NEUTRAL
            raise
        finally:
            self.record(permit, outcome, self._clock(), error)

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a plain function under a permit."""
        with self.calling():
            return func(*args, **kwargs)

    # The state machine; the lock is held

    def _acquire_probe(self, now: float) -> Permit | None:
        if self._held:
            return None
        if self.current_state == pybreaker.STATE_OPEN:
            if now < self._opens_until:
                return None
            self._enter_half_open()
        self._probes = [probe for probe in self._probes if probe.expires > now]
        if len(self._probes) >= self.rules.probes:
            return None
        probe = Permit(self._generation, probe=True, expires=now + self.rules.lease)
        self._probes.append(probe)
        return probe

    def _record_probe(self, permit: Permit, outcome: Outcome, now: float) -> None:
        if permit in self._probes:  # else its lease had run out: it blocked nobody, and still it tells
            self._probes.remove(permit)
        if outcome is Outcome.SUCCESS:
            self._good_probes += 1
            if self._good_probes >= self.rules.successes:
                self._enter_closed(now)
        elif outcome in FAILED:
            self._trip(now)

    def _record_closed(self, outcome: Outcome, now: float) -> None:
        failed = outcome is not Outcome.SUCCESS
        self._window.add(now, failed)
        if not failed:
            self._streak = 0
            return
        in_a_row = outcome is not Outcome.ERROR
        self._streak += in_a_row
        if self._failing(now, in_a_row=in_a_row):
            self._trip(now)

    def _failing(self, now: float, *, in_a_row: bool) -> bool:
        rules = self.rules
        known, failed = self._window.count(now)
        if known >= rules.min_calls and failed >= rules.failure_rate * known:
            return True
        return in_a_row and self._streak >= (rules.streak if known >= rules.min_calls else rules.quiet_streak)

    def _trip(self, now: float) -> None:
        rules = self.rules
        if self.closed and now - self._closed_since >= rules.calm_after:
            self._rest = rules.open_for
        self.rest = self._rest * self._rng.uniform(1 - JITTER, 1 + JITTER)
        self._opens_until = now + self.rest
        self._rest = min(rules.max_open_for, self._rest * 2)
        self._begin_generation()
        super().open()

    def _enter_half_open(self) -> None:
        self._begin_generation()
        super().half_open()

    def _enter_closed(self, now: float) -> None:
        self._begin_generation()
        self._window.clear()
        self._streak = 0
        self._closed_since = now
        self._admits_all = Permit(self._generation)
        super().close()

    def _begin_generation(self) -> None:
        self._generation += 1
        self._admits_all = None
        self._probes = []
        self._good_probes = 0
        self._held = self._disabled = False

    # Listeners: queued under the lock, told after it

    def _create_new_state(self, new_state: str, prev_state: Any = None, notify: bool = False) -> Any:
        state = super()._create_new_state(new_state, prev_state, notify=False)
        if notify and prev_state is not None and prev_state.name != new_state:
            self._changes.append((prev_state, state))
        return state

    def _announce(self) -> None:
        # One thread tells at a time, so that everybody hears of the changes in the order in which they happened.
        while self._changes:
            with self._lock:
                if self._telling or not self._changes:
                    return
                self._telling = True
                old, new = self._changes.popleft()
            try:
                if self._on_change is not None:
                    self._on_change(self, new.name)
                self._each_listener("state_change", old, new)
            finally:
                self._telling = False

    def _tell(self, outcome: Outcome, error: BaseException | None) -> None:
        if outcome is Outcome.SUCCESS:
            self._each_listener("success")
        elif outcome is not Outcome.NEUTRAL:
            self._each_listener("failure", error or FailedAnswer(outcome.value))

    def _each_listener(self, method: str, *args: Any) -> None:
        for listener in self.listeners:
            try:
                getattr(listener, method)(self, *args)
            except Exception:
                logger.exception("a listener of the circuit of %s failed", self.name)
