"""Consul: a question to its HTTP API that waits for a change (a blocking query).

    GET /v1/...?index=...&wait=60s

The answer's X-Consul-Index goes into the next question, which then waits for a change. An index that goes backwards is
forgotten; one that is not above 0 counts as 1, so that the next question waits. Where there is none (a cache on the way
may drop it), the question is asked every `interval` seconds.

Source: Consul's API documentation, pages "Blocking Queries", "Authentication" (X-Consul-Token).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from pydantic import SecretStr

from resilient_http.upstreams.sources.control import GOOD, Control, parsed
from resilient_http.upstreams.sources.source import SourceFailed

LATER = 1 / 16  # share of `wait` by which the answer may come later, as Consul spreads them
PACE = 0.25  # seconds between two questions at least
NOTHING = 404


class ConsulQuery:
    """A question that is asked again and again.

    Args:
        control: Asks it.
        path: Of the request.
        params: Of the request.
        token: Of Consul's ACL, or None.
        wait: Seconds for which it waits for a change.
        interval: Seconds between two questions where they cannot wait.
        good: Statuses of an answer. 404 is an empty one.
    """

    def __init__(
        self,
        control: Control,
        path: str,
        params: Sequence[tuple[str, str]],
        *,
        token: SecretStr | None,
        wait: float,
        interval: float,
        good: Collection[int] = GOOD,
    ) -> None:
        self._control = control
        self._path = path
        self._params = list(params)
        self._headers = {} if token is None else {"x-consul-token": token.get_secret_value()}
        self._wait = wait
        self._interval = interval
        self._good = good

    def watch(self, stop: threading.Event) -> Iterator[list[Any]]:
        """The answer now, and after each question that waited."""
        index: int | None = None
        while not stop.is_set():
            said, newest = self._ask(index)
            yield said
            index = _next(index, newest)
            stop.wait(self._interval if newest is None else PACE)

    def close(self) -> None:
        """End the question that waits."""
        self._control.close()

    def _ask(self, index: int | None) -> tuple[list[Any], int | None]:
        params, wait = list(self._params), 0.0
        if index is not None:
            wait = self._wait
            params += [("index", str(index)), ("wait", f"{max(1, round(1000 * wait))}ms")]
        with self._control.ask(
            "GET", self._path, headers=self._headers, params=params, wait=wait * (1 + LATER), good=self._good
        ) as response:
            content = self._control.body(response)
            said = [] if response.status_code == NOTHING else parsed(content)
            if not isinstance(said, list):
                raise SourceFailed("garbage: the answer is not that of Consul")
            return said, _index(response.headers.get("x-consul-index"))


def _index(header: str | None) -> int | None:
    return int(header) if header is not None and header.removeprefix("-").isdecimal() else None


def _next(before: int | None, newest: int | None) -> int | None:
    """What the next question waits behind; None for none."""
    if newest is None:
        return None
    newest = max(1, newest)
    return None if before is not None and newest < before else newest
