"""YAML: what its parser lets pass and settings cannot mean is refused.

Those are keys that come twice, or are no texts, and aliases that make of a small document a very large one.

Needs the extra `yaml`.
"""

from __future__ import annotations

from typing import Any

from resilient_http.errors import SettingsError

try:
    import yaml
except ImportError:
    message = 'a YAML file needs the extra yaml: pip install "resilient-http[yaml]"'
    raise SettingsError(message) from None

TEXT = "tag:yaml.org,2002:str"
NUMBER = "tag:yaml.org,2002:int"  # of a status
MERGE = "tag:yaml.org,2002:merge"
MOST = 100_000  # values of a document, what an alias stands for counted each time


def load(text: str) -> Any:
    """What a document holds; an empty one is an empty mapping.

    Raises:
        ValueError: It is no YAML, or not of the kind that settings are; the message names the line.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _check(node, (), {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        line = "" if exc.problem_mark is None else f" (at line {exc.problem_mark.line + 1})"
        raise ValueError(f"{exc.problem}{line}") from None
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from None
    finally:
        loader.dispose()


def _check(node: yaml.Node, above: tuple[int, ...], sizes: dict[int, int]) -> int:
    """How many values it holds. What an alias stands for is looked at once."""
    if id(node) in above:
        raise _wrong(node, "it contains itself")
    if id(node) not in sizes:
        size = 1 + sum(_check(below, (*above, id(node)), sizes) for below in _below(node))
        if size > MOST:
            raise _wrong(node, f"it holds more than {MOST} values, aliases counted each time")
        sizes[id(node)] = size
    return sizes[id(node)]


def _below(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return node.value if isinstance(node, yaml.SequenceNode) else []
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag not in (TEXT, NUMBER, MERGE):
            what = repr(key.value) if isinstance(key, yaml.ScalarNode) else f"that is a {key.id}"
            raise _wrong(key, f"the key {what} is no text; write it in quotes")
        if key.value in seen:
            raise _wrong(key, f"{key.value} is given twice")
        seen.add(key.value)
    return [value for _, value in node.value]


def _wrong(node: yaml.Node, problem: str) -> ValueError:
    return ValueError(f"{problem} (at line {node.start_mark.line + 1})")
