"""Guard: the policies around code that is not HTTP, sync and async, and together with calls that are."""

from __future__ import annotations

import inspect
import os
import threading
import time
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from resilient_http import (
    CircuitOpen,
    DeadlineExceeded,
    Resilience,
    Saturated,
    SettingsError,
    deadline,
    detached,
    journal_of,
    remaining,
)
from resilient_http.events import AttemptFinished, CallFinished, CircuitOpened
from resilient_http.ports.sync import drive
from tests.live.servers import answer, hang

QUICK = {"retry": {"backoff": {"base": 0.001}}}


@dataclass(frozen=True)
class Way:
    """How a guarded function is written and called."""

    kind: str

    def guard(self, resilience, function, name="inventory-db", **options):
        """`function` (sync) guarded, as something to await."""
        decorate = resilience.guard(name, **options)
        if self.kind == "sync":
            guarded = decorate(function)

            async def call(*args):
                return guarded(*args)

            return call

        @decorate
        async def asynchronous(*args):
            await anyio.lowlevel.checkpoint()
            return function(*args)

        return asynchronous

    def run(self, body):
        return drive(body()) if self.kind == "sync" else anyio.run(body, backend=self.kind)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def way(request):
    return Way(request.param)


def guards(**settings):
    return {"guards": {"inventory-db": {**QUICK, **settings}}}


async def never():
    """Stands after a sync function that has raised."""


