"""An outbound HTTP client for web services that cannot take the service down.

Each name is loaded when it is first asked for: a module that imports the package for one exception loads no more.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from resilient_http.answers import Answer, answer_to
    from resilient_http.client import AsyncClient, Client
    from resilient_http.commands.asking import ConsoleCommand, console_commands
    from resilient_http.errors import (
        Cancelled,
        CircuitOpen,
        DeadlineExceeded,
        ForeignAwait,
        MisplacedCall,
        NoEndpoint,
        RateLimited,
        Refused,
        ResilienceError,
        Saturated,
        SettingsError,
        SettingsMistake,
    )
    from resilient_http.health_report import HealthReport
    from resilient_http.inbound import Arrival
    from resilient_http.journal import Journal, journal_of
    from resilient_http.resilience import Resilience
    from resilient_http.scope import Cancellation, Scope, deadline, detached, enter_scope, remaining
    from resilient_http.settings.advice import Advice, advise
    from resilient_http.settings.chaos_header import chaos_header
    from resilient_http.settings.loading import load_settings
    from resilient_http.settings.models import Settings
    from resilient_http.settings.overrides import call_options
    from resilient_http.simulate.plan import plan
    from resilient_http.telemetry.recording import Recording, record_calls
    from resilient_http.transport import AsyncResilientTransport, ResilientTransport
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

_HOMES = {
    "Advice": "settings.advice",
    "Answer": "answers",
    "Arrival": "inbound",
    "AsyncClient": "client",
    "AsyncResilientTransport": "transport",
    "Cancellation": "scope",
    "Cancelled": "errors",
    "CircuitOpen": "errors",
    "Client": "client",
    "ConsoleCommand": "commands.asking",
    "DeadlineExceeded": "errors",
    "Discovered": "upstreams.sources.source",
    "DiscoverySource": "upstreams.sources.source",
    "ForeignAwait": "errors",
    "HealthReport": "health_report",
    "Journal": "journal",
    "MisplacedCall": "errors",
    "NoEndpoint": "errors",
    "RateLimited": "errors",
    "Recording": "telemetry.recording",
    "Refused": "errors",
    "Resilience": "resilience",
    "ResilienceError": "errors",
    "ResilientTransport": "transport",
    "Saturated": "errors",
    "Scope": "scope",
    "Settings": "settings.models",
    "SettingsError": "errors",
    "SettingsMistake": "errors",
    "advise": "settings.advice",
    "answer_to": "answers",
    "call_options": "settings.overrides",
    "chaos_header": "settings.chaos_header",
    "console_commands": "commands.asking",
    "deadline": "scope",
    "detached": "scope",
    "enter_scope": "scope",
    "journal_of": "journal",
    "load_settings": "settings.loading",
    "plan": "simulate.plan",
    "record_calls": "telemetry.recording",
    "remaining": "scope",
}


if not typing.TYPE_CHECKING:  # a type checker is to find a name that does not exist

    def __getattr__(name: str) -> typing.Any:
        home = _HOMES.get(name)
        if home is None:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
