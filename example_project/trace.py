"""Trace: what the services have written down of one checkout, as a tree of spans."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

OURS = "resilient_http."


@dataclass(frozen=True)
class Happening:
    """What a span tells of a moment.

    Attributes:
        at: Seconds since the epoch.
        text: For a person.
    """

    at: float
    text: str


@dataclass
class Span:
    """One span.

    Attributes:
        service: Who made it.
        name: Its name.
        kind: INTERNAL, CLIENT or SERVER.
        began: Seconds since the epoch.
        ended: The same.
        result: Its status code or error; "" where it tells none.
        failed: Whether it ended in an error.
        happened: What it tells of moments, in order.
        children: The spans within it, in order.
    """

    service: str
    name: str
    kind: str
    began: float
    ended: float
    result: str
    failed: bool
    happened: list[Happening]
    children: list[Span] = field(default_factory=list)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Span]]:
        """Itself and all within it, with how deep each is."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


@dataclass(frozen=True)
class Trace:
    """One request of a user, all through.

    Attributes:
        number: Its id.
        root: Its outermost span.
    """

    number: str
    root: Span

    @property
    def spans(self) -> list[tuple[int, Span]]:
        """All, with how deep each is, in the order of a waterfall."""
        return list(self.root.walk())

    @property
    def degraded(self) -> bool:
        """Whether it ended well, but took a repeat."""
        texts = [happening.text for _, span in self.spans for happening in span.happened]
        return not self.root.failed and any(text.startswith("retry:") for text in texts)

    def at(self, seconds: float) -> float:
        """Seconds since it began."""
        return seconds - self.root.began


def most_telling(directory: Path) -> Trace | None:
    """The degraded checkout that went through most services and took most spans; None when none was degraded."""
    degraded = [trace for trace in traces(directory) if trace.degraded]
    return max(degraded, key=_telling, default=None)


def _telling(trace: Trace) -> tuple[int, int]:
    return len({span.service for _, span in trace.spans}), len(trace.spans)


def traces(directory: Path) -> list[Trace]:
    """All that begin in the directory's files. What is cut off, because its process was killed, is left out."""
    lines = (line for path in sorted(directory.glob("*.spans")) for line in path.read_text().splitlines())
    return _trees(_complete(lines))


def _complete(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _trees(told: Iterable[dict[str, Any]]) -> list[Trace]:
    by_id, parents, numbers = {}, {}, {}
    for each in told:
        key = each["context"]["span_id"]
        by_id[key], parents[key], numbers[key] = _span(each), each["parent_id"], each["context"]["trace_id"]
    within: defaultdict[str, list[Span]] = defaultdict(list)
    for key, span in by_id.items():
        if parents[key] is not None:
            within[parents[key]].append(span)
    for key, span in by_id.items():
        span.children = sorted(within[key], key=lambda child: child.began)
    return [Trace(numbers[key].removeprefix("0x"), span) for key, span in by_id.items() if parents[key] is None]


def _span(told: dict[str, Any]) -> Span:
    attributes = told["attributes"]
    result = attributes.get("error.type") or attributes.get("http.response.status_code") or ""
    return Span(
        service=told["resource"]["attributes"]["service.name"],
        name=_name(told["name"], attributes),
        kind=told["kind"].rpartition(".")[2],
        began=_seconds(told["start_time"]),
        ended=_seconds(told["end_time"]),
        result=str(result),
        failed=told["status"]["status_code"] == "ERROR",
        happened=[
            Happening(_seconds(event["timestamp"]), _text(event))
            for event in told["events"]
            if event["name"].startswith(OURS)
        ],
    )


def _name(name: str, attributes: dict[str, Any]) -> str:
    port = attributes.get("server.port")
    return name if port is None else f"{name} at {attributes['server.address']}:{port}"


def _text(event: dict[str, Any]) -> str:
    name, values = event["name"].removeprefix(OURS), event["attributes"]
    text = f"{name}: {values.get(f'{OURS}why', '')}"
    delay = values.get(f"{OURS}delay")
    return text if delay is None else f"{text}, in {delay * 1000:.0f} ms"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
