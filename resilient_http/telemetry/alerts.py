"""Alerts: rules for Prometheus, over the instruments of the table. What to do about each stands in its text."""

from __future__ import annotations

import json
from dataclasses import dataclass

from resilient_http.telemetry.instruments import BY_NAME

BAD = "server_error|failed|deadline|circuit_open|rate_limited|saturated|no_endpoint"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule.

    Attributes:
        name: CamelCase.
        instruments: Names of the table; the expression has their Prometheus names for {0}, {1} ...
        expression: PromQL.
        lasts: How long it must hold.
        severity: "page" for a person at once, "ticket" for working hours.
        summary: One line; {{ $labels.upstream }} is the upstream.
        advice: What to look at, and what to turn.
    """

    name: str
    instruments: tuple[str, ...]
    expression: str
    lasts: str
    severity: str
    summary: str
    advice: str

    @property
    def promql(self) -> str:
        """The expression."""
        text = self.expression
        for place, name in enumerate(self.instruments):
            text = text.replace(f"{{{place}}}", BY_NAME[name].prometheus)
        return text.replace("{bad}", BAD)


ALERTS = (
    Alert(
        "ResilientHttpCallsFail", ("call.duration",),
        'sum by (upstream) (rate({0}_count{outcome=~"{bad}"}[5m])) / sum by (upstream) (rate({0}_count[5m])) > 0.05',
        "5m", "page", "more than 5 % of the calls to {{ $labels.upstream }} fail",
        "Look at the outcomes of call.duration: failed and server_error are the upstream's, circuit_open follows "
        "from them, saturated and rate_limited are limits of ours, deadline is time.",
    ),
    Alert(
        "ResilientHttpCircuitOpen", ("circuit.state",), "max by (upstream, endpoint) ({0}) == 2",
        "2m", "ticket", "the circuit of {{ $labels.upstream }} at {{ $labels.endpoint }} is open",
        "The node fails its probes; the other nodes take its share. Look at the node.",
    ),
    Alert(
        "ResilientHttpNothingToCall", ("call.duration",),
        'sum by (upstream) (rate({0}_count{outcome=~"circuit_open|no_endpoint"}[2m])) > 0',
        "2m", "page", "no node of {{ $labels.upstream }} is called any more",
        "All circuits are open, or no node is known. Calls are refused at once; a fallback would answer them.",
    ),
    Alert(
        "ResilientHttpEndpointsOut", ("endpoints",),
        'sum by (upstream) (max by (upstream, state) ({0}{state!="healthy"})) '
        "/ sum by (upstream) (max by (upstream, state) ({0})) > 0.5",
        "5m", "page", "more than half of the nodes of {{ $labels.upstream }} are out",
        "The rest takes all traffic. Look at what the nodes have in common.",
    ),
    Alert(
        "ResilientHttpRetryBudgetUsedUp", ("retries",),
        'sum by (upstream) (rate({0}{decision="suppressed",reason="budget"}[5m])) > 0.1',
        "5m", "ticket", "repeats to {{ $labels.upstream }} are held back, because too many calls fail",
        "The budget does what it is for. Look at why calls fail before raising retry.budget.",
    ),
    Alert(
        "ResilientHttpManyRetries", ("retries", "call.duration"),
        'sum by (upstream) (rate({0}{decision="made"}[10m])) / sum by (upstream) (rate({1}_count[10m])) > 0.2',
        "10m", "ticket", "more than one call of five to {{ $labels.upstream }} is repeated",
        "Users see little of it yet. Look at attempt.duration by endpoint and outcome.",
    ),
    Alert(
        "ResilientHttpSaturated", ("concurrency.refusals",),
        'sum by (upstream) (rate({0}{decision=~"queue full|too late"}[5m])) > 0',
        "5m", "page", "calls to {{ $labels.upstream }} find no permit",
        "The upstream is slower than usual, or is called more. Look at concurrency.in_flight and attempt.duration.",
    ),
    Alert(
        "ResilientHttpDeadlinesOverrun", ("deadline.overruns",), "sum by (upstream) (rate({0}[10m])) > 0.01",
        "10m", "ticket", "calls to {{ $labels.upstream }} end after their deadline",
        "This process is busy or blocked: look at its CPU, and for code that blocks the event loop.",
    ),
    Alert(
        "ResilientHttpDiscoveryOld", ("discovery.age",), "max by (upstream) ({0}) > 300",
        "5m", "ticket", "where the nodes of {{ $labels.upstream }} are has not been known for minutes",
        "The last good answer serves. Look at the source (DNS, etcd, Consul) and at status()'s discovery.failing.",
    ),
    Alert(
        "ResilientHttpReloadRejected", ("settings.reloads",), 'sum(increase({0}{result="rejected"}[15m])) > 0',
        "0m", "ticket", "settings were offered that are wrong", "All is as it was. The log says what is wrong.",
    ),
    Alert(
        "ResilientHttpStreamsLeftOpen", ("streams.reclaimed",), "sum by (upstream) (increase({0}[1h])) > 0",
        "0m", "ticket", "streamed answers of {{ $labels.upstream }} are not closed",
        "Somewhere a response is streamed without `with`; the log names the endpoint.",
    ),
)  # fmt: skip


def rules() -> str:
    """The file for Prometheus' rule_files, in YAML."""
    lines = ["groups:", "  - name: resilient_http", "    rules:"]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {json.dumps(alert.promql)}",
            f"        for: {alert.lasts}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {json.dumps(alert.summary)}",
            f"          description: {json.dumps(alert.advice)}",
        ]
    return "\n".join([*lines, ""])
