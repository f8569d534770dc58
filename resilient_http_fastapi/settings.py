"""Settings: from the environment, from a settings module, or as they are given.

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

from pydantic import create_model
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableError

from resilient_http import Settings, SettingsError

NAME = "RESILIENT_HTTP"
PREFIX = f"{NAME}_"

Source = Settings | Mapping[str, Any] | str | None


def load_settings(source: Source) -> Settings | Mapping[str, Any]:
    """The settings that a middleware was given, for Resilience(...).

    Args:
        source: Settings or a mapping; the dotted path of a settings module; or None for the environment.

    Raises:
        SettingsError: Something is wrong; it names the path and the value.
    """
    if source is None:
        return settings_from_environment()
    if isinstance(source, str):
        return settings_from_module(source)
    return source


def settings_from_environment() -> Settings:
    """Settings from environment variables, as RESILIENT_HTTP_UPSTREAMS__PAYMENTS__RETRY__MAX_ATTEMPTS=2.

    Raises:
        SettingsError: Something is wrong, or a variable that begins with RESILIENT_HTTP_ names no setting.
    """
    try:
        raw: dict[str, Any] = EnvSettingsSource(_environment())()
    except UnreadableError as exc:
        message = f"a variable that begins with {PREFIX} is not JSON: {exc}"
        raise SettingsError(message) from exc
    for root in ("upstreams", "guards"):
        if isinstance(raw.get(root), dict):
            raw[root] = {name.replace("_", "-"): own for name, own in raw[root].items()}
    for variable in os.environ:
        root = variable.upper().removeprefix(PREFIX).partition("__")[0].lower()
        if variable.upper().startswith(PREFIX) and root not in raw:
            raw[root] = os.environ[variable]  # refused by Settings, with the nearest name that is known
    return Settings(**raw)


def settings_from_module(path: str) -> Settings:
    """Settings from a Python module that holds RESILIENT_HTTP = {...}, or RESILIENT_HTTP_UPSTREAMS = {...} and so on.

    Option keys may be in upper or lower case. RESILIENT_HTTP_... goes over what RESILIENT_HTTP says at the same place.

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
        return Settings.from_upper_case(whole, root=NAME)
    kept = {key: value for key, value in whole.items() if str(key).upper() not in parts}
    return Settings.from_upper_case({**kept, **parts}, root=NAME)


def _environment() -> type[BaseSettings]:
    """What pydantic-settings reads: the roots of the settings. `dict` is one that has something below it."""
    fields: dict[str, Any] = {
        name: (Any if isinstance(field.default, (bool, str)) else dict, None)
        for name, field in Settings.model_fields.items()
    }
    config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__")
    base = type("Environment", (BaseSettings,), {"model_config": config})
    return create_model("Environment", __base__=base, **fields)
