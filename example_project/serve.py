"""Serve: the services left running, to explore."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from example_project.caller import DEADLINE_HEADER
from example_project.cluster import Cluster
from example_project.screen import BOLD, DIM, Screen


async def serve(client: str, directory: Path, screen: Screen) -> int:
    """Start the services, say what can be done with them, and wait for Ctrl-C.

    Args:
        client: "bare" or "resilient".
        directory: For the logs.
        screen: Where it is told.
    """
    began = time.monotonic()
    with Cluster(client, directory / client) as cluster:
        screen.progress("starting the services ...")
        await cluster.start()
        screen.line(f"{len(cluster.services)} services started in {time.monotonic() - began:.1f} s; Ctrl-C ends them")
        screen.line()
        for service in cluster.services:
            screen.line(f"  {service.name:<12} {service.url}   pid {service.pid}")
        screen.line(f"  logs         {cluster.directory}")
        for title, commands in _suggestions(cluster, live=client != "bare"):
            screen.line()
            screen.line(screen.paint(title, BOLD))
            width = max(len(command) for command, _ in commands)
            for command, remark in commands:
                screen.line(f"  {command.ljust(width)}   {screen.paint(f'# {remark}', DIM)}")
        await asyncio.Event().wait()
    return 0


def _suggestions(cluster: Cluster, *, live: bool) -> list[tuple[str, list[tuple[str, str]]]]:
    sync, asynchronous = cluster.checkouts(42)
    node = cluster.nodes[0]
    return [
        (
            "Buy something",
            [
                (f"curl -s {sync}", "a sync view under gunicorn"),
                (f"curl -s {asynchronous}", "an async view under uvicorn"),
                (f"curl -s -H '{DEADLINE_HEADER}: 15' {sync}", "a caller who has 15 ms: too few, mostly"),
                (f"for n in $(seq 100); do curl -s {cluster.shop.url}/checkout/$n; echo; done", "a hundred users"),
            ],
        ),
        (
            "Break something",
            [
                (f"kill -9 {node.pid}", "node 1 dies"),
                *(
                    (f"curl -s {each.url}/control/drip", f"{each.name} drips; also: fail, well")
                    for each in cluster.nodes
                ),
            ],
        ),
        (
            "Look",
            [
                (
                    f"curl -s {cluster.shop.url}/status",
                    "circuits, budget, limits as the shop sees them; also: /settings",
                ),
                (f"curl -s {cluster.pricing.url}/status", "as pricing sees them"),
                *([(f"{cluster.pricing.url}/resilience/", "the live page of pricing, for a browser")] if live else []),
            ],
        ),
    ]
