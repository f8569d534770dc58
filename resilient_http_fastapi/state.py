"""State: what an inbound request keeps for its outbound calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.types import Scope as ASGIScope

from resilient_http import Arrival, AsyncClient, Client, Resilience, Scope

KEY = "resilient_http"  # of the ASGI scope, and of app.state
CONSOLE = "resilient_http_console"  # of app.state: the live page is mounted


class RequestState:
    """What an inbound request keeps for its outbound calls; it sits in the ASGI scope, and ends with it.

    Attributes:
        resilience: The app's.
        scope: The scope of its outbound calls.
        arrival: The request's own; None for a WebSocket.
        clients: Its clients, by base URL; "sync" for the sync one.
    """

    __slots__ = ("arrival", "clients", "resilience", "scope")

    def __init__(self, resilience: Resilience, scope: Scope, arrival: Arrival | None = None) -> None:
        self.resilience = resilience
        self.scope = scope
        self.arrival = arrival
        self.clients: dict[str, Any] = {}

    def client(self) -> Client:
        """The request's sync client."""
        made: Client | None = self.clients.get("sync")
        return made or self.clients.setdefault("sync", self.resilience.client(scope=self.scope))

    def async_client(self, base_url: str = "") -> AsyncClient:
        """The request's async client for a base URL."""
        made: AsyncClient | None = self.clients.get(base_url)
        if made is None:
            client = self.resilience.async_client(scope=self.scope, base_url=base_url)
            made = self.clients.setdefault(base_url, client)
        return made


def header_of(scope: ASGIScope) -> Callable[[str], str | None]:
    """Gives a header of the request by its lower-case name; repeated ones comma-joined."""

    def header(name: str) -> str | None:
        wanted = name.encode("latin-1")
        values: list[bytes] = [value for key, value in scope["headers"] if key == wanted]
        return b",".join(values).decode("latin-1") if values else None

    return header
