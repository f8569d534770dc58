"""The same public names over httpx2, httpx's maintained successor. Needs the extra `httpx2`.

    from resilient_http.httpx2 import Resilience

`Resilience` here has `backend = "httpx2"` unless the settings say otherwise; its clients are httpx2 clients, and its
exceptions inherit httpx2's classes as well as those of `resilient_http`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resilient_http import ConsoleCommand, console_commands, plan, resilience
from resilient_http.answers import Answer, answer_to
from resilient_http.engines.backend import load_backend
from resilient_http.errors import ForeignAwait, MisplacedCall, ResilienceError, SettingsError, SettingsMistake
from resilient_http.health_report import HealthReport
from resilient_http.inbound import Arrival
from resilient_http.journal import Journal, journal_of
from resilient_http.over_httpx2 import AsyncClient, AsyncResilientTransport, Client, ResilientTransport
from resilient_http.scope import Cancellation, Scope, deadline, detached, enter_scope, remaining
from resilient_http.settings.advice import Advice, advise
from resilient_http.settings.chaos_header import chaos_header
from resilient_http.settings.loading import load_settings
from resilient_http.settings.models import Settings
from resilient_http.settings.overrides import call_options
from resilient_http.telemetry.recording import Recording, record_calls
from resilient_http.upstreams.sources.source import Discovered, DiscoverySource

__all__ = [
    "Advice",
    "Answer",
    "Arrival",
    "AsyncClient",
    "AsyncResilientTransport",
    "Cancellation",
    "Cancelled",
    "CircuitOpen",
    "Client",
    "ConsoleCommand",
    "DeadlineExceeded",
    "Discovered",
    "DiscoverySource",
    "ForeignAwait",
    "HealthReport",
    "Journal",
    "MisplacedCall",
    "NoEndpoint",
    "RateLimited",
    "Recording",
    "Refused",
    "Resilience",
    "ResilienceError",
    "ResilientTransport",
    "Saturated",
    "Scope",
    "Settings",
    "SettingsError",
    "SettingsMistake",
    "advise",
    "answer_to",
    "call_options",
    "chaos_header",
    "console_commands",
    "deadline",
    "detached",
    "enter_scope",
    "journal_of",
    "load_settings",
    "plan",
    "record_calls",
    "remaining",
]

if TYPE_CHECKING:
    from resilient_http.errors import (
        Cancelled,
        CircuitOpen,
        DeadlineExceeded,
        NoEndpoint,
        RateLimited,
        Refused,
        Saturated,
    )
else:
    _errors = load_backend("httpx2").errors
    Cancelled = _errors["Cancelled"]
    CircuitOpen = _errors["CircuitOpen"]
    DeadlineExceeded = _errors["DeadlineExceeded"]
    NoEndpoint = _errors["NoEndpoint"]
    RateLimited = _errors["RateLimited"]
    Refused = _errors["Refused"]
    Saturated = _errors["Saturated"]


class Resilience(resilience.Resilience):
    """As resilient_http.Resilience, with httpx2 as its backend."""

    def __init__(self, settings: Mapping[str, Any] | Settings | None = None, **options: Any) -> None:
        if not isinstance(settings, Settings):
            settings = {"backend": "httpx2", **(settings or {})}
        super().__init__(settings, **options)

    if TYPE_CHECKING:

        def client(self, **options: Any) -> Client:  # type: ignore[override]
            """As resilient_http.Resilience.client(), but an `httpx2.Client`."""

        def async_client(self, **options: Any) -> AsyncClient:  # type: ignore[override]
            """As resilient_http.Resilience.async_client(), but an `httpx2.AsyncClient`."""
