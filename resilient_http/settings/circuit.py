"""The settings of circuits, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from resilient_http.settings.validation import Model
from resilient_http.settings.values import Count, PositiveRatio, Seconds


class CircuitSettings(Model):
    """When to stop calling an endpoint that is failing, and for how long. Per endpoint.

    Attributes:
        failure_rate: Share of failed attempts in the window that opens the circuit. 0 < rate <= 1.
        min_calls: Attempts the window must hold before the rate is believed.
        window: Newest attempts that are looked at.
        window_span: Seconds after which an attempt is forgotten.
        streak: Failures in a row that open the circuit; attempts answered with 500 do not count here.
        quiet_streak: The same while fewer than `min_calls` attempts are known.
        open_for: Seconds until the first probe; doubles each time a probe fails, jittered by 20 %.
        max_open_for: Where the doubling ends, seconds.
        calm_after: Seconds closed after which the doubling begins anew.
        probes: Probes under way at once.
        successes: Good probes that close the circuit.
        lease: Seconds after which a probe that has not reported is given up.
    """

    failure_rate: PositiveRatio = 0.5
    min_calls: Count = 20
    window: Count = 100
    window_span: Seconds = 30.0
    streak: Count = 10
    quiet_streak: Count = 5
    open_for: Seconds = 5.0
    max_open_for: Seconds = 60.0
    calm_after: Seconds = 60.0
    probes: Count = 1
    successes: Count = 2
    lease: Seconds = 10.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_calls > self.window:
            message = f"min_calls ({self.min_calls}) can never be reached in a window of {self.window}"
            raise ValueError(message)
        if self.open_for > self.max_open_for:
            message = f"open_for ({self.open_for:g} s) is longer than max_open_for ({self.max_open_for:g} s)"
            raise ValueError(message)
        return self
