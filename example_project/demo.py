"""The demo: the story with bare httpx, the story with resilient_http, both figures, and whether the promises hold."""

from __future__ import annotations

import os
import time
from pathlib import Path

from example_project.cluster import Cluster
from example_project.figures import Run
from example_project.performance import Performance
from example_project.promises import broken
from example_project.screen import BOLD, DIM, GREEN, RED, Screen
from example_project.screenshot import screenshot
from example_project.service import ROOT
from example_project.story import story
from example_project.table import table
from example_project.trace import most_telling
from example_project.traffic import DEADLINES
from example_project.waterfall import as_svg, as_text

RATE = 30.0
KEPT = Path(os.environ.get("DEMO_KEPT", ROOT / "build" / "demo"))
CLIENTS = {"bare": "bare httpx", "resilient": "resilient_http"}


async def demonstrate(directory: Path, screen: Screen, *, quick: bool) -> int:
    """Tell it all; 0 when the promises hold, 1 when one does not.

    Args:
        directory: For the logs.
        screen: Where it is told.
        quick: Whether to hurry.
    """
    began = time.monotonic()
    patience = " or ".join(f"{seconds:g} s" for seconds in DEADLINES)
    screen.line("shop (Django, sync and async) -> pricing (FastAPI) -> payments (3 nodes)")
    screen.line(f"{RATE:.0f} users a second, who wait {patience} for their checkout")
    runs = [await _run(client, directory, screen, quick=quick) for client in CLIENTS]
    screen.line()
    for line in table(runs):
        screen.line(line)
    screen.line()
    _tell_trace(directory / "resilient" / "spans", screen)
    screen.line()
    sentences = broken(runs[-1])
    for sentence in sentences:
        screen.line(screen.paint(sentence, RED))
    if not sentences:
        screen.line(screen.paint("The promises of resilient_http hold.", GREEN))
    screen.line(f"{time.monotonic() - began:.0f} s in all")
    return 1 if sentences else 0


async def _run(client: str, directory: Path, screen: Screen, *, quick: bool) -> Run:
    screen.line()
    screen.line(screen.paint(CLIENTS[client], BOLD))
    with Cluster(client, directory / client) as cluster:
        page = None if client == "bare" else f"{cluster.pricing.url}/resilience/"
        if page is not None:
            screen.line(f"the live page of pricing, while this goes on: {page}")
        run = await Performance(CLIENTS[client], cluster, story(quick=quick), RATE, screen).give()
        if page is not None:
            await _keep_page(page, screen)
        return run


async def _keep_page(page: str, screen: Screen) -> None:
    """What the live page shows of it all, as a picture."""
    picture = _kept("live-page.png")
    why = await screenshot(page, picture)
    screen.line(f"  the live page at the end: {picture if why is None else f'no picture, because {why}'}")


def _tell_trace(spans: Path, screen: Screen) -> None:
    """Show one checkout that was degraded, and keep it."""
    trace = most_telling(spans)
    if trace is None:
        screen.line("No trace of a degraded checkout was written down.")
        return
    text, picture = _kept("checkout.txt"), _kept("checkout.svg")
    lines = as_text(trace)
    text.write_text("\n".join([*lines, ""]))
    picture.write_text(as_svg(trace))
    screen.line("One checkout that took a repeat, as its services traced it:")
    for line in lines:
        screen.line(screen.paint(f"  {line}", DIM))
    screen.line(f"  kept: {text}, {picture}")


def _kept(name: str) -> Path:
    """Where that is kept; not what another demo has left there."""
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / name
    path.unlink(missing_ok=True)
    return path
