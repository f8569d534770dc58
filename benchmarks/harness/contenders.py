"""Contenders: the clients that are compared, each set up as its own documentation says, with the same limits.

A contender is opened for a target, and gives a call: one GET, to the end of its body, that returns the status or
raises. Those that repeat make up to three attempts, of the same statuses as ours, with a backoff from 0.1 s on. Nobody
but resilient_http has a limit for the whole of a call; the others' attempts are limited each.

Packages are imported where they are used: a contender whose package is missing is left out.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx

from harness.machine import installed
from resilient_http import Resilience, Settings, SettingsError

ATTEMPTS = 3
STATUSES = (408, 429, 500, 502, 503, 504)
BACKOFF, LONGEST_BACKOFF = 0.1, 5.0
BREAKER_OPEN = 5.0  # seconds, as the circuits of ours; pybreaker's own default is 60

AsyncCall = Callable[[], Awaitable[int]]
SyncCall = Callable[[], int]


@dataclass(frozen=True)
class Target:
    """What is called, and how.

    Attributes:
        origin: Without a path.
        path: Of the one resource.
        connections: Most connections, idle ones too; a contender with limits of its own beyond that has them raised.
        attempt: Seconds for an attempt, or for each of its phases where the contender knows no more.
        total: Seconds for the call, where the contender knows such a limit.
    """

    origin: str
    path: str = "/"
    connections: int = 100
    attempt: float = 60.0
    total: float = 60.0

    @property
    def url(self) -> str:
        return self.origin + self.path


@dataclass(frozen=True)
class Contender:
    """A client.

    Attributes:
        open: Makes it, and closes it at the end of the block.
        packages: Distributions that it needs.
        options: Of resilient_http, beyond the defaults, at the root of its settings.
        uvloop: Whether it runs on uvloop.
    """

    name: str
    open: Callable[[Target], Any]
    packages: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    uvloop: bool = False

    @property
    def missing(self) -> str:
        """Why it cannot take part, or nothing."""
        absent = [package for package in self.packages if installed(package) is None]
        if absent:
            return f"not installed: {', '.join(absent)}"
        try:
            Settings(**dict(self.options))
        except SettingsError as error:
            return f"not available in this version: {error}"
        return ""


# ------------------------------------------------------------------------------------------------------- resilient_http


def settings(target: Target, **root: Any) -> dict[str, Any]:
    limits = {"attempt": target.attempt, "connect": target.attempt, "read": target.attempt, "write": target.attempt}
    upstream: dict[str, Any] = {
        "endpoints": [target.origin],
        "timeout": {"total": target.total, **limits, "pool": target.attempt},
        "pool": {"max_connections": target.connections, "max_keepalive": target.connections},
        "concurrency": {"limit": target.connections, "queue": target.connections},
    }
    return {**root, "upstreams": {"service": upstream}}


def ours_async(
    read: Callable[[Any], object] | None = None, **root: Any
) -> Callable[[Target], AbstractAsyncContextManager[AsyncCall]]:
    @contextlib.asynccontextmanager
    async def opened(target: Target) -> AsyncIterator[AsyncCall]:
        resilience = Resilience(settings(target, **root))
        url = f"http://service{target.path}"
        async with resilience, resilience.async_client() as client:

            async def call() -> int:
                return (await client.get(url)).status_code

            async def call_and_read() -> int:
                response = await client.get(url)
                if read is not None:
                    read(response)
                return response.status_code

            yield call if read is None else call_and_read

    return opened


def read_json(response: Any) -> object:
    return response.json()


def read_orjson(response: Any) -> object:
    import orjson

    return orjson.loads(response.content)


def ours_sync(**root: Any) -> Callable[[Target], AbstractContextManager[SyncCall]]:
    @contextlib.contextmanager
    def opened(target: Target) -> Iterator[SyncCall]:
        url = f"http://service{target.path}"
        with Resilience(settings(target, **root)) as resilience, resilience.client() as client:
            yield lambda: client.get(url).status_code

    return opened


# ----------------------------------------------------------------------------------------------------- httpx and httpx2


def limits(target: Target, module: Any = httpx) -> Any:
    return module.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)


@contextlib.asynccontextmanager
async def httpx_async(target: Target, module: Any = httpx) -> AsyncIterator[AsyncCall]:
    async with module.AsyncClient(limits=limits(target, module), timeout=target.attempt) as client:

        async def call() -> int:
            return (await client.get(target.url)).status_code

        yield call


@contextlib.contextmanager
def httpx_sync(target: Target, module: Any = httpx) -> Iterator[SyncCall]:
    with module.Client(limits=limits(target, module), timeout=target.attempt) as client:
        yield lambda: client.get(target.url).status_code


def httpx2_async(target: Target) -> AbstractAsyncContextManager[AsyncCall]:
    import httpx2

    return httpx_async(target, httpx2)


def httpx2_sync(target: Target) -> AbstractContextManager[SyncCall]:
    import httpx2

    return httpx_sync(target, httpx2)


@contextlib.asynccontextmanager
async def one_per_pool_async(target: Target) -> AsyncIterator[AsyncCall]:
    """Many pools of one connection each, whichever was used last first."""
    verify, idle = ssl.create_default_context(), deque[httpx.AsyncClient]()

    async def call() -> int:
        try:
            client = idle.pop()
        except IndexError:
            client = httpx.AsyncClient(verify=verify, limits=httpx.Limits(max_connections=1), timeout=target.attempt)
        try:
            return (await client.get(target.url)).status_code
        finally:
            idle.append(client)

    yield call
    for client in idle:
        await client.aclose()


@contextlib.contextmanager
def one_per_pool_sync(target: Target) -> Iterator[SyncCall]:
    verify, idle = ssl.create_default_context(), deque[httpx.Client]()

    def call() -> int:
        try:
            client = idle.pop()
        except IndexError:
            client = httpx.Client(verify=verify, limits=httpx.Limits(max_connections=1), timeout=target.attempt)
        try:
            return client.get(target.url).status_code
        finally:
            idle.append(client)

    yield call
    for client in idle:
        client.close()


@contextlib.asynccontextmanager
async def httpcore_async(target: Target) -> AsyncIterator[AsyncCall]:
    import httpcore

    timeout = dict.fromkeys(("connect", "read", "write", "pool"), target.attempt)
    async with httpcore.AsyncConnectionPool(
        max_connections=target.connections, max_keepalive_connections=target.connections
    ) as pool:

        async def call() -> int:
            return (await pool.request("GET", target.url, extensions={"timeout": timeout})).status

        yield call


@contextlib.contextmanager
def httpcore_sync(target: Target) -> Iterator[SyncCall]:
    import httpcore

    timeout = dict.fromkeys(("connect", "read", "write", "pool"), target.attempt)
    with httpcore.ConnectionPool(
        max_connections=target.connections, max_keepalive_connections=target.connections
    ) as pool:
        yield lambda: pool.request("GET", target.url, extensions={"timeout": timeout}).status


# -------------------------------------------------------------------------------------------------- httpx with policies


def _retries(target: Target, transport: Any) -> Any:
    from httpx_retries import Retry, RetryTransport

    rules = Retry(
        total=ATTEMPTS - 1, backoff_factor=BACKOFF, max_backoff_wait=LONGEST_BACKOFF, status_forcelist=STATUSES
    )
    return RetryTransport(transport=transport(limits=limits(target)), retry=rules)


@contextlib.asynccontextmanager
async def httpx_retries_async(target: Target) -> AsyncIterator[AsyncCall]:
    transport = _retries(target, httpx.AsyncHTTPTransport)
    async with httpx.AsyncClient(transport=transport, timeout=target.attempt) as client:

        async def call() -> int:
            return (await client.get(target.url)).status_code

        yield call


@contextlib.contextmanager
def httpx_retries_sync(target: Target) -> Iterator[SyncCall]:
    with httpx.Client(transport=_retries(target, httpx.HTTPTransport), timeout=target.attempt) as client:
        yield lambda: client.get(target.url).status_code


def _tenacity_rules() -> dict[str, Any]:
    import tenacity

    return {
        "stop": tenacity.stop_after_attempt(ATTEMPTS),
        "wait": tenacity.wait_random_exponential(BACKOFF, LONGEST_BACKOFF),
        "retry": tenacity.retry_if_exception_type((httpx.TransportError, httpx.HTTPStatusError)),
        "reraise": True,
    }


@contextlib.asynccontextmanager
async def tenacity_async(target: Target) -> AsyncIterator[AsyncCall]:
    import pybreaker
    import tenacity

    breaker = pybreaker.CircuitBreaker(reset_timeout=BREAKER_OPEN)
    retrying = tenacity.AsyncRetrying(**_tenacity_rules())
    async with httpx.AsyncClient(limits=limits(target), timeout=target.attempt) as client:

        async def attempt() -> int:
            # pybreaker's call() does not know coroutines, and its call_async() is for tornado.
            with breaker.calling():
                response = await client.get(target.url)
                response.raise_for_status()
                return response.status_code

        yield lambda: retrying(attempt)


@contextlib.contextmanager
def tenacity_sync(target: Target) -> Iterator[SyncCall]:
    import pybreaker
    import tenacity

    breaker = pybreaker.CircuitBreaker(reset_timeout=BREAKER_OPEN)
    retrying = tenacity.Retrying(**_tenacity_rules())
    with httpx.Client(limits=limits(target), timeout=target.attempt) as client:

        def attempt() -> int:
            response = client.get(target.url)
            response.raise_for_status()
            return response.status_code

        yield lambda: retrying(breaker.call, attempt)


# ------------------------------------------------------------------------------------------- aiohttp, requests, urllib3


@contextlib.asynccontextmanager
async def _aiohttp_session(target: Target) -> AsyncIterator[Any]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=target.connections)
    timeout = aiohttp.ClientTimeout(total=target.attempt)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


@contextlib.asynccontextmanager
async def aiohttp_alone(target: Target) -> AsyncIterator[AsyncCall]:
    async with _aiohttp_session(target) as session:

        async def call() -> int:
            async with session.get(target.url) as response:
                await response.read()
                return int(response.status)

        yield call


@contextlib.asynccontextmanager
async def aiohttp_retry(target: Target) -> AsyncIterator[AsyncCall]:
    from aiohttp_retry import ExponentialRetry, RetryClient

    rules = ExponentialRetry(
        attempts=ATTEMPTS, start_timeout=BACKOFF, max_timeout=LONGEST_BACKOFF, statuses=set(STATUSES)
    )
    async with _aiohttp_session(target) as session:
        client = RetryClient(client_session=session, retry_options=rules)

        async def call() -> int:
            async with client.get(target.url) as response:
                await response.read()
                return int(response.status)

        yield call


def _urllib3_rules() -> Any:
    import urllib3

    return urllib3.Retry(
        total=ATTEMPTS - 1,
        backoff_factor=BACKOFF,
        backoff_max=LONGEST_BACKOFF,
        status_forcelist=STATUSES,
        raise_on_status=False,
    )


@contextlib.contextmanager
def requests_retry(target: Target) -> Iterator[SyncCall]:
    import requests

    adapter = requests.adapters.HTTPAdapter(
        pool_maxsize=target.connections, pool_block=True, max_retries=_urllib3_rules()
    )
    with requests.Session() as session:
        session.mount("http://", adapter)
        yield lambda: session.get(target.url, timeout=target.attempt).status_code


@contextlib.contextmanager
def urllib3_alone(target: Target) -> Iterator[SyncCall]:
    import urllib3

    with urllib3.PoolManager(maxsize=target.connections, block=True, retries=False, timeout=target.attempt) as pool:
        yield lambda: pool.request("GET", target.url).status


# ------------------------------------------------------------------------------------------------------------ the lists

BARE = "httpx"
OURS = "resilient_http"
OURS_AIOHTTP = "resilient_http, engine aiohttp"
AIOHTTP = "aiohttp alone"
RETRIES = "httpx, httpx-retries"
TENACITY = "httpx, tenacity, pybreaker"
REQUESTS = "requests, urllib3.Retry"
AIOHTTP_RETRY = "aiohttp, aiohttp-retry"

AIOHTTP_ENGINE = {"engine": "aiohttp"}

ASYNC = [
    Contender(BARE, httpx_async),
    Contender(OURS, ours_async()),
    Contender(OURS_AIOHTTP, ours_async(**AIOHTTP_ENGINE), ("aiohttp",), tuple(AIOHTTP_ENGINE.items())),
    Contender(AIOHTTP, aiohttp_alone, ("aiohttp",)),
    Contender("httpx2", httpx2_async, ("httpx2",)),
    Contender("resilient_http over httpx2", ours_async(backend="httpx2"), ("httpx2",)),
    Contender(RETRIES, httpx_retries_async, ("httpx-retries",)),
    Contender(TENACITY, tenacity_async, ("tenacity", "pybreaker")),
    Contender(AIOHTTP_RETRY, aiohttp_retry, ("aiohttp", "aiohttp-retry")),
    Contender("httpx, one connection per pool", one_per_pool_async),
    Contender("httpcore alone", httpcore_async, ("httpcore",)),
]

SYNC = [
    Contender(BARE, httpx_sync),
    Contender(OURS, ours_sync()),
    Contender("httpx2", httpx2_sync, ("httpx2",)),
    Contender("resilient_http over httpx2", ours_sync(backend="httpx2"), ("httpx2",)),
    Contender(RETRIES, httpx_retries_sync, ("httpx-retries",)),
    Contender(TENACITY, tenacity_sync, ("tenacity", "pybreaker")),
    Contender(REQUESTS, requests_retry, ("requests",)),
    Contender("httpx, one connection per pool", one_per_pool_sync),
    Contender("httpcore alone", httpcore_sync, ("httpcore",)),
    Contender("urllib3 alone", urllib3_alone, ("urllib3",)),
]

CHOICES = [
    Contender(BARE, httpx_async),
    Contender(AIOHTTP, aiohttp_alone, ("aiohttp",)),
    Contender(f"{AIOHTTP}, uvloop", aiohttp_alone, ("aiohttp", "uvloop"), uvloop=True),
    Contender(OURS, ours_async()),
    Contender(f"{OURS}, uvloop", ours_async(), ("uvloop",), uvloop=True),
    Contender(OURS_AIOHTTP, ours_async(**AIOHTTP_ENGINE), ("aiohttp",)),
    Contender(f"{OURS_AIOHTTP}, uvloop", ours_async(**AIOHTTP_ENGINE), ("aiohttp", "uvloop"), uvloop=True),
    Contender(f"{OURS_AIOHTTP}, response.json()", ours_async(read_json, **AIOHTTP_ENGINE), ("aiohttp",)),
    Contender(f"{OURS_AIOHTTP}, orjson", ours_async(read_orjson, **AIOHTTP_ENGINE), ("aiohttp", "orjson")),
]

IN_TASKS = {contender.name: contender for contender in ASYNC}
OF_THE_USERS = {contender.name: contender for contender in CHOICES}
IN_THREADS = {contender.name: contender for contender in SYNC}
PACKAGES = (
    "httpx2", "httpx-retries", "httpcore", "tenacity", "pybreaker", "requests", "urllib3", "aiohttp", "aiohttp-retry",
    "uvloop", "orjson",
)  # fmt: skip
