"""Source: what discovery asks for the nodes of an upstream. One of a user's own is one small class."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Found = Iterable[str | Mapping[str, Any]]
"""The nodes, each as the setting `endpoints` has it: a URL, or {"url": ..., "weight", "backup", "zone"}."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """An answer that says for how long it is valid.

    Attributes:
        endpoints: The nodes, each a URL, or a mapping as in the setting `endpoints`.
        valid_for: Seconds after which it is to be asked for again; None for `discovery.interval`.
    """

    endpoints: Found
    valid_for: float | None = None


class DiscoverySource(Protocol):
    """Something that knows the nodes of an upstream: plain code that may block, in a daemon thread beside the calls.

    It has resolve(), or watch(), or both; watch() is preferred. What either raises is a failure: the nodes stay as they
    are, and it is tried again. A forked child calls the class anew where the settings name a class.

    It may have close() too: called from another thread when it is needed no more, to end what it waits for.
    """

    def resolve(self) -> Found | Discovered:
        """The nodes, all of them. None at all counts as a failure."""

    def watch(self, stop: threading.Event) -> Iterator[Found | Discovered]:
        """The nodes now, and all of them again whenever that may have changed, until `stop` is set.

        It is begun anew after it has ended or raised, and to have an answer confirmed.
        """


class SourceFailed(Exception):
    """A source of ours has no answer.

    Attributes:
        why: The reason in a few words, without anything secret.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
