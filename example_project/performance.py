"""Performance: one telling of the story, with one client, from starting the services to the figures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Sequence

from example_project.caller import fetch
from example_project.cluster import BrokenDownError, Cluster
from example_project.figures import Figures, Run, last_failure, quantile
from example_project.screen import DIM, GREEN, RED, Screen
from example_project.story import AGAIN, CALM, Act
from example_project.table import milliseconds
from example_project.traffic import Traffic

GLANCE = 0.25
LULL = 0.3


class Performance:
    """Tells the story on a cluster.

    Args:
        client: What the cluster calls with, for the table.
        cluster: Not yet started.
        acts: The story.
        rate: Requests per second.
        screen: Where it is told.
    """

    def __init__(self, client: str, cluster: Cluster, acts: Sequence[Act], rate: float, screen: Screen) -> None:
        self._client = client
        self._cluster = cluster
        self._acts = acts
        self._screen = screen
        self._traffic = Traffic(cluster.checkouts, rate)
        self._began: dict[str, float] = {}

    async def give(self) -> Run:
        """Run it.

        Raises:
            BrokenDownError: A service did not start, or died on its own.
        """
        began = time.monotonic()
        self._screen.progress("starting the services ...")
        await self._cluster.start()
        self._screen.line(f"{len(self._cluster.services)} services started in {time.monotonic() - began:.1f} s")
        await self._tell_settings()
        traffic = asyncio.create_task(self._traffic.flow())
        try:
            for act, before in zip(self._acts, [None, *self._acts], strict=False):
                await self._play(act, before)
            self._traffic.act = ""
        finally:
            traffic.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await traffic
        await self._conclude(self._acts[-1])
        self._check_services()
        return self._run()

    async def _tell_settings(self) -> None:
        for service in (self._cluster.shop, self._cluster.pricing):
            _, body = await fetch(f"{service.url}/settings")
            name = service.name.partition(",")[0]
            self._screen.line(self._screen.paint(f"  {name}: {json.dumps(json.loads(body))}", DIM))

    async def _play(self, act: Act, before: Act | None) -> None:
        # Between two requests where that can be, so that a failure belongs to the act that caused it.
        await self._traffic.lull(LULL)
        await act.begin(self._cluster)
        began = self._began[act.name] = time.monotonic()
        self._traffic.act = act.name
        if before is not None:
            await self._conclude(before)
        while not self._over(act, time.monotonic() - began):
            self._screen.progress(self._line(act))
            await asyncio.sleep(GLANCE)

    def _over(self, act: Act, passed: float) -> bool:
        if passed < act.seconds:
            return False
        last = last_failure(self._traffic.visits[act.name], self._began[act.name])
        return last == 0.0 or passed - last >= CALM or passed >= act.seconds + act.recovery

    async def _conclude(self, act: Act) -> None:
        await self._traffic.settled(act.name)
        self._screen.line(self._line(act))

    def _line(self, act: Act) -> str:
        visits = self._traffic.visits[act.name]
        ok = sum(visit.ok for visit in visits)
        failed = len(visits) - ok
        p99 = quantile(sorted(visit.took for visit in visits), 0.99)
        return (
            f"  {act.told:<44}{self._traffic.sent[act.name]:>5} requests"
            f"{self._screen.paint(f'{ok:>6} ok', GREEN)}"
            f"{self._screen.paint(f'{failed:>6} failed', RED if failed else DIM)}"
            f"   p99 {milliseconds(p99):>8}"
        )

    def _check_services(self) -> None:
        dead = [f"{service.name} (log {service.log})" for service in self._cluster.services if not service.running]
        if dead:
            message = f"died by itself: {', '.join(dead)}"
            raise BrokenDownError(message)

    def _run(self) -> Run:
        visits, records = self._traffic.visits, self._cluster.records()
        acts = {act.name: Figures.of(visits[act.name], records) for act in self._acts}
        total = Figures.of([visit for act in self._acts for visit in visits[act.name]], records)
        failing = any(not visit.ok for visit in sorted(visits[AGAIN], key=lambda visit: visit.sent)[-5:])
        recovered = None if failing else last_failure(visits[AGAIN], self._began[AGAIN])
        return Run(self._client, total, acts, recovered, self._traffic.latest)
