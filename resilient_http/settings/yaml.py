"""YAML: what its parser lets pass and settings cannot mean is refused: keys that come twice, or are no texts.

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
        _check(node, ())
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        line = "" if exc.problem_mark is None else f" (at line {exc.problem_mark.line + 1})"
        raise ValueError(f"{exc.problem}{line}") from None
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from None
    finally:
        loader.dispose()


def _check(node: yaml.Node, above: tuple[int, ...]) -> None:
    if id(node) in above:
        raise _wrong(node, "it contains itself")
    above = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, above)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.tag not in (TEXT, NUMBER, MERGE):
            raise _wrong(key, f"the key {getattr(key, 'value', '')!r} is no text; write it in quotes")
        if key.value in seen:
            raise _wrong(key, f"{key.value} is given twice")
        seen.add(key.value)
        _check(value, above)


def _wrong(node: yaml.Node, problem: str) -> ValueError:
    return ValueError(f"{problem} (at line {node.start_mark.line + 1})")
