"""How long after its timeout a call really ends, with 50 calls at once, whatever the other side does.

Every contender is given the same timeout, in the way that its own documentation says. A call that has not ended
CAP seconds after its timeout is interrupted by the end of its server, and counts as CAP.

`early` counts the calls that had ended before their timeout: given up, or failed by themselves.

    python benchmarks/deadlines.py                 all hardships
    python benchmarks/deadlines.py "body drip"     one of them
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import httpx2
import requests
import stamina
from httpx_retries import Retry, RetryTransport

sys.path.insert(0, str(Path(__file__).parents[1]))

from resilient_http import Resilience, deadline
from tests.live import hardships
from tests.live.behaviours import answer, drip_body

TIMEOUT, CAP, CALLS = 0.5, 2.0, 50
GOAL = 50  # milliseconds at the 99th percentile
EARLY = 0.02  # seconds; a call that ended so much before its timeout was not ended by it
LATER = 0.3  # seconds after the headers at which a body is read in "late reader"
UPLOAD = b"x" * 20_000_000


@dataclass(frozen=True)
class Task:
    """What each of the 50 calls does in one hardship."""

    method: str = "GET"
    content: bytes | None = None
    reads_later: bool = False
    connections: int = 100
    logs_in: bool = False


HARDSHIPS = hardships.HARDSHIPS | {
    "Retry-After": lambda: hardships.misbehaving(answer(503, headers={"Retry-After": "1"})),
    "full pool": lambda: hardships.misbehaving(drip_body(0.05)),
    "late reader": lambda: hardships.misbehaving(drip_body(0.05)),
}
TASKS = {
    "upload": Task("POST", UPLOAD),
    "auth flow": Task(logs_in=True),
    "full pool": Task(connections=1),
    "late reader": Task(reads_later=True),
}

Sync = Callable[[], object]
Async = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class World:
    """What a contender is told: where to call, and how."""

    url: str
    task: Task
    options: dict[str, Any] = field(default_factory=dict)

    def with_auth_of(self, module: Any) -> World:
        return World(self.url, self.task, {"auth": hardships.endless_auth(module)}) if self.task.logs_in else self

    def settings(self, backend: str) -> dict[str, Any]:
        upstream: dict[str, Any] = {
            "endpoints": [self.url],
            # Every call of a hardship fails: without these two we would refuse most of them, and be early.
            "circuit": None,
            "retry": {"budget": None},
            "pool": {"max_connections": self.task.connections},
            "timeout": {"pool": None},
        }
        return {"backend": backend, "upstreams": {"payments": upstream}}


def request(client: Any, url: str, world: World) -> None:
    """One call of a sync client of httpx's kind."""
    task = world.task
    if not task.reads_later:
        client.request(task.method, url, content=task.content, **world.options)
        return
    with client.stream(task.method, url) as response:
        time.sleep(LATER)
        response.read()


async def request_async(client: Any, url: str, world: World) -> None:
    """The same of an async one."""
    task = world.task
    if not task.reads_later:
        await client.request(task.method, url, content=task.content, **world.options)
        return
    async with client.stream(task.method, url) as response:
        await asyncio.sleep(LATER)
        await response.aread()


@contextmanager
def ours_sync(backend: str, world: World) -> Iterator[Sync]:
    world = world.with_auth_of(importlib.import_module(backend))
    settings = world.settings(backend)
    with Resilience(settings) as resilience, resilience.client(follow_redirects=True, max_redirects=1000) as client:

        def call() -> None:
            with deadline(TIMEOUT):
                request(client, "http://payments/", world)

        yield call


@contextmanager
def theirs_sync(module: Any, world: World, **options: Any) -> Iterator[Sync]:
    if "transport" not in options:
        options["limits"] = module.Limits(max_connections=world.task.connections)
    with module.Client(timeout=TIMEOUT, follow_redirects=True, max_redirects=1000, **options) as client:
        yield partial(request, client, world.url, world.with_auth_of(module))


@contextmanager
def with_retries(world: World) -> Iterator[Sync]:
    limits = httpx.Limits(max_connections=world.task.connections)
    transport = RetryTransport(transport=httpx.HTTPTransport(limits=limits), retry=Retry(total=3))
    with theirs_sync(httpx, world, transport=transport) as call:
        yield call


@contextmanager
def with_requests(world: World) -> Iterator[Sync]:
    task = world.task
    auth = LogInAgain() if task.logs_in else None

    def call() -> None:
        response = session.request(
            task.method, world.url, data=task.content, timeout=TIMEOUT, auth=auth, stream=task.reads_later
        )
        if task.reads_later:
            time.sleep(LATER)
            response.content  # noqa: B018 - the property reads the body

    with requests.Session() as session:
        session.max_redirects = 1000
        session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=task.connections, pool_block=True))
        yield call


class LogInAgain(requests.auth.AuthBase):
    """Logs in again and again, as requests' own digest auth does once."""

    def __call__(self, request: Any) -> Any:
        request.register_hook("response", self.again)
        return request

    def again(self, response: Any, **options: Any) -> Any:
        while True:
            response.content  # noqa: B018 - frees the connection
            response = response.connection.send(response.request.copy(), **options)


@contextmanager
def with_stamina(world: World) -> Iterator[Sync]:
    with theirs_sync(httpx, world) as call:
        yield stamina.retry(on=httpx.HTTPError, timeout=TIMEOUT)(call)


