"""The settings of the pricing service, from the environment."""

from __future__ import annotations

import os
from typing import Any

CLIENT = os.environ.get("DEMO_CLIENT", "resilient")
NODES = os.environ.get("DEMO_NODES", "http://127.0.0.1:8081 http://127.0.0.1:8082 http://127.0.0.1:8083").split()

PATIENCE = 0.3
"""Seconds for one try at one node; with bare httpx this is `timeout=`."""

RESILIENT_HTTP: dict[str, Any] = {
    "upstreams": {
        "payments": {
            "endpoints": NODES,
            "timeout": {"total": 1.0, "attempt": PATIENCE},
            "deadline_header": "x-envoy-expected-rq-timeout-ms",
        },
    },
}
