"""Calls that are made where they hold up more than their own caller are told, once, with where; or refused."""

import asyncio
import inspect
import logging

import anyio
import httpx
import pytest
import trio

from resilient_http import MisplacedCall, Resilience
from resilient_http.misplaced import running_loop
from tests.live.servers import answer

LOGGER = "resilient_http.misplaced"


@pytest.fixture
def payments(fault_server):
    """Makes the upstream "payments", and a Resilience that goes by settings of `misplaced`."""
    server = fault_server(answer(200, "paid"))
    made = []

    def make(misplaced=None, **options):
        settings = {"upstreams": {"payments": {"endpoints": [server.url]}}} | options.pop("settings", {})
        resilience = Resilience(settings | ({} if misplaced is None else {"misplaced": misplaced}), **options)
        made.append(resilience)
        return resilience

    make.server = server
    yield make
    for resilience in made:
        resilience.close()


@pytest.fixture
def told(caplog):
    """What the log has said of misplaced calls."""
    caplog.set_level(logging.WARNING, logger=LOGGER)
    return lambda: [record.getMessage() for record in caplog.records if record.name == LOGGER]


def line():
    """The number of the line that asks."""
    return inspect.currentframe().f_back.f_lineno


async def test_a_sync_client_in_an_event_loop_is_told_once_for_each_line_with_where(payments, told, anyio_backend_name):
    with payments().client() as client:
        for _ in range(3):
            client.get("http://payments/")
            first = line() - 1
        client.get("http://payments/")
        second = line() - 1

    one, two = told()
    assert one == (
        f"GET http://payments with a sync client, at {__file__}:{first}, in a thread that runs an event loop "
        f"({anyio_backend_name}): nothing else runs in it until the answer is there; use an async client, or call it "
        "in a thread (misplaced.in_event_loop)"
    )
    assert f"{__file__}:{second}," in two


async def test_so_is_one_that_streams_and_a_client_of_the_users_own(payments, told):
    resilience = payments()
    with resilience.client() as client, client.stream("GET", "http://payments/") as response:
        streamed = line() - 1
        response.read()
    with httpx.Client(transport=resilience.transport()) as client:
        client.get("http://payments/")
        own = line() - 1

    assert [message.split(" at ")[1].split(", in a thread")[0] for message in told()] == [
        f"{__file__}:{streamed}",
        f"{__file__}:{own}",
    ]


async def test_it_may_be_refused_and_then_nothing_is_sent(payments, told):
    with payments({"in_event_loop": "refuse"}).client() as client:
        for _ in range(2):
            with pytest.raises(MisplacedCall, match=r"GET http://payments with a sync client, at .*test_misplaced.py:"):
                client.get("http://payments/")

    assert payments.server.requests == []
    assert told() == []


async def test_nothing_is_said_where_that_is_asked_for(payments, told):
    with payments({"in_event_loop": "ignore"}).client() as client:
        client.get("http://payments/")

    assert told() == []


async def test_a_thread_beside_the_loop_and_an_async_client_are_as_they_should_be(payments, told):
    resilience = payments({"in_event_loop": "refuse"})
    with resilience.client() as client:
        response = await anyio.to_thread.run_sync(client.get, "http://payments/")
    async with resilience.async_client() as client:
        again = await client.get("http://payments/")
    await resilience.aclose()

    assert (response.text, again.text) == ("paid", "paid")
    assert told() == []


async def test_query_and_credentials_are_not_told(payments, told):
    with payments().client() as client:
        client.get("http://payments/?card=4711")
        client.get(payments.server.url.replace("//", "//user:hunter2@") + "/?card=4711")

    assert len(told()) == 2
    assert "4711" not in "".join(told())
    assert "hunter2" not in "".join(told())


async def test_a_reload_is_in_effect_at_once(payments):
    resilience = payments({"in_event_loop": "refuse"})
    with resilience.client() as client:
        with pytest.raises(MisplacedCall):
            client.get("http://payments/")
        resilience.reload({"upstreams": {"payments": {"endpoints": [payments.server.url]}}})
        assert client.get("http://payments/").text == "paid"


async def test_plain_httpx_is_asked_for_then_nothing_is_looked_at(payments, told):
    with payments({"in_event_loop": "refuse"}, settings={"enabled": False}).client() as client:
        client.get(payments.server.url)

    assert told() == []


async def test_what_is_guarded_is_not_looked_at(payments):
    resilience = payments({"in_event_loop": "refuse"}, in_transaction=lambda: ("", "default"))

    @resilience.guard("db")
    def query():
        return 42

    assert query() == 42


def test_an_event_loop_is_known_from_a_thread_without_one():
    async def inside():
        return running_loop()

    async def beside():
        return await anyio.to_thread.run_sync(running_loop)

    assert asyncio.run(inside()) == "asyncio"
    assert trio.run(inside) == "trio"
    assert asyncio.run(beside()) is None
    assert trio.run(beside) is None
    assert running_loop() is None


VIEW = "view shop.views.pay"


def test_a_call_in_a_transaction_is_told_once_for_each_view(payments, told):
    opened = [(VIEW, "default")]
    with payments(in_transaction=lambda: opened[0]).client() as client:
        client.get("http://payments/")
        first = line() - 1
        client.get("http://payments/")
        opened[0] = ("view shop.views.refund", "default")
        client.get("http://payments/")
        opened[0] = None
        client.get("http://payments/")

    one, two = told()
    assert one == (
        f"GET http://payments by view shop.views.pay, at {__file__}:{first}, inside a database transaction (default): "
        "its locks and its connection are held until the answer is there; call before it begins, or after it is "
        "committed (misplaced.in_transaction)"
    )
    assert "by view shop.views.refund, at" in two


def test_without_a_view_it_is_told_once_for_each_line(payments, told):
    with payments(in_transaction=lambda: ("", "default")).client() as client:
        for _ in range(2):
            client.get("http://payments/")
        client.get("http://payments/")

    assert len(told()) == 2
    assert f"GET http://payments, at {__file__}:" in told()[0]


async def test_an_async_client_in_a_transaction_is_told_too_and_may_be_refused(payments, told):
    resilience = payments(in_transaction=lambda: (VIEW, "default"))
    async with resilience.async_client() as client:
        await client.get("http://payments/")
        where = f"{__file__}:{line() - 1}"
    await resilience.aclose()
    refusing = payments({"in_transaction": "refuse"}, in_transaction=lambda: (VIEW, "default"))
    async with refusing.async_client() as client:
        with pytest.raises(MisplacedCall, match=r"by view shop\.views\.pay"):
            await client.get("http://payments/")
    await refusing.aclose()

    (message,) = told()
    assert where in message
    assert len(payments.server.requests) == 1


def test_who_cannot_tell_breaks_no_call_and_is_logged_once(payments, told):
    def broken():
        raise LookupError("broken")

    with payments({"in_transaction": "refuse"}, in_transaction=broken).client() as client:
        assert [client.get("http://payments/").text for _ in range(2)] == ["paid"] * 2

    assert told() == ["it could not be told whether a transaction is open"]


def test_nobody_is_asked_where_it_is_ignored(payments):
    def never():
        raise AssertionError("asked")

    with payments({"in_transaction": "ignore"}, in_transaction=never).client() as client:
        assert client.get("http://payments/").text == "paid"
