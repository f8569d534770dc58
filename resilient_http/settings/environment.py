"""Environment: settings from variables.

    RESILIENT_HTTP_INBOUND__TIMEOUT=5
    RESILIENT_HTTP_UPSTREAMS__CARD_PAYMENTS__ENDPOINTS=["http://10.0.0.1:8080", "http://10.0.0.2:8080"]

Each `__` goes one level down, and what stands deeper goes over what stands above it. A value is JSON, or a plain text;
`null` and `false` switch off; an empty one counts as not set. A variable cannot hold a hyphen, and names hold no
underscore: so CARD_PAYMENTS stands for the upstream card-payments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from resilient_http.errors import SettingsError, SettingsMistake, all_told
from resilient_http.settings.files import READERS, switched_off
from resilient_http.settings.keys import shape_at
from resilient_http.settings.origins import Layer, Source
from resilient_http.settings.validation import TOO_DEEP

PREFIX = "RESILIENT_HTTP_"
NAMED = ("upstreams", "guards")


def layers_of(environment: Mapping[str, str], model: type[BaseModel], *, strict: bool = True) -> list[Layer]:
    """A layer for each variable that begins with RESILIENT_HTTP_, the lowest first.

    Args:
        environment: The variables.
        model: What they are settings of.
        strict: Whether those that name no setting are kept, to be refused when all is validated.

    Raises:
        SettingsError: What begins like JSON is none.
    """
    layers: list[tuple[int, Layer]] = []
    mistakes: list[SettingsMistake] = []
    for variable, text in sorted(environment.items()):
        path = path_of(variable)
        if not path or not text or not (strict or path[0] in model.model_fields):
            continue
        source = Source(f"environment {variable}", "environment")
        try:
            value = _read(text, path, model)
        except ValueError as exc:
            mistakes.append(SettingsMistake(path, f"not JSON: {exc}", source=source.name))
            continue
        layers.append((len(path), (source, _nested(path, switched_off(value, model, path)))))
    if mistakes:
        raise SettingsError(all_told(mistakes), path=".".join(mistakes[0].path), mistakes=tuple(mistakes))
    return [layer for _, layer in sorted(layers, key=lambda each: each[0])]


def unknown_variables(environment: Mapping[str, str], model: type[BaseModel]) -> list[str]:
    """The variables that begin with RESILIENT_HTTP_ and name no setting."""
    paths = {variable: path_of(variable) for variable in environment}
    return sorted(variable for variable, path in paths.items() if path and path[0] not in model.model_fields)


def path_of(variable: str) -> tuple[str, ...]:
    """The path that a variable names; empty for one that is none of ours."""
    if not variable.upper().startswith(PREFIX):
        return ()
    first, *parts = variable[len(PREFIX) :].lower().split("__")
    if first in NAMED and parts:
        parts[0] = parts[0].replace("_", "-")
    return first, *parts


def _read(text: str, path: tuple[str, ...], model: type[BaseModel]) -> Any:
    try:
        value = READERS[".json"](text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise
        return text
    shape = shape_at(model, path)
    plain = value is not None and not isinstance(value, (str, dict, list))
    return text if plain and value is not False and shape is not None and shape.is_text else value


def _nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value
