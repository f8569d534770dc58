"""Metrics as a real Prometheus scrapes them: names, alerts, the dashboard's queries; and gunicorn's workers."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import generate_latest, start_http_server

from resilient_http import Resilience, deadline
from resilient_http.cli import main
from resilient_http.events import ReloadRejected
from resilient_http.telemetry.alerts import ALERTS
from resilient_http.telemetry.dashboard import expressions
from resilient_http.telemetry.instruments import BY_NAME, COUNTER, HISTOGRAM, INSTRUMENTS
from resilient_http.telemetry.metrics import meters
from tests.live.processes import served
from tests.live.prometheus import promtool
from tests.live.servers import answer, reset
from tests.telemetry.sdk_metrics import provided

QUICK = {"backoff": {"base": 0.001, "throttled_base": 0.001, "elsewhere": 1.0}}


@pytest.fixture
def exposed():
    """An exporter with a scrape endpoint, its port."""
    with provided(PrometheusMetricReader()):
        server, thread = start_http_server(0, addr="127.0.0.1")
        yield server.server_port
        server.shutdown()
        server.server_close()
        thread.join()


def make_calls(*nodes):
    settings = {"upstreams": {"payments": {"endpoints": [node.url for node in nodes], "retry": QUICK}}}
    resilience = Resilience(settings)
    with resilience, resilience.client() as client, deadline(9.0):
        for _ in range(8):
            client.get("http://payments/charges")
    return resilience


def test_names_and_texts_are_as_promtool_wants_them_and_as_the_table_says(exposed, fault_server, prometheus):
    resilience = make_calls(fault_server(reset()), fault_server())
    resilience._hub.announce(ReloadRejected("", "test", "wrong"))
    for name, instrument in meters().instruments.items():
        row = BY_NAME[name]
        if row.kind in (HISTOGRAM, COUNTER):
            (instrument.record if row.kind == HISTOGRAM else instrument.add)(1, dict.fromkeys(row.labels, "x"))
    text = generate_latest().decode()

    status, said = promtool("check", "metrics", given="\n".join(_ours(text)) + "\n")
    assert status == 0, said
    assert said == ""
    families = set(re.findall(r"^# TYPE (resilient_http_\w+) ", text, re.MULTILINE))
    assert families <= {row.prometheus for row in INSTRUMENTS}
    told = {row.prometheus for row in INSTRUMENTS if row.kind in (HISTOGRAM, COUNTER)}
    assert families > told
    assert len(families - told) >= 8


def test_a_prometheus_has_the_calls_and_can_ask_all_that_the_dashboard_does(exposed, fault_server, prometheus):
    down, up = fault_server(reset()), fault_server()
    held = make_calls(down, up)
    server = prometheus([f"127.0.0.1:{exposed}"])

    outcomes = server.query("sum by (outcome) (resilient_http_call_duration_seconds_count)")
    assert outcomes == {("success",): 8}
    assert server.query('sum(resilient_http_retries_total{decision="made"})')[()] >= 1
    assert server.query("max by (endpoint) (resilient_http_circuit_state)") == {(down.url,): 0, (up.url,): 0}
    for expression in expressions():
        server.get(f"query?query={urllib.request.quote(expression)}")  # raises for what Prometheus cannot parse
    assert held.status()["pid"]


def test_the_dashboard_shows_every_instrument():
    text = "\n".join(expressions())
    for row in INSTRUMENTS:
        assert (f"{row.prometheus}_bucket" if row.kind == HISTOGRAM else row.prometheus + "{") in text or row.name == (
            "resilient_http.settings.reloads"
        ), row.name


def test_the_command_writes_a_dashboard_and_rules_that_promtool_and_prometheus_take(
    tmp_path, capsys, exposed, fault_server, prometheus
):
    out = tmp_path / "out"

    assert main(["dashboards", "--out", str(out)]) == 0
    written = capsys.readouterr().out.split()
    assert sorted(path.name for path in out.iterdir()) == sorted(path.rpartition("/")[2] for path in written)
    rules = out / "resilient-http-alerts.yml"
    status, said = promtool("check", "rules", str(rules))
    assert status == 0, said
    assert f"{len(ALERTS)} rules found" in said
    board = json.loads((out / "resilient-http-dashboard.json").read_text())
    assert {panel["id"] for panel in board["panels"]} == set(range(1, len(board["panels"]) + 1))

    held = make_calls(fault_server(answer(200)))
    server = prometheus([f"127.0.0.1:{exposed}"], [rules])
    server.query("resilient_http_concurrency_limit")
    (group,) = server.get("rules")["groups"]
    assert [rule["name"] for rule in group["rules"]] == [alert.name for alert in ALERTS]
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert held is not None


def test_an_alert_fires_when_its_case_comes(tmp_path):
    """By promtool's own simulation: a circuit that is open for three minutes, and settings that were rejected."""
    main(["dashboards", "--out", str(tmp_path)])
    circuit = 'resilient_http_circuit_state{upstream="payments",endpoint="http://n1"}'
    test = {
        "rule_files": ["resilient-http-alerts.yml"],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [
                    {"series": circuit, "values": "0 0 2x10"},
                    {"series": 'resilient_http_settings_reloads_total{result="rejected"}', "values": "0 0 1x10"},
                ],
                "alert_rule_test": [
                    {"eval_time": "30s", "alertname": "ResilientHttpCircuitOpen", "exp_alerts": []},
                    {
                        "eval_time": "4m",
                        "alertname": "ResilientHttpCircuitOpen",
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": "ticket", "upstream": "payments", "endpoint": "http://n1"},
                                "exp_annotations": {
                                    "summary": "the circuit of payments at http://n1 is open",
                                    "description": next(
                                        alert.advice for alert in ALERTS if alert.name == "ResilientHttpCircuitOpen"
                                    ),
                                },
                            }
                        ],
                    },
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test))

    status, said = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert status == 0, said


def test_each_worker_of_gunicorn_has_an_exporter_of_its_own_and_counts_its_own_calls(tmp_path, fault_server):
    node, told = fault_server(), tmp_path / "targets"
    told.mkdir()
    environment = {"PAYMENTS": node.url, "TARGETS": str(told), "PYTHONPATH": "."}
    command = ["gunicorn", "--bind", "fd://FD", "--no-control-socket", "-c", "python:tests.live.gunicorn_observed"]
    with served([*command, "tests.live.observed_app:application"], environment) as server:
        answered, calls = set(), 0
        while len(answered) < 2:
            with urllib.request.urlopen(server.url, timeout=20) as response:
                answered.add(response.read().decode())
            calls += 1
            assert calls < 500
        texts = [_scraped(path.read_text()) for path in told.iterdir()]

    counts = [_value(text, "resilient_http_call_duration_seconds_count") for text in texts]
    assert sum(counts) == calls
    assert min(counts) >= 1
    instances = {re.search(r'service_instance_id="([^"]+)"', text)[1] for text in texts}
    assert len(instances) == 2
    assert all(_value(text, "resilient_http_concurrency_limit") == 100 for text in texts)


def _ours(text):
    return [line for line in text.splitlines() if re.match(r"(# (HELP|TYPE) )?resilient_http_", line)]


def _scraped(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        return response.read().decode()


def _value(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{"))
