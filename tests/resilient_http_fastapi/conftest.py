"""The upstream that the service calls."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def payments(fault_server: Callable[..., Any]) -> Callable[..., Any]:
    """Starts the upstream "payments": its server, and settings that name it beside others."""

    def start(script: Any = None, **others: Any) -> Any:
        server = fault_server(script)
        return server, {"upstreams": {"payments": {"endpoints": [server.url]}}, **others}

    return start
