"""Tells the story of an outage twice, with bare httpx and with resilient_http, and compares."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path

from example_project.cluster import BrokenDownError
from example_project.demo import demonstrate
from example_project.live_change import live_change
from example_project.nodes import demonstrate_nodes
from example_project.screen import Screen
from example_project.serve import serve

KEPT, BROKEN, INTERRUPTED = 0, 1, 130
ACTS = {"outage": demonstrate, "nodes": demonstrate_nodes, "live-change": live_change}


def main(argv: list[str] | None = None) -> int:
    """Run what the arguments ask for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m example_project", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="start the services and leave them running, to explore")
    parser.add_argument("--bare", action="store_true", help="with --serve: with httpx alone")
    parser.add_argument("--quick", action="store_true", help="a short story, in some 15 to 20 s")
    parser.add_argument(
        "--act",
        choices=ACTS,
        default="outage",
        help="outage: the story above; nodes: they join and leave through etcd; live-change: settings change in etcd",
    )
    options = parser.parse_args(argv)

    screen = Screen()
    directory = Path(tempfile.mkdtemp(prefix="resilient-http-demo-"))
    status = BROKEN
    try:
        if options.serve:
            status = asyncio.run(_until_told(serve("bare" if options.bare else "resilient", directory, screen)))
        else:
            status = asyncio.run(_until_told(ACTS[options.act](directory, screen, quick=options.quick)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.line("stopped; nothing is left running")
        status = INTERRUPTED
    except BrokenDownError as exc:
        screen.line(f"The demo broke down: {exc}")
    finally:
        if status == BROKEN:
            screen.line(f"The logs of the services are in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return status


async def _until_told(work: Coroutine[object, object, int]) -> int:
    """End the work on Ctrl-C, also where a shell has put us into the background, and on what else asks us to go."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await work


if __name__ == "__main__":
    sys.exit(main())
