"""Breaker: a circuit's face for users of pybreaker: listeners, call(), calling(), the decorator, its exception.

Laws
    1. Listeners are told after the lock is given back, one thread at a time, in the order in which things happened.
    2. One that raises is logged and changes nothing.
    3. No lock is held during a call.
"""

from __future__ import annotations

import contextlib
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pybreaker

from resilient_http.state.outcome import Outcome

logger = logging.getLogger("resilient_http.circuit")


class FailedAnswer(Exception):
    """Handed to pybreaker listeners as the failure when an endpoint answered with a status that counts as one."""


class Breaker(pybreaker.CircuitBreaker):  # type: ignore[misc, unused-ignore]
    """What pybreaker's users see of a circuit; the decisions are Circuit's.

    Args:
        clock: Monotonic seconds, for call() and calling().
        on_change: Called as `on_change(circuit, state)` after each change, with pybreaker's name of the new state.
        options: As pybreaker.CircuitBreaker.
    """

    def __init__(
        self, *, clock: Callable[[], float], on_change: Callable[[Any, str], object] | None, **options: Any
    ) -> None:
        self._changes: deque[tuple[Any, Any]] = deque()
        self._telling = False
        self._clock = clock
        self._on_change = on_change
        super().__init__(**options)

    @abstractmethod
    def acquire(self, now: float) -> Any:
        """Leave to make one attempt, or None."""

    @abstractmethod
    def record(
        self, permit: Any, outcome: Outcome, now: float, error: BaseException | None = None, took: float = 0.0
    ) -> None:
        """Report how the attempt of `permit` ended."""

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Run a with block under a permit. An exception counts as a failure, cancellation as neutral."""
        started = self._clock()
        permit = self.acquire(started)
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
            now = self._clock()
            self.record(permit, outcome, now, error, now - started)

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a plain function under a permit."""
        with self.calling():
            return func(*args, **kwargs)

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
