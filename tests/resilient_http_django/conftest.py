"""Django, set up once, and the upstream that the project's views call."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import django
import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.resilient_http_django.project.settings")
django.setup()


@pytest.fixture
def anyio_backend() -> str:
    """Django's async side is asyncio."""
    return "asyncio"


@pytest.fixture
def payments(fault_server: Callable[..., Any], settings: Any) -> Callable[..., Any]:
    """Starts the upstream "payments" and names it in RESILIENT_HTTP, beside other settings."""

    def start(script: Any = None, own: Mapping[str, Any] | None = None, **others: Any) -> Any:
        server = fault_server(script)
        settings.RESILIENT_HTTP = {"UPSTREAMS": {"payments": {"ENDPOINTS": [server.url], **(own or {})}}, **others}
        return server

    return start
