"""Keys: what the models say of each key of the settings, for whoever reads or describes settings.

A path names a key from the root down; `*` stands in it for a name that is the user's, or a position in a list.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo

ANY = "*"
RELOAD = "x-reload"  # the name of it in the JSON Schema
AT_ONCE = "at once"
ANEW = "new process"

NEW_CONNECTIONS: Any = Field(json_schema_extra={RELOAD: "new connections"})
"""Marks a key whose change is in effect for connections that are made from then on."""

NEW_PROCESS: Any = Field(json_schema_extra={RELOAD: ANEW})
"""Marks a key that is read once, when the process starts."""

_SECTION = re.compile(r"^( *)Attributes:\n(.*?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_ATTRIBUTE = re.compile(r"^ {4}(\w+):(.*?)(?=^ {4}\w|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Unit:
    """Marks what a number counts."""

    name: str


SECONDS, SHARE, PER_SECOND, BYTES = Unit("s"), Unit("share"), Unit("per s"), Unit("bytes")


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand somewhere.

    Attributes:
        model: The model of a mapping with keys of ours, or None.
        each: The shape of what stands below any name or position; None where it is no collection.
        nullable: Whether it may be null.
        types: Plain types, and literal values, that it may be.
        marks: What its annotation says beside that: bounds and units.
    """

    model: type[BaseModel] | None = None
    each: Shape | None = None
    nullable: bool = False
    types: tuple[Any, ...] = ()
    marks: tuple[Any, ...] = ()

    @property
    def unit(self) -> str:
        """What a number counts, or nothing."""
        return next((mark.name for mark in self.marks if isinstance(mark, Unit)), "")

    @property
    def is_text(self) -> bool:
        """Whether nothing but a text can stand there: then 1 is "1"."""
        return bool(self.types) and all(kind in (str, SecretStr) or isinstance(kind, str) for kind in self.types)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the settings.

    Attributes:
        path: From the root down.
        field: As the model has it.
        shape: What may stand there.
        text: What the docstring says of it.
        reload: "at once", "new connections" or "new process": what it takes for a change to be in effect.
    """

    path: tuple[str, ...]
    field: FieldInfo
    shape: Shape
    text: str
    reload: str


def keys(model: type[BaseModel], path: tuple[str, ...] = (), reload: str = AT_ONCE) -> Iterator[Key]:
    """The keys of a model and of the models below it, in their order."""
    said = texts(model)
    for name, field in model.model_fields.items():
        own = _reload(field) or reload
        shape = shape_of(field)
        yield Key((*path, name), field, shape, said.get(name, ""), own)
        deeper, below = (*path, name), shape
        while below.model is None and below.each is not None:
            deeper, below = (*deeper, ANY), below.each
        if below.model is not None:
            yield from keys(below.model, deeper, own)


def reloads(model: type[BaseModel]) -> dict[str, str]:
    """What it takes for a change to be in effect, for each key of a model."""
    return {name: _reload(field) or AT_ONCE for name, field in model.model_fields.items()}


def shape_at(model: type[BaseModel], path: Sequence[str]) -> Shape | None:
    """The shape of what stands at a path below a model; None where the models know nothing of it."""
    shape: Shape | None = Shape(model=model)
    for key in path:
        if shape is None:
            return None
        if shape.model is not None:
            field = shape.model.model_fields.get(key)
            shape = None if field is None else shape_of(field)
        else:
            shape = shape.each
    return shape


def shape_of(field: FieldInfo) -> Shape:
    """What may stand at a field."""
    shape = _shape(field.annotation)
    return replace(shape, marks=(*field.metadata, *shape.marks))


def texts(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a model and of those that it inherits from say of its attributes."""
    told: dict[str, str] = {}
    for kind in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        section = _SECTION.search(inspect.cleandoc(kind.__doc__ or ""))
        for name, text in _ATTRIBUTE.findall(section[2]) if section else ():
            told[name] = " ".join(text.split())
    return told


def meaning(text: str, model: type[BaseModel] | None) -> str:
    """What a key means, for a page or an editor: of a section, what its own docstring says first."""
    if model is None or "Settings" not in text:
        return re.sub(r"; see \w+Settings", "", text)
    rest = re.sub(r";? ?[Ss]ee \w+Settings[;,]? ?", "", text).lstrip(". ")
    return f"{first_paragraph(model)} {rest[:1].upper()}{rest[1:]}".strip()


def first_paragraph(model: type[BaseModel]) -> str:
    """What a model's docstring begins with."""
    return inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _reload(field: FieldInfo) -> str | None:
    extra = field.json_schema_extra
    return str(extra[RELOAD]) if isinstance(extra, dict) and RELOAD in extra else None


def _shape(annotation: Any) -> Shape:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _marked(_shape(inner[0]), inner[1:])
    if origin in (Union, UnionType):
        return _union([_shape(each) for each in inner])
    if origin is Literal:
        return Shape(types=inner)
    if isinstance(origin, type) and issubclass(origin, (Mapping, Sequence)):
        return Shape(each=_shape(inner[1] if issubclass(origin, Mapping) else inner[0]))
    return _plain(annotation)


def _plain(annotation: Any) -> Shape:
    if annotation is NoneType:
        return Shape(nullable=True)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return Shape(model=annotation) if is_model else Shape(types=(annotation,))


def _marked(shape: Shape, metadata: Sequence[Any]) -> Shape:
    marks = [mark for mark in metadata if not isinstance(mark, FieldInfo)]
    bounds = [bound for mark in metadata if isinstance(mark, FieldInfo) for bound in mark.metadata]
    return replace(shape, marks=(*marks, *bounds, *shape.marks))


def _union(shapes: Sequence[Shape]) -> Shape:
    return Shape(
        model=next((shape.model for shape in shapes if shape.model is not None), None),
        each=next((shape.each for shape in shapes if shape.each is not None), None),
        nullable=any(shape.nullable for shape in shapes),
        types=tuple(kind for shape in shapes for kind in shape.types),
        marks=tuple(mark for shape in shapes for mark in shape.marks),
    )
