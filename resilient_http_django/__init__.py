"""resilient_http for Django: settings in RESILIENT_HTTP, and for each inbound request a client that keeps to it."""

from resilient_http_django.clients import get_async_client, get_client
from resilient_http_django.conf import get_resilience
from resilient_http_django.decorators import ignore_disconnect, timeout

__all__ = ["get_async_client", "get_client", "get_resilience", "ignore_disconnect", "timeout"]
