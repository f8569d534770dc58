"""How long after its timeout a call really ends, with 50 calls at once, whatever the other side does.

Every contender is given the same timeout, in the way that its own documentation says. A call that has not ended
CAP seconds after its timeout is interrupted by the end of its server, and counts as CAP.

`early` counts the calls that had ended before their timeout: given up, or failed by themselves.

    python benchmarks/deadlines.py                 all hardships
    python benchmarks/deadlines.py "body drip"     one of them
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import httpx2
import requests
import stamina
from harness.command import parse, parser, progress
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import quantile
from httpx_retries import Retry, RetryTransport

from resilient_http import Resilience, deadline
from tests.live import hardships
from tests.live.behaviours import answer, drip_body

TIMEOUT, CAP, CALLS = 0.5, 2.0, 50
GOAL = 50  # milliseconds at the 99th percentile
EARLY = 0.02  # seconds; a call that ended so much before its timeout was not ended by it
LATER = 0.3  # seconds after the headers at which a body is read in "late reader"
UPLOAD = b"x" * 20_000_000

DOES_NOT_SHOW = (
    (
        "One call by itself: 50 at once in one process share its processor, and that is where most of our lateness "
        "comes from."
    ),
    "Rounds: each cell is measured once. A hardship lasts for seconds, and its percentiles are of 50 calls.",
    "Whether an answer was good: calls that ended before their timeout are only counted, as early.",
)


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


def row(contender: str, late: list[float]) -> tuple[str | float, ...]:
    """Milliseconds after the timeout: the median, the 99th percentile, the worst; and how many were early."""
    ordered = sorted(late)
    at = [max(0.0, quantile(ordered, share)) * 1000 for share in (0.5, 0.99, 1.0)]
    shown = [f">= {CAP * 1000:.0f}" if value >= CAP * 1000 else value for value in at]
    return (contender, *shown, sum(seconds < -EARLY for seconds in late))


def measured(hardship: str, contenders: Sequence[str]) -> dict[str, list[float]]:
    """Contender to the seconds by which each of its calls was late."""
    late = {}
    for name in contenders:
        progress(f"{hardship}: {name}")
        if name in SYNC:
            late[name] = overruns_in_threads(hardship, SYNC[name])
        else:
            late[name] = asyncio.run(overruns_in_tasks(hardship, ASYNC[name]))
    return late


def panel(worst: dict[str, dict[str, list[float]]]) -> Panel:
    """The 99th percentile of resilient_http, and of the others, for each hardship."""
    series: dict[str, tuple[list[float], list[float]]] = {}
    for number, late in enumerate(worst.values()):
        for contender, own in late.items():
            x, y = series.setdefault(contender, ([], []))
            x.append(max(1.0, quantile(sorted(own), 0.99) * 1000))
            y.append(number)
    axis = f"ms after a timeout of {TIMEOUT} s, 99th percentile"
    return Panel("how late calls end", axis, "", series, log_x=True, names=list(worst), bars=False)


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("hardships", nargs="*", type=known, default=list(HARDSHIPS), help=f"of {', '.join(HARDSHIPS)}")
    own.add_argument("--contenders", nargs="+", choices=[*SYNC, *ASYNC], default=[*SYNC, *ASYNC], metavar="CONTENDER")
    quick = {"hardships": ["body drip"], "contenders": OURS[:1]}
    options = parse(own, quick)
    report = Report(
        "deadlines",
        "How long after its timeout does a call really end, with 50 calls at once, whatever the other side does?",
        options,
        method=f"{CALLS} calls at once with a timeout of {TIMEOUT} s, interrupted {CAP:g} s after it; contenders "
        "one after the other",
        does_not_show=DOES_NOT_SHOW,
        packages=("httpx2", "requests", "stamina", "httpx-retries"),
        partial=options.hardships != list(HARDSHIPS) or options.contenders != [*SYNC, *ASYNC],
    )
    columns = [("p50 ms", ".0f"), ("p99 ms", ".0f"), ("worst ms", ".0f"), ("early", "d")]
    found = {}
    for hardship in options.hardships:
        found[hardship] = measured(hardship, options.contenders)
        report.table(Table(hardship, columns, [row(name, late) for name, late in found[hardship].items()]))
    ours = [
        quantile(sorted(late), 0.99) * 1000 for each in found.values() for name, late in each.items() if name in OURS
    ]
    report.goal("resilient_http's largest p99, ms", max(ours, default=None), most=GOAL)
    report.panels = [panel(found)]
    report.raw = found
    report.finish()


def known(hardship: str) -> str:
    if hardship not in HARDSHIPS:
        message = f"no such hardship: {hardship}"
        raise argparse.ArgumentTypeError(message)
    return hardship


OURS = [name for name in [*SYNC, *ASYNC] if name.startswith("resilient_http")]

if __name__ == "__main__":
    main()
