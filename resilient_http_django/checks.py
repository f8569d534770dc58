"""System checks: `manage.py check` says what is wrong in RESILIENT_HTTP, and where.

    resilient_http.E001     a setting is wrong
    resilient_http.W001     the middleware is missing
    resilient_http.W002     a request may last longer than gunicorn lets its worker live
    resilient_http.W003 to W009, and with --deploy W101 to W106
                            what is likely wrong; see docs/settings.md

Silence one with SILENCED_SYSTEM_CHECKS, as any.
"""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's name

from resilient_http import Resilience, SettingsError, SettingsMistake, advise
from resilient_http_django.conf import NAME, read_settings
from resilient_http_django.gunicorn import worker_timeout

MIDDLEWARE = "resilient_http_django.middleware.ResilientHttpMiddleware"


def check_settings(app_configs: Any, **options: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's shape
    """One E001 for each mistake in RESILIENT_HTTP."""
    try:
        Resilience(read_settings())
    except SettingsError as exc:
        mistakes = exc.mistakes or (SettingsMistake((), str(exc)),)
        return [Error(_message(mistake), _hint(mistake), id="resilient_http.E001") for mistake in mistakes]
    return []


def check_middleware(app_configs: Any, **options: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's shape
    """W001 when the middleware is not in MIDDLEWARE."""
    if MIDDLEWARE in django_settings.MIDDLEWARE:
        return []
    message = (
        "ResilientHttpMiddleware is not in MIDDLEWARE: a request's deadline counts from its first get_client(request)."
    )
    return [Warning(message, f'Put "{MIDDLEWARE}" first in MIDDLEWARE.', id="resilient_http.W001")]


def check_worker_timeout(app_configs: Any, **options: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's shape
    """W002 when gunicorn would kill a worker before its request has used up its timeout."""
    try:
        ours = read_settings().inbound.timeout
    except SettingsError:
        return []  # E001 says so
    theirs = worker_timeout()
    if theirs is None or (ours is not None and ours <= theirs):
        return []
    has = "no limit" if ours is None else f"{ours:g} s"
    message = f'{NAME}["INBOUND"]["TIMEOUT"] is {has}, but gunicorn kills a worker after {theirs:g} s.'
    hint = f"Set it below {theirs:g}, or start gunicorn with a longer --timeout."
    return [Warning(message, hint, id="resilient_http.W002")]


def check_likely_mistakes(app_configs: Any, **options: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's shape
    """W003 to W009: what is likely wrong."""
    return _advice(deploy=False)


def check_exposures(app_configs: Any, **options: Any) -> list[CheckMessage]:  # noqa: ARG001 - Django's shape
    """W101 to W106, with --deploy: what lets others in, and faults that are injected."""
    return _advice(deploy=True)


def _advice(*, deploy: bool) -> list[CheckMessage]:
    try:
        settings = read_settings()
    except SettingsError:
        return []  # E001 says so
    found = advise(settings, deploy=deploy, worker_timeout=worker_timeout(), environment=os.environ)
    return [
        Warning(f"{each.origin}: {each.message}.", each.hint, id=f"resilient_http.{each.id}")
        for each in found
        if each.deploy is deploy
    ]


def _message(mistake: SettingsMistake) -> str:
    where = ": ".join(filter(None, (mistake.source, ".".join(mistake.path))))
    return f"{where}: {mistake.message}" if where else mistake.message


def _hint(mistake: SettingsMistake) -> str:
    if len(mistake.known) == 1:
        return f"Did you mean {mistake.known[0]}?"
    if mistake.known:
        return f"Known here: {', '.join(mistake.known)}."
    return f"Correct it in {mistake.source or NAME}, or leave it out for the default."
