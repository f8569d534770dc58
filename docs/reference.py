"""Reference: writes what the models say of the settings into settings.md and settings.schema.json.

    python docs/reference.py            (or: make reference)

In settings.md a table stands between two comments. The first says which keys are in it: those of `root`, `upstream`,
`endpoint` or `guard`; with `+name` only those below a key, with `-name` all but those below it. Everything else in the
page is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.keys import Key, Shape, keys, meaning
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.schema import schema
from resilient_http.settings.values import WEEK

HERE = Path(__file__).parent
PAGE, SCHEMA = HERE / "settings.md", HERE / "settings.schema.json"
MODELS: dict[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "root": (Settings, ()),
    "upstream": (UpstreamSettings, ()),
    "endpoint": (EndpointSettings, ()),
    "guard": (GuardSettings, ("guard",)),
}
TABLE = re.compile(r"(<!-- keys: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = "| key | unit | default | range | in effect | meaning |\n| --- | --- | --- | --- | --- | --- |\n"


def main() -> None:
    """Write both files anew."""
    PAGE.write_text(page(PAGE.read_text()))
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n")
    print(f"wrote {PAGE} and {SCHEMA}")


def page(text: str) -> str:
    """The page with its tables as the models say."""
    return TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], text)


def table(asked: str) -> str:
    return HEAD + "".join(f"| {' | '.join(row(key))} |\n" for key in asked_for(asked))


def asked_for(asked: str) -> Iterator[Key]:
    name, *filters = asked.split()
    model, prefix = MODELS[name]
    for key in keys(model, prefix):
        path = key.path[len(prefix) :]
        if all(_passes(path, each[1:], below=each[0] == "+") for each in filters):
            yield key


def row(key: Key) -> tuple[str, ...]:
    texts = (
        f"`{'.'.join(key.path)}`",
        key.shape.unit,
        default(key),
        allowed(key.shape),
        key.reload,
        meaning(key.text, key.shape.model),
    )
    return tuple(text.replace("|", "\\|") for text in texts)


def default(key: Key) -> str:
    value = key.field.default
    if value is PydanticUndefined:
        return "(required)"
    return "" if isinstance(value, BaseModel) else shown(value)


def shown(value: object) -> str:
    if value is None or (isinstance(value, (Mapping, tuple)) and not value):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, str):
        return f'"{value}"'
    return str(value) if isinstance(value, int) else f"{value:g}"


def allowed(shape: Shape) -> str:
    """What may stand there."""
    each = "" if shape.each is None else allowed(shape.each)
    if shape.each is not None and shape.model is None and not shape.types:
        return f"each {each}" if each else ""
    literals = [f'"{kind}"' for kind in shape.types if isinstance(kind, str)]
    if literals:
        return ", ".join(literals)
    return interval(shape.marks)


def interval(marks: tuple[Any, ...]) -> str:
    """The bounds of a number; the longest duration is told once, in the page."""
    signs = ((Gt, "gt", ">"), (Ge, "ge", "≥"), (Lt, "lt", "<"), (Le, "le", "≤"))
    bounds = [f"{sign} {getattr(mark, name):g}" for mark in marks for kind, name, sign in signs
              if isinstance(mark, kind) and getattr(mark, name) != WEEK]  # fmt: skip
    return "0 to 1" if bounds == ["≥ 0", "≤ 1"] else ", ".join(bounds)


def _passes(path: tuple[str, ...], prefix: str, *, below: bool) -> bool:
    parts = tuple(prefix.split("."))
    return (path[: len(parts)] == parts and len(path) > len(parts)) is below


if __name__ == "__main__":
    main()
