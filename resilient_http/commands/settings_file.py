"""SettingsFile: settings as they stand in a TOML or JSON file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings


def load_settings(path: str) -> Settings:
    """The settings in a file, by its suffix.

    Raises:
        SettingsError: It is neither TOML nor JSON, or something is wrong in it.
        OSError: It cannot be read.
    """
    text = Path(path).read_text()
    try:
        raw = json.loads(text) if path.endswith(".json") else tomllib.loads(text)
    except ValueError as exc:
        raise SettingsError(f"{path}: {exc}", path=path) from None
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: a mapping of settings is needed", path=path)
    return Settings(**raw)
