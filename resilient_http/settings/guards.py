"""The settings of guards, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from resilient_http.settings.circuit import CircuitSettings
from resilient_http.settings.limits import ConcurrencySettings
from resilient_http.settings.retry import BackoffSettings, BudgetSettings
from resilient_http.settings.validation import Model
from resilient_http.settings.values import Classify, Count, Seconds


class GuardTimeoutSettings(Model):
    """How long a guarded call, and one attempt of it, may take.

    Attributes:
        total: Seconds for the whole call: waits and repeats. None for no deadline but the inbound request's.
        attempt: Seconds for one attempt; an async function is cut then, a sync one can ask remaining(). None for none.
        queue: Seconds to wait for a permit.
    """

    total: Seconds | None = 10.0
    attempt: Seconds | None = None
    queue: Seconds | None = 1.0

    @model_validator(mode="after")
    def _attempt_within_total(self) -> Self:
        if self.attempt is not None and self.total is not None and self.attempt > self.total:
            message = f"attempt ({self.attempt:g} s) is longer than total ({self.total:g} s)"
            raise ValueError(message)
        return self


class GuardRetrySettings(Model):
    """What is repeated of functions that are guarded with `idempotent=True`, and how often.

    Attributes:
        max_attempts: Attempts of one call, the first included.
        classify: A plain function, or its dotted path, that is given the exception and says True (repeat), False (do
            not), or None (no opinion: every exception that is not ignored is repeated).
        backoff: Waits between attempts.
        max_wait: Longest single wait in seconds.
        budget: Bound of repeats over all calls, None for no bound.
        observe: Repeat nothing, and tell what would have been repeated.
    """

    max_attempts: Count = 3
    classify: Classify | None = None
    backoff: BackoffSettings = BackoffSettings()
    max_wait: Seconds = 5.0
    budget: BudgetSettings | None = BudgetSettings()
    observe: bool = False


class GuardSettings(Model):
    """Something behind a function that is not HTTP: a database, a queue, an SDK.

    Attributes:
        timeout: See GuardTimeoutSettings.
        retry: See GuardRetrySettings; None for no repeats.
        circuit: See CircuitSettings; None for no circuit.
        concurrency: See ConcurrencySettings; None for no limit.
    """

    timeout: GuardTimeoutSettings = GuardTimeoutSettings()
    retry: GuardRetrySettings | None = GuardRetrySettings()
    circuit: CircuitSettings | None = CircuitSettings()
    concurrency: ConcurrencySettings | None = ConcurrencySettings()
