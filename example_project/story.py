"""Story: what happens to the nodes, act by act."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from example_project.cluster import Cluster

WELL = "all is well"
DEAD = "node 1 is dead"
BACK = "node 1 is back"
DRIPS = "node 2 drips"
DOWN = "all nodes answer 503"
AGAIN = "all is well again"


@dataclass(frozen=True)
class Act:
    """A part of the story.

    Attributes:
        name: What people call it.
        told: What is done to the nodes, for the terminal.
        seconds: How long it lasts.
        begin: Does it.
        recovery: Seconds that it may last longer, until users have been answered for CALM seconds.
    """

    name: str
    told: str
    seconds: float
    begin: Callable[[Cluster], Awaitable[None]]
    recovery: float = 0.0


CALM = 2.0


def story(*, quick: bool = False) -> list[Act]:
    """The acts; a quick story does not wait for the recovery."""
    seconds = (0.5, 1.5, 0.3, 1.0, 1.5, 0.5) if quick else (4.0, 6.0, 2.0, 6.0, 4.0, 4.0)
    well, dead, back, drips, down, again = seconds
    return [
        Act(WELL, "all is well", well, _nothing),
        Act(DEAD, "node 1 is killed (SIGKILL)", dead, _kill_first),
        Act(BACK, "node 1 is started again", back, _restart_first),
        Act(DRIPS, "node 2 drips its body, a byte every 0.1 s", drips, _drip_second),
        Act(DOWN, "all nodes answer 503", down, _fail_all),
        Act(AGAIN, "all is well again", again, _heal_all, recovery=0.0 if quick else 10.0),
    ]


async def _nothing(cluster: Cluster) -> None:
    """As started."""


async def _kill_first(cluster: Cluster) -> None:
    cluster.nodes[0].kill()


async def _restart_first(cluster: Cluster) -> None:
    cluster.nodes[0].start()
    await cluster.ready(cluster.nodes[0])


async def _drip_second(cluster: Cluster) -> None:
    await cluster.tell(cluster.nodes[1], "drip")


async def _fail_all(cluster: Cluster) -> None:
    await asyncio.gather(*(cluster.tell(node, "fail") for node in cluster.nodes))


async def _heal_all(cluster: Cluster) -> None:
    await asyncio.gather(*(cluster.tell(node, "well") for node in cluster.nodes))
