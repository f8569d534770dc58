"""The settings of circuits, and their defaults. Durations are float seconds, ratios 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from resilient_http.settings.validation import Model, not_bool
from resilient_http.settings.values import Count, PositiveRatio, Ratio, Seconds

Status = Annotated[int, BeforeValidator(not_bool), Field(ge=100, le=599)]


class SlowCallSettings(Model):
    """When an endpoint is too slow to be called.

    At most half of an upstream's endpoints are left alone for this, and never the last one. A single one is: there is
    no other to choose, so that the rule would mean nothing if it were used all the same.

    Attributes:
        duration: Seconds above which an attempt is slow: to the end of its body; of a streamed one, to its headers.
        rate: Share of slow attempts in the window that opens the circuit. 0 < rate <= 1.
    """

    duration: Seconds
    rate: PositiveRatio = 1.0


class SilentSettings(Model):
    """When an attempt that something shorter than `timeout.attempt` cut is a failure of the endpoint's.

    Attributes:
        after: Seconds without an answer after which it is, while it is not known how long one usually takes.
        least: Seconds without an answer below which it never is, by itself.
        factor: How many times the endpoint's p95 is too long.
        in_a_row: How many in a row are, that each waited `least` with no answer between them.
    """

    after: Seconds = 1.0
    least: Seconds = 0.25
    factor: Annotated[float, BeforeValidator(not_bool), Field(gt=0, allow_inf_nan=False)] = 4.0
    in_a_row: Count = 10


class SharedCircuitSettings(Model):
    """When the circuits of other processes open this one.

    Attributes:
        quorum: How many processes must have opened by what they saw themselves.
        share: Share of the processes that called the endpoint lately that they must be. 0 to 1.
        veto: Seconds for which a success that this process saw keeps its circuit closed.
    """

    quorum: Count = 2
    share: Ratio = 0.5
    veto: Seconds = 0.5


class CircuitSettings(Model):
    """When to stop calling an endpoint that is failing, and for how long. Per endpoint.

    Attributes:
        failure_rate: Share of failed attempts in the window that opens the circuit. 0 < rate <= 1. None for no such
            rule.
        min_calls: Attempts the window must hold before the rate is believed.
        window: Newest attempts that are looked at.
        window_span: Seconds after which an attempt is forgotten.
        streak: Failures in a row that open the circuit; attempts answered with 500 do not count here. None for no such
            rule.
        quiet_streak: The same while fewer than `min_calls` attempts are known.
        failures: Failures within `window_span` that open the circuit, however many attempts succeeded.
        slow_call: See SlowCallSettings; None for no such rule.
        outcomes: Status to what an answer counts as ("success", "neutral", "error", "failure"), over the table,
            as `{429: "failure"}`.
        silent: See SilentSettings.
        open_for: Seconds until the first probe; doubles each time a probe fails.
        max_open_for: Where the doubling ends, seconds.
        jitter: Share by which `open_for` is varied either way, so that processes do not probe in step.
        calm_after: Seconds closed after which the doubling begins anew.
        probes: Probes under way at once.
        successes: Good probes that close the circuit.
        lease: Seconds after which a probe that has not reported is given up.
        shared: See SharedCircuitSettings; None for circuits of this process alone. Needs `shared` at the root.
        observe: Whether it only says what it would have refused.
    """

    failure_rate: PositiveRatio | None = 0.5
    min_calls: Count = 20
    window: Count = 100
    window_span: Seconds = 30.0
    streak: Count | None = 10
    quiet_streak: Count | None = 5
    failures: Count | None = None
    slow_call: SlowCallSettings | None = None
    outcomes: Mapping[Status, Literal["success", "neutral", "error", "failure"]] = {}
    silent: SilentSettings = SilentSettings()
    open_for: Seconds = 5.0
    max_open_for: Seconds = 60.0
    jitter: Ratio = 0.2
    calm_after: Seconds = 60.0
    probes: Count = 1
    successes: Count = 2
    lease: Seconds = 10.0
    shared: SharedCircuitSettings | None = None
    observe: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_share = self.failure_rate is not None or self.slow_call is not None
        if by_share and self.min_calls > self.window:
            message = f"min_calls ({self.min_calls}) can never be reached in a window of {self.window}"
            raise ValueError(message)
        if self.open_for > self.max_open_for:
            message = f"open_for ({self.open_for:g} s) is longer than max_open_for ({self.max_open_for:g} s)"
            raise ValueError(message)
        if all(
            rule is None for rule in (self.failure_rate, self.streak, self.quiet_streak, self.failures, self.slow_call)
        ):
            message = "no rule is left that would open it; circuit: None is a circuit that never opens"
            raise ValueError(message)
        return self
