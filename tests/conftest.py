"""Fixtures for all tests: the servers they talk to, and the check that they leave nothing running."""

import gc
import importlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.builds import IS_COMPILED, THROWS_AS_MYPYC
from tests.live.browser import Browser, find_chromium
from tests.live.dnsmasq import Dnsmasq, find_dnsmasq
from tests.live.etcd import Etcd, find_etcd
from tests.live.nginx import HELLO, Nginx, find_nginx
from tests.live.prometheus import Prometheus, find_prometheus
from tests.live.redis import RedisServer, find_redis
from tests.live.rotel import Rotel, find_rotel
from tests.live.servers import FaultServer, Script, full_backlog, refused_url
from tests.live.tls import TlsAuthority

_THREADS_END_WITHIN = 2.0


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors, but for one of the compiled build's."""
    if IS_COMPILED:
        config.addinivalue_line("filterwarnings", THROWS_AS_MYPYC)


@pytest.fixture(params=["httpx", "httpx2"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of the library underneath: the test runs on both."""
    return str(request.param)


@pytest.fixture
def library(backend: str) -> ModuleType:
    """The backend's own package: httpx, or httpx2."""
    return importlib.import_module(backend)


@pytest.fixture
def fault_server() -> Iterator[Callable[..., FaultServer]]:
    """Starts servers that misbehave as told, with the arguments of `FaultServer`."""
    with ExitStack() as servers:

        def start(script: Script | None = None, **options: Any) -> FaultServer:
            return servers.enter_context(FaultServer(script, **options))

        yield start


@pytest.fixture(name="refused_url")
def _refused_url() -> Iterator[str]:
    """The URL of a port that refuses connections."""
    with refused_url() as url:
        yield url


@pytest.fixture(name="unanswered_url")
def _unanswered_url() -> Iterator[str]:
    """The URL of a port on which a connect hangs."""
    with full_backlog() as url:
        yield url


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Starts nginx with the given server block. A missing nginx fails the test; a skip would hide what is untested."""
    command = find_nginx()
    if command is None:
        pytest.fail("this test needs nginx; install it with: apt-get install nginx-light")
    numbers = itertools.count()
    with ExitStack() as servers:

        def start(server: str = HELLO) -> Nginx:
            root = tmp_path / f"nginx-{next(numbers)}"
            root.mkdir()
            return servers.enter_context(Nginx(command, root, server))

        yield start


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis, with the password given. A missing one fails the test, as a missing nginx does."""
    command = find_redis()
    if command is None:
        pytest.fail("this test needs redis-server; install it with: apt-get install redis-server")
    with ExitStack() as servers:

        def start(password: str = "") -> RedisServer:
            return servers.enter_context(RedisServer(command, tmp_path, password))

        yield start


@pytest.fixture
def etcd_server(tmp_path: Path) -> Iterator[Callable[..., Etcd]]:
    """Starts an etcd, with more options of its command line. A missing one fails the test, as a missing nginx does."""
    command = find_etcd()
    if command is None:
        pytest.fail("this test needs etcd; install it with: apt-get install etcd-server")
    numbers = itertools.count()
    with ExitStack() as servers:

        def start(*options: str) -> Etcd:
            root = tmp_path / f"etcd-{next(numbers)}"
            root.mkdir()
            return servers.enter_context(Etcd(command, root, *options))

        yield start


@pytest.fixture
def name_server(tmp_path: Path) -> Iterator[Callable[..., Dnsmasq]]:
    """Starts a dnsmasq, with the arguments of `Dnsmasq`. A missing one fails the test, as a missing nginx does."""
    command = find_dnsmasq()
    if command is None:
        pytest.fail("this test needs dnsmasq; install it with: apt-get install dnsmasq-base")
    numbers = itertools.count()
    with ExitStack() as servers:

        def start(hosts: dict[str, Sequence[str]], lines: Sequence[str] = (), ttl: int = 1) -> Dnsmasq:
            root = tmp_path / f"dnsmasq-{next(numbers)}"
            root.mkdir()
            return servers.enter_context(Dnsmasq(command, root, hosts, lines, ttl))

        yield start


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus that scrapes the targets given. A missing one fails the test, as a missing nginx does."""
    command = find_prometheus()
    if command is None:
        pytest.fail("this test needs prometheus and promtool; install them with: apt-get install prometheus")
    numbers = itertools.count()
    with ExitStack() as servers:

        def start(targets: Sequence[str], rules: Sequence[Path] = ()) -> Prometheus:
            root = tmp_path / f"prometheus-{next(numbers)}"
            root.mkdir()
            return servers.enter_context(Prometheus(command, root, targets, rules))

        yield start


@pytest.fixture
def rotel(tmp_path: Path) -> Iterator[Rotel]:
    """A real OTLP receiver. A missing one fails the test, as a missing nginx does."""
    command = find_rotel()
    if command is None:
        pytest.fail("this test needs rotel; install it with: pip install rotel")
    with Rotel(command, tmp_path) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A real Chromium. A missing one fails the test, as a missing nginx does."""
    commands = find_chromium()
    if commands is None:
        pytest.fail("this test needs Chromium; install it with: apt-get install chromium chromium-driver")
    with Browser(commands, tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsAuthority:
    """A certificate authority: contexts for servers of any name, and for clients that trust them."""
    return TlsAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in set(threading.enumerate()) - before - _kept_by_asgiref() if not thread.daemon]
    if left:
        # asgiref leaves a loop's thread to the garbage collector, and a traceback may hold on to it.
        gc.collect()
    for thread in left:
        thread.join(_THREADS_END_WITHIN / len(left))
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"the test left threads running: {', '.join(alive)}"


def _kept_by_asgiref() -> set[threading.Thread]:
    # asgiref runs all thread-sensitive code on one thread of the process, and keeps that one by design.
    asgiref_sync = sys.modules.get("asgiref.sync")
    return set(asgiref_sync.SyncToAsync.single_thread_executor._threads) if asgiref_sync else set()


@pytest.fixture(autouse=True, scope="module")
def what_a_file_leaves_to_the_collector() -> Iterator[None]:
    """Collected at the end of the file, so that what Python complains of then is this file's fault and no other's."""
    yield
    gc.collect()
