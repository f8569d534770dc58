"""Files: settings from TOML, YAML and JSON.

Keys are in lower case, as in the settings themselves. TOML has no null, so `false` switches off there what null
switches off elsewhere, and so it does in every file. `$schema` is for editors, and left out.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from resilient_http.errors import SettingsError
from resilient_http.settings.keys import Shape, shape_at
from resilient_http.settings.origins import Layer, Source
from resilient_http.settings.validation import TOO_DEEP

SCHEMA = "$schema"


def layer_of(path: str | PathLike[str], model: type[BaseModel]) -> Layer:
    """A file of settings, as a layer; the end of its name says what it is.

    Raises:
        OSError: It cannot be read.
        SettingsError: It cannot be understood; the message names the file and, where it is known, the line.
    """
    name = fspath(path)
    return Source(name, "file"), parsed(Path(name).read_bytes(), name, model)


def parsed(content: bytes, name: str, model: type[BaseModel]) -> Mapping[str, Any]:
    """What stands in a file.

    Args:
        content: Of the file.
        name: Of the file; it ends in .toml, .json, .yaml or .yml.
        model: What it holds settings of.

    Raises:
        SettingsError: It cannot be understood.
    """
    read = READERS.get(Path(name).suffix.lower())
    if read is None:
        raise SettingsError(f"{name}: a file ends in {', '.join(READERS)}", path=name)
    try:
        raw = read(content.decode("utf-8-sig"))
    except ValueError as exc:  # of the text's encoding too
        raise SettingsError(f"{name}: {exc}", path=name) from None
    except RecursionError:
        raise SettingsError(f"{name}: {TOO_DEEP}", path=name) from None
    if not isinstance(raw, Mapping):
        raise SettingsError(f"{name}: a mapping is needed, not {type(raw).__name__}", path=name)
    settings: Mapping[str, Any] = switched_off({key: value for key, value in raw.items() if key != SCHEMA}, model)
    return settings


def switched_off(raw: Any, model: type[BaseModel], path: Sequence[str] = ()) -> Any:
    """The same, with null for each false that stands where null switches off, and where false means nothing else."""
    return _off(raw, shape_at(model, path))


def _off(raw: Any, shape: Shape | None) -> Any:
    if shape is None:
        return raw
    if raw is False and shape.nullable and bool not in shape.types:
        return None
    if not isinstance(raw, Mapping):
        return raw
    if shape.model is not None:
        return {key: _off(value, shape_at(shape.model, (str(key),))) for key, value in raw.items()}
    return {key: _off(value, shape.each) for key, value in raw.items()}


def _json(text: str) -> Any:
    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for key, value in pairs:
            if key in known:
                message = f"{key} is given twice"
                raise ValueError(message)
            known[key] = value
        return known

    return json.loads(text, object_pairs_hook=once)


def _yaml(text: str) -> Any:
    from resilient_http.settings.yaml import load  # noqa: PLC0415 - an extra, imported only when used

    return load(text)


READERS: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".yaml": _yaml, ".yml": _yaml, ".json": _json}
