"""Django's settings of the shop."""

from __future__ import annotations

import os
from typing import Any

CLIENT = os.environ.get("DEMO_CLIENT", "resilient")
PRICING = os.environ.get("DEMO_PRICING", "http://127.0.0.1:8001")

PATIENCE = 1.2
"""Seconds for a quote: what the most patient caller has. With bare httpx this is `timeout=`."""

DEBUG = True  # so that the middleware's answers say what was called, and why that came to nothing
SECRET_KEY = "the demo has no secrets"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS: list[str] = []
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "example_project.shop.urls"
USE_TZ = True

if CLIENT != "bare":
    INSTALLED_APPS += ["resilient_http_django"]
    MIDDLEWARE += ["resilient_http_django.middleware.ResilientHttpMiddleware"]

RESILIENT_HTTP: dict[str, Any] = {
    "UPSTREAMS": {
        "pricing": {
            "ENDPOINTS": [PRICING],
            "TIMEOUT": {"TOTAL": PATIENCE},
            "DEADLINE_HEADER": "x-envoy-expected-rq-timeout-ms",
            "TRUST_DEPENDENCY_MARKER": True,
        },
    },
}
