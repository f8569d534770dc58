"""Instruments: the one table of all metrics. The code, docs/observe.md, the dashboard and the alerts go by it.

Laws
    1. Names, units and labels are a promise: they may grow, not change.
    2. Labels are few and bounded (labels.py): upstreams of the settings by name, all unnamed ones together as "other";
       at most `labels.ENDPOINTS` endpoints of an upstream, the rest as "other"; routes of the settings.
    3. Nothing is measured twice: what the policies count already is read when somebody collects, and costs a call
       nothing. Only what needs each single call (durations, deadlines) is told by events.
"""

from __future__ import annotations

from dataclasses import dataclass

HISTOGRAM, COUNTER, COUNTED, GAUGE = "histogram", "counter", "observed counter", "gauge"
SECONDS_UNIT = "s"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: upper bounds of the buckets of all histograms."""

CALL_OUTCOMES = (
    "success", "client_error", "server_error", "failed", "deadline", "circuit_open", "rate_limited", "saturated",
    "no_endpoint", "cancelled",
)  # fmt: skip
"""What a call ends as: below 400; 4xx; 5xx; an exception of the network's, or of whoever raised it; and ours."""

CIRCUIT_STATES = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric.

    Attributes:
        name: As OpenTelemetry has it.
        kind: HISTOGRAM and COUNTER are told by events; COUNTED and GAUGE are read when somebody collects.
        unit: UCUM; what stands in braces is no unit but says what is counted.
        labels: Names of its attributes.
        means: For a person.
        across: How the values of several processes become one: "sum", "max" or "min".
    """

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    means: str
    across: str = "sum"

    @property
    def prometheus(self) -> str:
        """What Prometheus calls it. Source: OpenTelemetry, Prometheus and OpenMetrics compatibility."""
        name = self.name.replace(".", "_")
        if self.unit == SECONDS_UNIT:
            name += "_seconds"
        return f"{name}_total" if self.kind in (COUNTER, COUNTED) else name


def _row(name: str, kind: str, unit: str, labels: str, means: str, across: str = "sum") -> Instrument:
    return Instrument(f"resilient_http.{name}", kind, unit, tuple(labels.split()), means, across)


INSTRUMENTS = (
    _row("call.duration", HISTOGRAM, "s", "upstream route outcome",
         "Calls, and how long they took with all repeats and waits; failures, timeouts and refusals included."),
    _row("attempt.duration", HISTOGRAM, "s", "upstream endpoint outcome",
         "Attempts that were sent, and how long each took. `outcome` is what it counts as for the circuit."),
    _row("deadline.at_start", HISTOGRAM, "s", "upstream", "What calls had left of their deadline when they began."),
    _row("deadline.at_end", HISTOGRAM, "s", "upstream", "What they had left when they ended; 0 when none."),
    _row("deadline.overruns", COUNTER, "{call}", "upstream", "Calls that ended over 20 ms after their deadline."),
    _row("retries", COUNTED, "{decision}", "upstream decision reason",
         "Repeats: `decision` is made or suppressed, and `reason` why it was suppressed."),
    _row("hedges", COUNTED, "{decision}", "upstream decision reason",
         "Hedges: sent, won, lost or suppressed, and why suppressed."),
    _row("concurrency.refusals", COUNTED, "{attempt}", "upstream decision",
         "What the concurrency limit refused: queue full, too late, repeat, shed; or would have (observe)."),
    _row("rate_limit.decisions", COUNTED, "{attempt}", "upstream decision", "Waited for a token, or refused for none."),
    _row("pauses.decisions", COUNTED, "{decision}", "upstream decision", "Routes paused (429), calls refused for it."),
    _row("fallbacks", COUNTED, "{call}", "upstream decision", "Calls that a fallback answered, by kind; or did not."),
    _row("chaos.faults", COUNTED, "{attempt}", "upstream decision",
         "Faults that were injected on purpose: latency, error, abort, drip."),
    _row("circuit.state", GAUGE, "{state}", "upstream endpoint", "0 closed, 1 half-open, 2 open.", "max"),
    _row("circuit.transitions", COUNTER, "{transition}", "upstream endpoint state", "Circuits that became that."),
    _row("endpoints", GAUGE, "{endpoint}", "upstream state",
         "Endpoints that are healthy, ejected (health checks, latency, pauses), or open (their circuit is).", "max"),
    _row("retry_budget.tokens", GAUGE, "{token}", "upstream", "What is left of the budget for repeats and hedges.",
         "min"),
    _row("concurrency.limit", GAUGE, "{attempt}", "upstream", "Permits there are, as the adaptive limit has it now."),
    _row("concurrency.in_flight", GAUGE, "{attempt}", "upstream", "Permits that are out."),
    _row("concurrency.queued", GAUGE, "{attempt}", "upstream", "Attempts that wait for a permit."),
    _row("rate_limit.tokens", GAUGE, "{token}", "upstream", "What is left of the rate limit's bucket.", "min"),
    _row("pool.connections", GAUGE, "{connection}", "upstream endpoint", "Connections that are open, idle ones too."),
    _row("discovery.age", GAUGE, "s", "upstream", "Since the last good answer about where the nodes are.", "max"),
    _row("settings.reloads", COUNTER, "{reload}", "result", "Settings offered while running: applied or rejected."),
    _row("stalls", COUNTER, "{attempt}", "upstream", "Attempts that say nothing, because this process was late."),
    _row("streams.reclaimed", COUNTER, "{stream}", "upstream", "Streamed answers that nobody closed."),
)  # fmt: skip

BY_NAME = {row.name.removeprefix("resilient_http."): row for row in INSTRUMENTS}


def metrics_table() -> str:
    """All of them, in Markdown; docs/observe.md has it."""
    lines = ["| OpenTelemetry | Prometheus | labels | |", "| --- | --- | --- | --- |"]
    for row in INSTRUMENTS:
        labels = ", ".join(row.labels)
        lines.append(f"| `{row.name}` ({row.kind}) | `{row.prometheus}` | {labels} | {row.means} |")
    return "\n".join([*lines, ""])