@contextlib.asynccontextmanager
async def ours_async(backend: str, world: World) -> Any:
    world = world.with_auth_of(importlib.import_module(backend))
    resilience = Resilience(world.settings(backend))
    async with resilience, resilience.async_client(follow_redirects=True, max_redirects=1000) as client:

        async def call() -> None:
            with deadline(TIMEOUT):
                await request_async(client, "http://payments/", world)

        yield call


@contextlib.asynccontextmanager
async def theirs_async(module: Any, world: World, **options: Any) -> Any:
    if "transport" not in options:
        options["limits"] = module.Limits(max_connections=world.task.connections)
    async with module.AsyncClient(timeout=TIMEOUT, follow_redirects=True, max_redirects=1000, **options) as client:
        yield partial(request_async, client, world.url, world.with_auth_of(module))


@contextlib.asynccontextmanager
async def with_retries_async(world: World) -> Any:
    limits = httpx.Limits(max_connections=world.task.connections)
    transport = RetryTransport(transport=httpx.AsyncHTTPTransport(limits=limits), retry=Retry(total=3))
    async with theirs_async(httpx, world, transport=transport) as call:
        yield call


SYNC: dict[str, Callable[[World], Any]] = {
    "resilient_http, httpx": partial(ours_sync, "httpx"),
    "resilient_http, httpx2": partial(ours_sync, "httpx2"),
    "httpx": partial(theirs_sync, httpx),
    "httpx2": partial(theirs_sync, httpx2),
    "requests": with_requests,
    "stamina": with_stamina,
    "httpx-retries": with_retries,
}
ASYNC: dict[str, Callable[[World], Any]] = {
    "resilient_http, httpx, asyncio": partial(ours_async, "httpx"),
    "resilient_http, httpx2, asyncio": partial(ours_async, "httpx2"),
    "httpx, asyncio": partial(theirs_async, httpx),
    "httpx2, asyncio": partial(theirs_async, httpx2),
    "httpx-retries, asyncio": with_retries_async,
}


def overruns_in_threads(hardship: str, contender: Callable[[World], Any]) -> list[float]:
    late, gate = [], threading.Barrier(CALLS)

    def one(call: Sync) -> None:
        gate.wait()
        started = time.monotonic()
        with contextlib.suppress(Exception):
            call()
        late.append(time.monotonic() - started - TIMEOUT)

    with contextlib.ExitStack() as world:
        url = world.enter_context(HARDSHIPS[hardship]())
        with contender(World(url, TASKS.get(hardship, Task()))) as call:
            threads = [threading.Thread(target=one, args=(call,), daemon=True) for _ in range(CALLS)]
            for thread in threads:
                thread.start()
            until = time.monotonic() + TIMEOUT + CAP
            for thread in threads:
                thread.join(max(0.0, until - time.monotonic()))
            ended = list(late)
            world.close()
            for thread in threads:
                thread.join(CAP)
    return ended + [CAP] * (CALLS - len(ended))


async def overruns_in_tasks(hardship: str, contender: Callable[[World], Any]) -> list[float]:
    late: list[float] = []

    async def one(call: Async) -> None:
        started = time.monotonic()
        with contextlib.suppress(Exception):
            await call()
        late.append(time.monotonic() - started - TIMEOUT)

    with contextlib.ExitStack() as world:
        url = world.enter_context(HARDSHIPS[hardship]())
        async with contender(World(url, TASKS.get(hardship, Task()))) as call:
            tasks = [asyncio.ensure_future(one(call)) for _ in range(CALLS)]
            await asyncio.wait(tasks, timeout=TIMEOUT + CAP)
            ended = list(late)
            await asyncio.to_thread(world.close)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    return ended + [CAP] * (CALLS - len(ended))


def show(contender: str, late: list[float]) -> float:
    """Print one line; gives the 99th percentile in milliseconds."""
    late.sort()
    at = [max(0.0, late[math.ceil(len(late) * share) - 1]) * 1000 for share in (0.5, 0.99, 1.0)]
    early = sum(seconds < -EARLY for seconds in late)
    shown = [f">= {CAP * 1000:.0f}" if value >= CAP * 1000 else f"{value:.0f}" for value in at]
    print(f"  {contender:34}", *(f"{value:>9}" for value in shown), f"{early:>7}", flush=True)
    return at[1]


def main() -> None:
    known = ("httpx", "httpx2", "requests", "stamina", "httpx-retries")
    print(f"{CALLS} calls at once; {', '.join(f'{name} {version(name)}' for name in known)}\n")
    chosen = sys.argv[1:] or list(HARDSHIPS)
    if unknown := set(chosen) - set(HARDSHIPS):
        sys.exit(f"no such hardship: {', '.join(sorted(unknown))}; known: {', '.join(HARDSHIPS)}")
    worst = 0.0
    for hardship in chosen:
        print(
            f"{hardship:36} {'p50':>9} {'p99':>9} {'worst':>9} {'early':>7}   ms after a timeout of {TIMEOUT} s",
            flush=True,
        )
        for name, contender in SYNC.items():
            p99 = show(name, overruns_in_threads(hardship, contender))
            worst = max(worst, p99) if contender in OURS else worst
        for name, contender in ASYNC.items():
            p99 = show(name, asyncio.run(overruns_in_tasks(hardship, contender)))
            worst = max(worst, p99) if contender in OURS else worst
    print(f"\nresilient_http's largest p99: {worst:.0f} ms; at most {GOAL} is the goal")


OURS = [contender for name, contender in (SYNC | ASYNC).items() if name.startswith("resilient_http")]

if __name__ == "__main__":
    main()
