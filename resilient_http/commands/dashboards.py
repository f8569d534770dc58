"""Write a Grafana dashboard and alert rules for Prometheus, made of the table of metrics.

They go by the names that OpenTelemetry's exporters give to Prometheus; see docs/observe.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from resilient_http.telemetry.alerts import rules
from resilient_http.telemetry.dashboard import dashboard


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they are written")


def run(options: argparse.Namespace) -> int:
    """Write them; 0."""
    files = {
        "resilient-http-dashboard.json": json.dumps(dashboard(), indent=2) + "\n",
        "resilient-http-alerts.yml": rules(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = options.out / name
        path.write_text(text)
        print(path)  # noqa: T201
    return 0
