"""Answer: what a source says, read and checked.

What cannot be an endpoint is left out. It is shown by its origin, if it has one, and by what is wrong with it: anything
may stand where nodes are looked for, passwords too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from resilient_http.settings.endpoints import EndpointSettings, one_upstreams
from resilient_http.upstreams.reading import reading
from resilient_http.upstreams.sources.source import Discovered, SourceFailed

SHORTEST, WEEK = 0.01, 604_800  # seconds that an answer may be valid for
MOST = 10_000  # more than so many are no upstream's nodes
NAMED = 3  # of what is left out, so many are named


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source said.

    Attributes:
        endpoints: The nodes, each once, in an order that does not depend on the source's.
        left_out: How many values were no endpoints.
        wrong: What is wrong with the first of them.
        valid_for: Seconds until it is to be asked again, or None where the source does not say.
    """

    endpoints: tuple[EndpointSettings, ...]
    left_out: int
    wrong: tuple[str, ...]
    valid_for: float | None


def read_answer(said: Any, scheme: str | None) -> Answer:
    """The answer, checked.

    Args:
        said: What resolve() returned or watch() yielded.
        scheme: That of the nodes in use, or None while there are none. Nodes that speak https are not replaced by such
            that do not.

    Raises:
        SourceFailed: There is no node in it.
    """
    valid_for = None
    if isinstance(said, Discovered):
        valid_for = _seconds(said.valid_for)
        said = said.endpoints
    if isinstance(said, (str, bytes, Mapping)) or not isinstance(said, Iterable):
        raise SourceFailed("garbage: no list of endpoints")
    raw: list[Any] = []
    for each in said:
        if len(raw) == MOST:
            raise SourceFailed(f"garbage: more than {MOST} endpoints")
        raw.append(each)
    if not raw:
        raise SourceFailed("it names no endpoint")
    with reading():
        read = [_endpoint(each) for each in raw]
    known = [each for each in read if isinstance(each, EndpointSettings)]
    good = _of_one_scheme(known, scheme)
    wrong = [each for each in read if isinstance(each, str)]
    wrong += [f"{each.url}: the others are {good[0].origin[0]}" for each in known if good and each not in good]
    if not good:
        raise SourceFailed("garbage: nothing in it is an endpoint that can be used")
    once = {node.origin: node for node in reversed(good)}  # of two the first
    nodes = [once[origin] for origin in sorted(once)]
    if all(node.backup for node in nodes):  # the last ones that are left
        nodes = [node.model_copy(update={"backup": False}) for node in nodes]
    return Answer(one_upstreams(tuple(nodes)), len(wrong), tuple(wrong[:NAMED]), valid_for)


def _endpoint(raw: Any) -> EndpointSettings | str:
    """A node, or what is wrong with it."""
    if isinstance(raw, EndpointSettings):
        return raw
    if not isinstance(raw, (str, Mapping)):
        return f"a URL or a mapping is needed, not {type(raw).__name__}"
    try:
        return EndpointSettings.model_validate(raw)
    except ValidationError as exc:
        wrong = exc.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        return f"{_origin(raw.get('url') if isinstance(raw, Mapping) else raw)}: {wrong}"


def _origin(url: Any) -> str:
    """Scheme, host and port: nothing that may be secret."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not host.isprintable():
        return "a value without a host"
    return f"{parts.scheme}://{host}" + ("" if port is None else f":{port}")


def _of_one_scheme(nodes: list[EndpointSettings], scheme: str | None) -> list[EndpointSettings]:
    schemes = {node.origin[0] for node in nodes}
    if scheme != "https" and len(schemes) == 1:
        return nodes
    if scheme is None:  # as most of them; TLS in doubt
        secure = sum(node.origin[0] == "https" for node in nodes)
        scheme = "https" if 2 * secure >= len(nodes) else "http"
    return [node for node in nodes if node.origin[0] == scheme]


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        return None
    return float(min(max(value, SHORTEST), WEEK))
