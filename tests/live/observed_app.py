"""A service for gunicorn, loaded before it forks; each worker sets up an exporter of its own afterwards."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from resilient_http import Resilience

resilience = Resilience({"upstreams": {"payments": {"endpoints": [os.environ["PAYMENTS"]]}}})
client = resilience.client()
client.get("http://payments/before-the-fork")


def application(_: Any, start_response: Any) -> list[bytes]:
    client.get("http://payments/charges")
    start_response("200 OK", [("content-type", "text/plain")])
    return [str(os.getpid()).encode()]


def post_fork(server: Any, worker: Any) -> None:
    """What the docs show: gunicorn's hook, in the worker."""
    from opentelemetry import metrics
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import start_http_server

    resource = Resource.create({"service.name": "shop", "service.instance.id": str(uuid.uuid4())})
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()], resource=resource))
    scraped, _ = start_http_server(0, addr="127.0.0.1")
    (Path(os.environ["TARGETS"]) / str(os.getpid())).write_text(str(scraped.server_port))
