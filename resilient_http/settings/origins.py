"""Origins: where a value of the settings comes from.

While layers are merged, each value is `Told` by whom it was said, and each mapping notes under `SELF` who spoke of it
last. So the merging that makes the settings also makes their origins, and the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from resilient_http.settings.spelling import spell


class Note(Enum):
    """A key that no user can write, and that is the same in a copy."""

    SELF = "who spoke of it last"


SELF = Note.SELF


@dataclass(frozen=True, slots=True)
class Source:
    """Something that settings are read from.

    Attributes:
        name: What a person calls it: settings.toml, or environment RESILIENT_HTTP_ENABLED.
        kind: "file", "environment", "module" (keys in upper case), "mapping", or "remote".
    """

    name: str
    kind: Literal["file", "environment", "module", "mapping", "remote"] = "mapping"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        source: What it was read from; None for the defaults of the library.
        path: Where it stands there: below `defaults` for what an upstream inherits.
    """

    source: Source | None = None
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For a person: `settings.toml: defaults.retry.max_attempts`."""
        if self.source is None:
            return "defaults of the library"
        if self.source.kind == "environment":  # a variable has one place
            return self.source.name
        if self.source.kind == "module":
            return spell(self.path, self.source.name)
        return f"{self.source.name}: {'.'.join(self.path)}" if self.path else self.source.name


Layer = tuple[Source, Mapping[str, Any]]
"""A source, and what was read from it."""


@dataclass(frozen=True, slots=True)
class Written:
    """What settings were made from; secrets are in it, so it is not shown."""

    layers: tuple[Layer, ...] = field(repr=False)


LIBRARY = Origin()
ORIGINS = "_origins"  # where settings keep the origins of their values
WRITTEN = "_written"  # where they keep what they were made from


@dataclass(frozen=True, slots=True)
class Told:
    """A value, and who said it."""

    value: Any
    origin: Origin


def told(raw: Any, source: Source, path: tuple[str, ...] = ()) -> Any:
    """The same tree, with each value told by `source`."""
    origin = Origin(source, path)
    if not isinstance(raw, Mapping):
        return Told(raw, origin)
    return {SELF: Told(None, origin)} | {key: told(value, source, (*path, str(key))) for key, value in raw.items()}


def untold(tree: Any) -> Any:
    """The values of such a tree, as they were."""
    if isinstance(tree, Told):
        return tree.value
    if isinstance(tree, Mapping):
        return {key: untold(value) for key, value in tree.items() if key is not SELF}
    return tree


def hollow(tree: Any) -> Any:
    """The same tree without its values, which may be secrets."""
    if isinstance(tree, Told):
        return Told(None, tree.origin)
    return {key: hollow(value) for key, value in tree.items()}


def origin_at(tree: Any, path: tuple[str, ...]) -> Origin:
    """Who said what stands at `path`; the library where nobody did."""
    for key in path:
        if isinstance(tree, Told):
            break  # it was said as a whole: a list, or a short form
        if not isinstance(tree, Mapping) or (found := _below(tree, key)) is None:
            return LIBRARY
        tree = found
    return _origin(tree)


def nearest_origin(tree: Any, path: tuple[str, ...]) -> Origin:
    """Who said what stands at `path`, or spoke of what is nearest above it."""
    for length in range(len(path), -1, -1):
        found = origin_at(tree, path[:length])
        if found is not LIBRARY:
            return found
    return LIBRARY


def _origin(tree: Any) -> Origin:
    said = tree.get(SELF) if isinstance(tree, Mapping) else tree
    return said.origin if isinstance(said, Told) else LIBRARY


def _below(tree: Mapping[Any, Any], key: str) -> Any:
    """What stands below a key; 429 may have been written as a number."""
    return tree.get(key) if key in tree else tree.get(int(key)) if key.isdecimal() else None
