"""Loading: files, the environment and mappings lead to the same settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from resilient_http.errors import SettingsError
from resilient_http.settings.environment import layers_of
from resilient_http.settings.files import layer_of
from resilient_http.settings.merging import as_raw
from resilient_http.settings.models import Settings
from resilient_http.settings.origins import Layer, Source

From = Mapping[str, Any] | Settings | str | os.PathLike[str]


def load_settings(*sources: From, environment: Mapping[str, str] | None = os.environ) -> Settings:
    """Settings from files, the environment and mappings, merged and validated once.

    What comes later in this row goes over what comes before it: the library's defaults, the files in their order, the
    environment, the mappings in theirs. A value of `defaults` is below one of an upstream, wherever either was read.

    Args:
        sources: Paths of files (.toml, .yaml, .yml, .json), and mappings.
        environment: Variables, of which those that begin with RESILIENT_HTTP_ are read; None for none.

    Raises:
        OSError: A file cannot be read.
        SettingsError: Something is wrong; all of it, each with its path, its value, and where it was read.
    """
    layers = [_layer(source) for source in sources]
    files = [layer for layer in layers if layer[0].kind == "file"]
    mappings = [layer for layer in layers if layer[0].kind == "mapping"]
    return Settings.of_layers([*files, *layers_of(environment or {}, Settings), *mappings])


def _layer(source: Any) -> Layer:
    if isinstance(source, (str, os.PathLike)):
        return layer_of(source, Settings)
    if not isinstance(source, (Mapping, Settings)):
        message = f"the path of a file or a mapping is needed, not {type(source).__name__}"
        raise SettingsError(message, value=source)
    return Source("settings"), as_raw(source)
