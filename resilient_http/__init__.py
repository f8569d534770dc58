"""An outbound HTTP client for web services that cannot take the service down."""

from resilient_http.answers import Answer, answer_to
from resilient_http.client import AsyncClient, Client
from resilient_http.errors import (
    Cancelled,
    CircuitOpen,
    DeadlineExceeded,
    ForeignAwait,
    NoEndpoint,
    RateLimited,
    Refused,
    ResilienceError,
    Saturated,
    SettingsError,
    SettingsMistake,
)
from resilient_http.inbound import Arrival
from resilient_http.journal import Journal, journal_of
from resilient_http.resilience import Resilience
from resilient_http.scope import Cancellation, Scope, deadline, detached, enter_scope, remaining
from resilient_http.settings.models import Settings
from resilient_http.settings.overrides import call_options
from resilient_http.transport import AsyncResilientTransport, ResilientTransport

__all__ = [
    "Answer",
    "Arrival",
    "AsyncClient",
    "AsyncResilientTransport",
    "Cancellation",
    "Cancelled",
    "CircuitOpen",
    "Client",
    "DeadlineExceeded",
    "ForeignAwait",
    "Journal",
    "NoEndpoint",
    "RateLimited",
    "Refused",
    "Resilience",
    "ResilienceError",
    "ResilientTransport",
    "Saturated",
    "Scope",
    "Settings",
    "SettingsError",
    "SettingsMistake",
    "answer_to",
    "call_options",
    "deadline",
    "detached",
    "enter_scope",
    "journal_of",
    "remaining",
]
