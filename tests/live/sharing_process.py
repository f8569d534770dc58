"""One process of a service, told by lines on its standard input what to do: see Process."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from resilient_http import Resilience
from resilient_http.ports.sync import drive
from tests.live.callers import AsyncSteps, SyncSteps

ROOT = Path(__file__).parents[2]
KINDS = ("sync", "asyncio", "trio")


class Process:
    """A process with a Resilience of its own, one upstream "payments" in it, and a guarded function.

    Args:
        kind: "sync", "asyncio" or "trio".
        settings: Of its Resilience.
    """

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.live.sharing_process", kind, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def call(self, path: str = "/", times: int = 1) -> list[str]:
        """The outcome of each call: a status, or the name of the exception."""
        return self._ask({"call": path, "times": times})

    def query(self, result: str, times: int = 1) -> list[str]:
        """Call what is guarded as "inventory-db": it fails when told "fail". The results, or the exceptions' names."""
        return self._ask({"query": result, "times": times})

    def begin_flood(self, seconds: float, gap: float = 0.002) -> None:
        """Have it make calls for so long, with gaps between them; end_flood() hears of them."""
        self._say({"flood": seconds, "gap": gap})

    def end_flood(self) -> dict[str, Any]:
        """When each call that went was made (monotonic), how many were refused, and how long the slowest call took."""
        return self._hear()

    def status(self) -> dict[str, Any]:
        """As Resilience.status()."""
        return self._ask({"status": True})

    @property
    def state(self) -> str:
        """Of its circuit."""
        return self.circuit["state"]

    @property
    def circuit(self) -> dict[str, Any]:
        return self.status()["upstreams"]["payments"]["endpoints"][0]["circuit"]

    @property
    def guard(self) -> dict[str, Any]:
        """The circuit of what is guarded."""
        return self.status()["guards"]["inventory-db"]["endpoints"][0]["circuit"]

    def events(self) -> list[str]:
        """What its listener was told, and its log."""
        return self._ask({"events": True})

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._popen.kill()
        self._popen.communicate()

    def _ask(self, command: Any) -> Any:
        self._say(command)
        return self._hear()

    def _say(self, command: Any) -> None:
        print(json.dumps(command), file=self._popen.stdin, flush=True)

    def _hear(self) -> Any:
        line = self._popen.stdout.readline()
        assert line, "the process has ended"
        return json.loads(line)


@contextmanager
def processes() -> Iterator[Callable[..., Process]]:
    """Starts processes, and kills those that are left."""
    with ExitStack() as started:

        def start(kind: str, settings: Mapping[str, Any]) -> Process:
            process = Process(kind, settings)
            started.callback(process.kill)
            return process

        yield start


def within(seconds: float, condition: Callable[[], object]) -> float:
    """Seconds until the condition holds; fails when it does not in time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def main(kind: str, settings: str) -> None:
    """Obey, line by line."""
    told: list[str] = []
    logger = logging.getLogger("resilient_http")
    logger.setLevel(logging.INFO)
    logger.addHandler(Notes(told))
    resilience = Resilience(json.loads(settings), listeners=[lambda event: told.append(repr(event))])
    guard = resilience.guard("inventory-db")
    if kind == "sync":
        guarded = guard(look_up)

        async def query(result: str) -> str:
            return guarded(result)

        drive(obey(resilience, told, SyncSteps(resilience.client()), query))
        return

    @guard
    async def query_in_loop(result: str) -> str:
        await anyio.lowlevel.checkpoint()
        return look_up(result)

    async def in_loop() -> None:
        async with resilience.async_client() as client:
            await obey(resilience, told, AsyncSteps(client), query_in_loop)

    anyio.run(in_loop, backend=kind)


class Notes(logging.Handler):
    """Writes down what is logged, tracebacks included."""

    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(f"log: {self.format(record)}")


def look_up(result: str) -> str:
    """What a database says."""
    if result == "fail":
        raise ConnectionError
    return result


async def obey(resilience: Resilience, told: list[str], client: Any, query: Callable[[str], Awaitable[str]]) -> None:
    """Answer each line of standard input."""
    for line in sys.stdin:
        match json.loads(line):
            case {"call": path, "times": times}:
                answer: Any = [await outcome_of(client, path) for _ in range(times)]
            case {"query": result, "times": times}:
                answer = [await result_of(query, result) for _ in range(times)]
            case {"flood": seconds, "gap": gap}:
                answer = await flood(client, seconds, gap)
            case {"status": _}:
                answer = resilience.status()
            case {"events": _}:
                answer = [each for each in told if "AttemptFinished" not in each and "CallFinished" not in each]
        print(json.dumps(answer), flush=True)  # noqa: T201 - the answer


async def flood(client: Any, seconds: float, gap: float) -> dict[str, Any]:
    """Make calls for so long."""
    went, refused, slowest = [], 0, 0.0
    ends = time.monotonic() + seconds
    while (began := time.monotonic()) < ends:
        outcome = await outcome_of(client, "/good")
        slowest = max(slowest, time.monotonic() - began)
        if outcome == "200":
            went.append(began)
        else:
            refused += outcome == "RateLimited"
        await pause(client, gap)
    return {"went": went, "refused": refused, "slowest": slowest}


async def pause(client: Any, seconds: float) -> None:
    """Wait, as the client's kind does."""
    if isinstance(client, SyncSteps):
        time.sleep(seconds)
    else:
        await anyio.sleep(seconds)


async def outcome_of(client: Any, path: str) -> str:
    """Make a call."""
    try:
        return str((await client.get(f"http://payments{path}")).status_code)
    except Exception as exc:  # noqa: BLE001 - the test looks at it
        return type(exc).__name__


async def result_of(query: Callable[[str], Awaitable[str]], result: str) -> str:
    """Call what is guarded."""
    try:
        return await query(result)
    except Exception as exc:  # noqa: BLE001 - the test looks at it
        return type(exc).__name__


if __name__ == "__main__":
    main(*sys.argv[1:])
