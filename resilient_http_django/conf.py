"""Conf: RESILIENT_HTTP in Django's settings, and the one Resilience of this process that is made from it.

The setting is read when it is first needed, and again after it has changed (override_settings).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from resilient_http import Resilience, Settings, SettingsError, load_settings

NAME = "RESILIENT_HTTP"

# A dict: setdefault() hands the same Resilience to all threads, without a lock that a fork might take along.
_made: dict[str, Resilience] = {}
_listeners: dict[Callable[[Any], None], None] = {}
_mounted: set[str] = set()


def read_settings() -> Settings:
    """RESILIENT_HTTP, or the file that it names, with the environment over it; validated. All defaults without it.

    Raises:
        SettingsError: Something is wrong in it; it names the path, `RESILIENT_HTTP["UPSTREAMS"]...`, and the value.
    """
    raw = getattr(django_settings, NAME, {})
    if isinstance(raw, (str, os.PathLike)):
        try:
            return load_settings(raw)
        except OSError as exc:
            raise SettingsError(f"{NAME}: {exc}", path=NAME, value=raw) from None
    return Settings.from_upper_case(raw, root=NAME, environment=os.environ)


def get_resilience() -> Resilience:
    """The Resilience of this process: for status(), circuits(), or a client with options of its own. Thread-safe.

    It is made on first use, so never before a fork that follows Django's start; what was made before one is made anew
    in the child. When RESILIENT_HTTP changes, another takes its place.

    Raises:
        SettingsError: Something is wrong in RESILIENT_HTTP.
    """
    made = _made.get(NAME)
    if made is None:
        made = _made.setdefault(NAME, Resilience(read_settings(), in_transaction=_in_transaction))
        for listener in list(_listeners):  # now, so that none is forgotten that came meanwhile
            made.add_listener(listener)
        _begin_console()
    return made


def _in_transaction() -> tuple[str, str] | None:
    from resilient_http_django.transactions import in_transaction  # noqa: PLC0415 - it asks for clients, which ask us

    return in_transaction()


def listen(listener: Callable[[Any], None]) -> None:
    """Have a function called with each event of the process's Resilience, and of any that takes its place."""
    _listeners[listener] = None
    if (made := _made.get(NAME)) is not None:
        made.add_listener(listener)


def stop_listening(listener: Callable[[Any], None]) -> None:
    """Have it called no more."""
    _listeners.pop(listener, None)
    if (made := _made.get(NAME)) is not None:
        made.remove_listener(listener)


def mount_console() -> None:
    """The live page is mounted: look at calls from now on, or from when the Resilience is made."""
    _mounted.add(NAME)
    _begin_console()


def console_is_mounted() -> bool:
    """Whether the live page is."""
    return bool(_mounted)


def _begin_console() -> None:
    if _mounted and NAME in _made:
        _ = _made[NAME].console


def _drop_when_changed(*, setting: str, **_: Any) -> None:
    if setting == NAME and (dropped := _made.pop(NAME, None)) is not None:
        dropped.close()


setting_changed.connect(_drop_when_changed, dispatch_uid="resilient_http_django.conf")
