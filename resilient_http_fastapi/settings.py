"""Settings: from the environment, a file, a settings module, or as they are given.

    RESILIENT_HTTP_INBOUND__TIMEOUT=5
    RESILIENT_HTTP_DEFAULTS__RETRY__MAX_ATTEMPTS=2
    RESILIENT_HTTP_UPSTREAMS__PAYMENTS__ENDPOINTS=["http://10.0.0.1:8080", "http://10.0.0.2:8080"]

Each `__` goes one level down. A value is JSON, or a plain string. A name cannot hold a hyphen in the environment, so
CARD_PAYMENTS stands for the upstream card-payments.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

from resilient_http import Settings, SettingsError, load_settings

NAME = "RESILIENT_HTTP"
PREFIX = f"{NAME}_"
FILES = (".toml", ".yaml", ".yml", ".json")

Source = Settings | Mapping[str, Any] | str | os.PathLike[str] | None


def settings_of(source: Source) -> Settings | Mapping[str, Any]:
    """The settings that a middleware was given, for Resilience(...).

    Args:
        source: Settings or a mapping; the path of a file, or the dotted path of a settings module, over both of which
            the environment goes; or None for the environment.

    Raises:
        SettingsError: Something is wrong; it names the path and the value.
    """
    if source is None:
        return settings_from_environment()
    if isinstance(source, os.PathLike) or (isinstance(source, str) and source.lower().endswith(FILES)):
        return load_settings(source)
    return settings_from_module(source) if isinstance(source, str) else source


def settings_from_environment() -> Settings:
    """Settings from environment variables, as RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__MAX_ATTEMPTS=2.

    Raises:
        SettingsError: Something is wrong, or a variable that begins with RESILIENT_HTTP_ names no setting.
    """
    return load_settings()


def settings_from_module(path: str) -> Settings:
    """Settings from a Python module that holds RESILIENT_HTTP = {...}, or RESILIENT_HTTP_UPSTREAMS = {...} and so on.

    Option keys may be in upper or lower case. RESILIENT_HTTP_... goes over what RESILIENT_HTTP says at the same place,
    and the environment over both.

    Args:
        path: Dotted path of the module, as "myapp.settings".

    Raises:
        SettingsError: Something is wrong, or the module holds no such name.
    """
    module = vars(importlib.import_module(path))
    parts = {name.removeprefix(PREFIX): value for name, value in module.items() if name.startswith(PREFIX)}
    whole = module.get(NAME, {})
    if NAME not in module and not parts:
        message = f"{path} holds neither {NAME} nor a name that begins with {PREFIX}"
        raise SettingsError(message, path=path)
    if not parts or not isinstance(whole, Mapping):
        return Settings.from_upper_case(whole, root=NAME, environment=os.environ)
    kept = {key: value for key, value in whole.items() if str(key).upper() not in parts}
    return Settings.from_upper_case({**kept, **parts}, root=NAME, environment=os.environ)
