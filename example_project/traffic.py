"""Traffic: users that come at a constant rate, whether or not the ones before them were answered (an open model)."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from example_project.caller import Visit, visit

DEADLINES = (0.6, 1.2)
"""Seconds that callers have, in turn: one is an app, the other a browser."""

ROOM = 0.01
"""Seconds in which something can be done to the nodes before the next user comes."""


class Traffic:
    """Steady traffic through the shop.

    Args:
        checkouts: The pages where an order is bought; each gets the same share.
        rate: Requests per second.
    """

    def __init__(self, checkouts: Callable[[int], Sequence[str]], rate: float) -> None:
        self.act = ""  # which act the users who come now belong to
        self.visits: defaultdict[str, list[Visit]] = defaultdict(list)
        self.sent: Counter[str] = Counter()
        self.latest = 0.0  # the most seconds that we ourselves were late to send a request
        self._checkouts = checkouts
        self._rate = rate
        self._next = 0.0
        self._under_way: set[asyncio.Task[None]] = set()

    async def flow(self) -> None:
        """Let users come until cancelled."""
        began = time.monotonic()
        for count in itertools.count():
            due = began + count / self._rate
            self._next = due
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.latest = max(self.latest, time.monotonic() - due)
            self.sent[self.act] += 1
            task = asyncio.create_task(self._visit(1000 + count, self.act), name=self.act)
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def lull(self, patience: float) -> None:
        """Wait until nobody is waiting for an answer and nobody is about to come, but at most `patience` seconds."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not self._under_way and self._next - time.monotonic() > ROOM:
                return
            await asyncio.sleep(0.001)

    async def settled(self, act: str) -> None:
        """Wait until everybody who came in an act that is over has an answer."""
        await asyncio.gather(*(task for task in self._under_way if task.get_name() == act))

    async def _visit(self, order: int, act: str) -> None:
        pages = self._checkouts(order)
        deadline = DEADLINES[order // len(pages) % len(DEADLINES)]
        self.visits[act].append(await visit(pages[order % len(pages)], order, act, deadline))
