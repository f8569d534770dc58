"""A call inside transaction.atomic() is told with its view, or refused; so is a sync client in an async view."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from django.db import connection, connections, transaction
from django.test import AsyncClient, Client

from resilient_http import MisplacedCall
from resilient_http_django import get_client
from resilient_http_django.clients import handled
from resilient_http_django.transactions import in_transaction
from tests.live.processes import served
from tests.live.servers import FaultServer, answer
from tests.resilient_http_django.project import views

VIEWS = "tests.resilient_http_django.project.views"
UVICORN = ["uvicorn", "--fd", "FD", "--log-level", "warning", "tests.resilient_http_django.project.asgi:application"]
REFUSE = {"IN_TRANSACTION": "refuse", "IN_EVENT_LOOP": "refuse"}

real_transactions = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.WARNING, logger="resilient_http.misplaced")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "resilient_http.misplaced"]


@real_transactions
@pytest.mark.parametrize(("path", "view"), [("/sync/pay", "pay"), ("/sync/pay-class", "Pay")])
def test_a_view_that_calls_in_a_transaction_is_named_once(payments, told, path, view):
    payments(answer(200, "paid"))
    for _ in range(2):
        assert Client().get(path).json() == {"body": "paid"}

    (message,) = told()
    assert message.startswith(f"GET http://payments by view {VIEWS}.{view}, at {views.__file__}:")
    assert "inside a database transaction (default)" in message


@real_transactions
async def test_under_asgi_too(payments, told):
    payments(answer(200, "paid"))
    assert (await AsyncClient().get("/sync/pay")).json() == {"body": "paid"}

    (message,) = told()
    assert f"by view {VIEWS}.pay, at {views.__file__}:" in message


@real_transactions
def test_it_may_be_refused_and_then_nothing_is_sent(payments):
    server = payments(answer(200, "paid"), MISPLACED=REFUSE)
    response = Client().get("/sync/pay")

    assert f"by view {VIEWS}.pay" in response.json()["error"]
    assert server.requests == []


@real_transactions
def test_a_refusal_that_nobody_catches_is_a_mistake_and_no_503(payments):
    payments(answer(200, "paid"), MISPLACED=REFUSE)
    with transaction.atomic(), pytest.raises(MisplacedCall, match=r"GET http://payments, at .*test_transactions.py:"):
        get_client().get("http://payments/")


@real_transactions
@pytest.mark.parametrize("path", ["/sync/pay-after", "/sync/pay-in-thread", "/sync/charge"])
def test_what_is_called_outside_of_it_is_as_it_should_be(payments, told, path):
    payments(answer(200, "paid"), MISPLACED=REFUSE)

    assert Client().get(path).json()["body"] == "paid"
    assert told() == []


@real_transactions
def test_atomic_requests_are_transactions(payments, told, monkeypatch):
    payments(answer(200, "paid"))
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert Client().get("/sync/charge").json()["body"] == "paid"

    (message,) = told()
    assert f"by view {VIEWS}.charge, at" in message
    assert "(default, by ATOMIC_REQUESTS or transaction.atomic())" in message


@pytest.mark.django_db
def test_those_of_djangos_testcase_are_none_but_those_within_are(payments, told):
    payments(answer(200, "paid"))
    assert connection.in_atomic_block
    get_client().get("http://payments/")
    assert told() == []
    with transaction.atomic():
        get_client().get("http://payments/")
    assert len(told()) == 1


def test_no_connection_is_made_to_find_out():
    def ask():
        return connections.all(initialized_only=True), in_transaction(), connections.all(initialized_only=True)

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result() == ([], None, [])


def test_nothing_is_left_of_a_request_when_it_has_ended(payments, told):
    payments(answer(200, "paid"))
    Client().get("/sync/charge")
    assert handled.get() is None


async def test_a_sync_client_in_an_async_view_is_told_with_where(payments, told):
    payments(answer(200, "paid"))
    await AsyncClient().get("/async/blocking")

    (message,) = told()
    assert message.startswith(f"GET http://payments with a sync client, at {views.__file__}:")
    assert "in a thread that runs an event loop (asyncio)" in message


@pytest.fixture(scope="module")
def uvicorn():
    with FaultServer() as upstream:
        upstream.play(answer(200, "paid"))
        settings = {"UPSTREAMS": {"payments": {"ENDPOINTS": [upstream.url]}}, "MISPLACED": REFUSE}
        with served(UVICORN, {"PROJECT_RESILIENT_HTTP": json.dumps(settings)}) as running:
            yield running


@pytest.mark.parametrize(("path", "said"), [
    ("/sync/charge", '"body": "paid"'),
    ("/async/charge", '"body": "paid"'),
    ("/sync/bridged?who=me", '"body": "paid"'),
    ("/sync/pay-after", '"body": "paid"'),
    ("/sync/pay", f"by view {VIEWS}.pay, at "),
    ("/async/blocking", "with a sync client, at "),
])  # fmt: skip
def test_behind_a_real_asgi_server_sync_views_have_no_loop_and_their_transactions_are_seen(uvicorn, path, said):
    assert said in httpx.get(uvicorn.url + path, timeout=30).text
