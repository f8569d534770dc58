"""Schema: the JSON Schema of the settings, for editors.

It is that of one layer, so nothing is required that another layer, or the environment, may say. It knows the keys, the
kinds of value, ranges, defaults and the docstrings; what has to agree with each other only validation knows.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from resilient_http.settings.files import SCHEMA
from resilient_http.settings.keys import first_paragraph, meaning, shape_of, texts
from resilient_http.settings.models import Settings
from resilient_http.settings.templates import WRITTEN
from resilient_http.settings.validation import NAME, Model

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
KEPT_TO_ITSELF = frozenset({"allow_inf_nan"})
OFF = {"const": False}  # TOML has no null: see files.py


def schema() -> dict[str, Any]:
    """The JSON Schema of a file of settings."""
    made: dict[str, Any] = _with_bounds(Settings.model_json_schema(schema_generator=_Schema, mode="validation"))
    own = made["properties"]
    for name in ("upstreams", "guards"):
        own[name]["propertyNames"] = {"pattern": f"^{NAME.pattern}$"}
    upstream = made["$defs"]["UpstreamSettings"]["properties"]
    upstream["routes"]["propertyNames"] = {"pattern": f"^{WRITTEN.pattern}$"}
    title = {"title": "Settings of resilient_http", "description": made.pop("description")}
    return {SCHEMA: DIALECT} | title | made | {"properties": {SCHEMA: {"type": "string"}} | own}


class _Schema(GenerateJsonSchema):
    """What pydantic says of the models, with what only this library knows of them."""

    def callable_schema(self, schema: Any) -> JsonSchemaValue:
        """A function is written as its dotted path."""
        return {"type": "string"}

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        """A section has no default: its keys have."""
        made = super().default_schema(schema)
        if isinstance(schema.get("default"), Model):
            made.pop("default", None)
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No: it would be the key once more."""
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """The keys of a model, with what its docstring says; or its short form, where it has one."""
        model: type[Model] = schema["cls"]
        made = super().model_schema(schema)
        made.pop("title", None)
        if not model.listed:
            made.pop("required", None)
        made["description"] = first_paragraph(model)
        said = texts(model)
        for name, own in made["properties"].items():
            _or_off(own)
            own["description"] = meaning(said[name], shape_of(model.model_fields[name]).model)
        return made if model.short is None else {"anyOf": [dict(model.short), made]}


def _with_bounds(made: Any) -> Any:
    """Bounds by their names in JSON Schema; behind a validator of ours pydantic keeps its own."""
    if isinstance(made, list):
        return [_with_bounds(each) for each in made]
    if not isinstance(made, dict):
        return made
    return {BOUNDS.get(key, key): _with_bounds(value) for key, value in made.items() if key not in KEPT_TO_ITSELF}


def _or_off(own: dict[str, Any]) -> None:
    kinds = own.get("anyOf", ())
    if {"type": "null"} in kinds and {"type": "boolean"} not in kinds:
        own["anyOf"] = [*kinds, OFF]
