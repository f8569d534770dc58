"""Cluster: the services of the demo, as real processes over loopback.

shop (Django; gunicorn for the sync views, uvicorn for the async ones)
  └─> pricing (FastAPI, uvicorn)
        └─> three nodes of payments
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from example_project.caller import fetch
from example_project.figures import Records
from example_project.service import Service

STARTING = 20.0
STOPPING = 2.0
WARM_UP = 5

UVICORN = (
    "uvicorn",
    "--port",
    "{port}",
    "--log-level",
    "warning",
    "--no-access-log",
    "--timeout-graceful-shutdown",
    "1",
)
GUNICORN = (
    "gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "32", "--graceful-timeout", "1",
    "--log-level", "warning", "--no-control-socket",
)  # fmt: skip


class BrokenDownError(Exception):
    """The services do not run as they should."""


class Cluster:
    """Seven servers, with one client or the other. A context manager that leaves nothing running.

    Args:
        client: "bare" or "resilient".
        directory: For the logs, and for the nodes' records of what reached them.

    Attributes:
        spans: The directory in which the services write down their spans.
    """

    def __init__(self, client: str, directory: Path) -> None:
        self.directory = directory
        self.spans = directory / "spans"
        self.spans.mkdir(parents=True, exist_ok=True)
        self.nodes = [self._node(f"node {number}") for number in (1, 2, 3)]
        urls = " ".join(node.url for node in self.nodes)
        self.pricing = self._service(
            "pricing", [*UVICORN, "example_project.pricing.app:app"], DEMO_CLIENT=client, DEMO_NODES=urls
        )
        to_pricing = {"DEMO_CLIENT": client, "DEMO_PRICING": self.pricing.url}
        self.shop = self._service("shop, sync", [*GUNICORN, "example_project.shop.wsgi"], **to_pricing)
        self.async_shop = self._service(
            "shop, async", [*UVICORN, "example_project.shop.asgi:application"], **to_pricing
        )
        self.services = [*self.nodes, self.pricing, self.shop, self.async_shop]

    async def start(self) -> None:
        """Start all, and wait until a checkout works.

        Raises:
            BrokenDownError: One did not start; it names the log.
        """
        for service in self.services:
            service.start()
        until = time.monotonic() + STARTING
        for service in self.services:
            await self.ready(service, until)
        for order in range(WARM_UP):
            for url in self.checkouts(-order):
                status, body = await fetch(url)
                if status != 200:
                    message = f"the first checkout was answered {status}: {body.decode(errors='replace')[:500]}"
                    raise BrokenDownError(message)

    async def ready(self, service: Service, until: float | None = None) -> None:
        """Wait until a service answers at all."""
        until = until or time.monotonic() + STARTING
        while service.running and time.monotonic() < until:
            try:
                await fetch(f"{service.url}/")
            except OSError:
                await asyncio.sleep(0.02)
            else:
                return
        message = f"{service.name} did not start; its log {service.log} ends with\n{_tail(service.log)}"
        raise BrokenDownError(message)

    def checkouts(self, order: int) -> list[str]:
        """The pages where `order` is bought: sync, async."""
        order = abs(order)
        return [f"{self.shop.url}/checkout/{order}", f"{self.async_shop.url}/async/checkout/{order}"]

    async def tell(self, node: Service, mood: str) -> None:
        """Have a node behave: "well", "drip" or "fail"."""
        await fetch(f"{node.url}/control/{mood}")

    def records(self) -> Records:
        """What the nodes have recorded."""
        return Records(
            line for node in self.nodes for line in _record(self.directory, node.name).read_text().splitlines()
        )

    def stop(self) -> list[str]:
        """End all services, kill what does not end, and name those that are left even so."""
        for service in self.services:
            service.ask_to_stop()
        until = time.monotonic() + STOPPING
        for service in self.services:
            if not service.wait(until):
                service.kill()
        until = time.monotonic() + STOPPING
        return [service.name for service in self.services if not service.wait(until)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Whoever presses Ctrl-C twice must not keep us from cleaning up.
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
        try:
            left = self.stop()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        if left:
            message = f"still running after SIGKILL: {', '.join(left)}"
            raise BrokenDownError(message)

    def _node(self, name: str) -> Service:
        record = _record(self.directory, name)
        record.touch()
        return self._service(name, [*UVICORN, "example_project.node.app:app"], NODE_NAME=name, NODE_LOG=str(record))

    def _service(self, name: str, argv: list[str], **environment: str) -> Service:
        # Whatever project the user's shell has set: these are this project's services.
        environment["DJANGO_SETTINGS_MODULE"] = "example_project.shop.settings"
        if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
            environment |= {"DEMO_SPANS": str(self.spans), "OTEL_BSP_SCHEDULE_DELAY": "200"}
        return Service(name, argv, environment, self.directory / f"{_file_name(name)}.log")


def _record(directory: Path, name: str) -> Path:
    return directory / f"{_file_name(name)}.orders"


def _file_name(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
