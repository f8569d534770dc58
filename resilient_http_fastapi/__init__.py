"""resilient_http for FastAPI: one middleware, and clients as dependencies that keep to their inbound request."""

from resilient_http_fastapi.console import dashboard
from resilient_http_fastapi.dependencies import client_for, get_client, get_resilience, get_sync_client
from resilient_http_fastapi.health import health_route
from resilient_http_fastapi.middleware import ResilientHttpMiddleware
from resilient_http_fastapi.routes import ignore_disconnect, timeout
from resilient_http_fastapi.settings import settings_from_environment, settings_from_module

__all__ = [
    "ResilientHttpMiddleware",
    "client_for",
    "dashboard",
    "get_client",
    "get_resilience",
    "get_sync_client",
    "health_route",
    "ignore_disconnect",
    "settings_from_environment",
    "settings_from_module",
    "timeout",
]