class Database:
    """Raises what it is told, in turn, then answers."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.asked = 0

    def __call__(self, *args):
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return args or None


def test_a_result_passes_through_whatever_it_is(way):
    resilience = Resilience()

    async def body():
        ask = way.guard(resilience, Database())
        return await ask(), await ask(1)

    assert way.run(body) == (None, (1,))
    assert resilience.status()["guards"]["inventory-db"]["endpoints"][0]["circuit"]["state"] == "closed"


def test_an_idempotent_function_is_repeated(way):
    database = Database(ConnectionError("lost"), ConnectionError("lost"))

    async def body():
        return await way.guard(Resilience(guards()), database, idempotent=True)("a")

    assert way.run(body) == ("a",)
    assert database.asked == 3


def test_any_other_is_not_and_its_exception_passes_as_it_is(way):
    error = ConnectionError("lost")

    async def body():
        with pytest.raises(ConnectionError) as caught:
            await way.guard(Resilience(guards()), Database(error))()
        return caught.value

    raised = way.run(body)
    assert raised is error
    journal = journal_of(raised)
    assert "CALL inventory-db: attempt 1 at guard://inventory-db: ConnectionError: lost" in str(journal)
    assert "is not idempotent" in str(journal)


def test_its_circuit_opens_and_says_so(way):
    events = []
    resilience = Resilience(guards(), listeners=[events.append])
    database = Database(*[OSError("down")] * 9)

    async def body():
        ask = way.guard(resilience, database)
        for _ in range(5):
            with pytest.raises(OSError, match="down"):
                await ask()
        with pytest.raises(CircuitOpen, match="circuit of inventory-db"):
            await ask()

    way.run(body)
    assert database.asked == 5
    assert [event.upstream for event in events if isinstance(event, CircuitOpened)] == ["inventory-db"]
    assert len([event for event in events if isinstance(event, AttemptFinished)]) == 6 - 1
    assert [event.error for event in events if isinstance(event, CallFinished)] == ["OSError"] * 5 + ["CircuitOpen"]
    assert list(resilience.circuits("inventory-db")) == ["guard://inventory-db"]
    assert resilience.status()["guards"]["inventory-db"]["endpoints"][0]["circuit"]["state"] == "open"


def test_what_is_ignored_is_neither_repeated_nor_counted(way):
    resilience = Resilience(guards())
    database = Database(*[KeyError("no such row")] * 30)

    async def body():
        ask = way.guard(resilience, database, idempotent=True, ignore=LookupError)
        for _ in range(30):
            with pytest.raises(KeyError):
                await ask()
        return await ask()

    way.run(body)
    assert database.asked == 31


def test_repeats_stay_within_the_budget(way):
    database = Database(*[OSError("down")] * 100)
    resilience = Resilience(guards(circuit=None))

    async def body():
        ask = way.guard(resilience, database, idempotent=True)
        for _ in range(20):
            with pytest.raises(OSError, match="down"):
                await ask()

    way.run(body)
    assert 20 < database.asked <= 20 * 1.2 + 4


def test_functions_of_one_name_share_what_they_reach(way):
    resilience = Resilience(guards())

    async def body():
        bad = way.guard(resilience, Database(*[OSError("down")] * 5))
        for _ in range(5):
            with pytest.raises(OSError, match="down"):
                await bad()
        with pytest.raises(CircuitOpen):
            await way.guard(resilience, Database())()
        return await way.guard(resilience, Database(), name="orders-db")()

    way.run(body)


def test_the_deadline_reaches_the_function_and_the_calls_in_it(way):
    seen = []

    def look():
        seen.append(remaining())

    async def body():
        resilience = Resilience({"guards": {"inventory-db": {"timeout": {"total": 5.0, "attempt": 2.0}}}})
        ask = way.guard(resilience, look)
        await ask()
        with deadline(1.0):
            await ask()
            with detached():
                await way.guard(resilience, look)()
        await way.guard(Resilience({"guards": {"inventory-db": {"timeout": {"total": None}}}}), look)()
        seen.append(remaining())

    way.run(body)
    assert seen[0] == pytest.approx(2.0, abs=0.1)
    assert seen[1] == pytest.approx(1.0, abs=0.1)
    assert seen[2] == pytest.approx(2.0, abs=0.1)
    assert seen[3:] == [None, None]


def test_nothing_is_called_when_the_deadline_has_passed(way):
    database = Database()

    async def body():
        with deadline(0), pytest.raises(DeadlineExceeded) as caught:
            await way.guard(Resilience(guards()), database)()
        return caught.value

    assert way.run(body).upstream == "inventory-db"
    assert database.asked == 0


def test_nested_guards_and_requests_share_the_deadline(caller, fault_server):
    server = fault_server(hang())
    resilience = caller.resilience({"upstreams": {"payments": {"endpoints": [server.url]}}})

    async def body(client):
        if caller.kind == "sync":

            @resilience.guard("outer")
            def outer():
                return inner()

            @resilience.guard("inner")
            def inner():
                return client.client.get("http://payments/")
        else:

            @resilience.guard("outer")
            async def outer():
                return await inner()

            @resilience.guard("inner")
            async def inner():
                return await client.get("http://payments/")

        began = time.monotonic()
        with deadline(0.3), pytest.raises(caller.errors.DeadlineExceeded) as caught:
            await (outer() or never())
        assert journal_of(caught.value).upstream == "outer"
        return time.monotonic() - began

    assert caller.run(resilience, body) == pytest.approx(0.3, abs=0.15)


def test_a_timeout_error_at_the_deadline_is_deadline_exceeded(way):
    def patient():
        time.sleep(remaining())
        raise TimeoutError

    async def body():
        with deadline(0.1), pytest.raises(DeadlineExceeded) as caught:
            await way.guard(Resilience(guards()), patient)()
        return caught.value

    assert isinstance(way.run(body).__cause__, TimeoutError)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_async_function_is_cut(backend):
    resilience = Resilience({"guards": {"inventory-db": {"timeout": {"total": 1.0, "attempt": 0.1}, **QUICK}}})
    begun = []

    @resilience.guard("inventory-db", idempotent=True)
    async def hangs():
        begun.append(time.monotonic())
        await anyio.sleep(10)

    async def body():
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"no result within 0\.1 s"):
            await hangs()
        assert time.monotonic() - began < 0.6
        with deadline(0.05), pytest.raises(DeadlineExceeded):
            await hangs()

    anyio.run(body, backend=backend)
    assert len(begun) == 4
    assert resilience.status()["guards"]["inventory-db"]["concurrency"]["in_flight"] == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_function_gives_its_permit_back(backend):
    resilience = Resilience(guards())

    @resilience.guard("inventory-db")
    async def hangs():
        await anyio.sleep(10)

    async def body():
        with anyio.move_on_after(0.05):
            await hangs()

    anyio.run(body, backend=backend)
    status = resilience.status()["guards"]["inventory-db"]
    assert (status["concurrency"]["in_flight"], status["endpoints"][0]["in_flight"]) == (0, 0)


def test_a_limit_refuses_what_is_too_much():
    resilience = Resilience(guards(concurrency={"limit": 1, "queue": 0}))
    entered, leave = threading.Event(), threading.Event()

    @resilience.guard("inventory-db")
    def waits():
        entered.set()
        leave.wait(5)

    thread = threading.Thread(target=waits)
    thread.start()
    entered.wait(5)
    with pytest.raises(Saturated):
        waits()
    leave.set()
    thread.join()


def test_one_that_calls_itself_is_told_why_it_waits_and_nothing_about_connections():
    guard = Resilience(guards(concurrency={"limit": 1, "queue": 0})).guard("inventory-db")

    @guard
    def down(steps):
        return steps and down(steps - 1)

    with pytest.raises(Saturated, match="calls itself waits for itself") as caught:
        down(1)
    assert "pool" not in str(caught.value)


def test_a_refusal_further_down_is_no_failure_of_what_is_guarded(fault_server):
    server = fault_server(answer(503))
    resilience = Resilience({"upstreams": {"payments": {"endpoints": [server.url], "retry": None}}})
    resilience.circuits("payments")[server.url].open()

    with resilience, resilience.client() as client:

        @resilience.guard("outer", idempotent=True)
        def outer():
            return client.get("http://payments/")

        for _ in range(30):
            with pytest.raises(CircuitOpen, match="circuit of payments"):
                outer()
    assert resilience.status()["guards"]["outer"]["retries"].get("made", 0) == 0


def test_a_guarded_function_looks_like_itself_and_keeps_its_context():
    resilience = Resilience()
    variable = ContextVar("variable", default=0)

    @resilience.guard("inventory-db")
    def stock(item: str, *, at: int = 0) -> int:
        """How many there are."""
        variable.set(at)
        return at

    assert (stock.__name__, stock.__doc__) == ("stock", "How many there are.")
    assert list(inspect.signature(stock).parameters) == ["item", "at"]
    assert stock("x", at=3) == 3
    assert variable.get() == 3

    class Shop:
        @resilience.guard("inventory-db")
        async def stock(self, item):
            return item

    assert inspect.iscoroutinefunction(Shop.stock)
    assert anyio.run(Shop().stock, 5) == 5


def test_what_cannot_be_guarded_is_refused_where_it_is_written():
    resilience = Resilience({"upstreams": {"payments": {"endpoints": ["http://n1"]}}})

    def generator():
        yield

    async def async_generator():
        yield

    class Generates:
        def __call__(self):
            yield

    lazy = (generator, async_generator, contextmanager(generator), asynccontextmanager(async_generator), Generates())
    for wrong in (*lazy, *map(partial, lazy), Database, 7):
        with pytest.raises(TypeError, match="takes functions, sync or async"):
            resilience.guard("inventory-db")(wrong)
    for name in ("Inventory DB", "payments", "", 7):
        with pytest.raises(SettingsError):
            resilience.guard(name)
    for ignore in ("KeyError", (KeyError, 7)):
        with pytest.raises(SettingsError, match="ignore"):
            resilience.guard("inventory-db", ignore=ignore)


def test_switched_off_it_only_calls(monkeypatch, way):
    database = Database(*[OSError("down")] * 9)

    async def body():
        ask = way.guard(Resilience({"enabled": False}), database, idempotent=True)
        for _ in range(9):
            with pytest.raises(OSError, match="down") as caught:
                await ask()
            assert journal_of(caught.value) is None

    way.run(body)


def test_a_forked_child_has_a_circuit_of_its_own():
    resilience = Resilience(guards())
    database = Database(*[OSError("down")] * 5)
    guarded = resilience.guard("inventory-db")(database)
    for _ in range(5):
        with pytest.raises(OSError, match="down"):
            guarded()
    pid = os.fork()
    if not pid:
        try:
            guarded()
        except BaseException:  # noqa: BLE001 - the child tells by its exit code
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with pytest.raises(CircuitOpen):
        guarded()
