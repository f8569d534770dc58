"""Events as Django's signals: receivers hear of what happens, and can break nothing."""

import asyncio
import logging
import re
import time
from pathlib import Path

import pytest
from django.dispatch import receiver
from django.test import AsyncClient, Client

from resilient_http.events import CallFinished, CircuitOpened, Event
from resilient_http_django import get_client, get_resilience, signals
from tests.live.servers import answer

# What is measured rather than told, for there is one for each call or more.
MEASURED = {
    "AttemptFinished", "RetryScheduled", "RetrySuppressed", "HedgeSent", "HedgeFinished", "HedgeSuppressed",
    "LimitChanged", "Observed",
}  # fmt: skip
ALONE = {"DEFAULTS": {"RETRY": None, "CIRCUIT": {"STREAK": 2, "QUIET_STREAK": 2}}}


@pytest.fixture
def connect():
    """Connects a receiver for one test."""
    connected = []

    def connect(signal, function):
        signal.connect(function, weak=False)
        connected.append((signal, function))

    yield connect
    for signal, function in connected:
        signal.disconnect(function)


def test_a_receiver_hears_that_a_circuit_opened(payments, connect):
    server = payments(answer(503), **ALONE)
    told = []
    connect(signals.circuit_opened, lambda sender, event, **_: told.append((sender, event)))

    for _ in range(2):
        get_client().get("http://payments/")

    ((sender, event),) = told
    assert sender is CircuitOpened
    assert (event.upstream, event.endpoint) == ("payments", server.url)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_receiver_hears_of_degraded_calls_and_no_others(payments, connect, kind):
    server = payments(answer(200), DEFAULTS={"RETRY": None})
    told = []
    connect(signals.call_degraded, lambda sender, event, **_: told.append((sender, event.degraded)))

    def visit():
        if kind == "sync":
            Client().get("/sync/charge")
        else:
            asyncio.run(AsyncClient().get("/async/charge"))

    visit()
    assert told == []
    server.play(answer(503))
    visit()
    assert told == [(CallFinished, "failed")]


def test_a_receiver_that_raises_breaks_nothing_and_is_logged_once(payments, connect, caplog):
    payments(answer(503), DEFAULTS={"RETRY": None})
    told = []

    def broken(**_):
        raise LookupError("broken")

    connect(signals.call_degraded, broken)
    connect(signals.call_degraded, lambda event, **_: told.append(event))
    with caplog.at_level(logging.ERROR):
        assert Client().get("/sync/charge").status_code == 200

    assert len(told) == 1
    assert [record.name for record in caplog.records if record.levelno == logging.ERROR] == ["django.dispatch"]


def test_nobody_listens_while_no_receiver_is_connected(payments, connect):
    payments(answer(503))
    hub = get_resilience()._hub
    before = hub.listeners

    signals.panic_began.connect(print)
    signals.circuit_closed.connect(print)
    assert len(hub.listeners) == len(before) + 1
    signals.panic_began.disconnect(print)
    assert len(hub.listeners) == len(before) + 1
    signals.circuit_closed.disconnect(print)
    assert hub.listeners == before


def test_receivers_hear_of_the_resilience_that_takes_the_place_of_another(payments, connect):
    told = []
    connect(signals.call_degraded, lambda event, **_: told.append(event.upstream))
    for _ in range(2):
        payments(answer(503), DEFAULTS={"RETRY": None})  # other settings: another Resilience
        get_client().get("http://payments/")

    assert told == ["payments", "payments"]


def test_the_decorator_of_django_works_and_reloads_are_told(payments):
    payments(answer())
    told = []

    @receiver([signals.settings_reloaded, signals.switch_thrown])
    def hear(sender, event, **_):
        told.append(type(event).__name__)

    try:
        resilience = get_resilience()
        resilience.reload({"upstreams": {"payments": {"endpoints": ["http://127.0.0.1:9"]}}}, by="me")
        resilience.switch("payments").retries_off(for_=5, by="me")
        until = time.monotonic() + 5
        while len(told) < 2 and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        signals.settings_reloaded.disconnect(hear)
        signals.switch_thrown.disconnect(hear)
    assert told == ["SettingsReloaded", "SwitchThrown"]


def test_an_async_receiver_is_refused_where_it_is_connected():
    async def hear(**_): ...

    with pytest.raises(TypeError, match="are plain functions"):
        signals.circuit_opened.connect(hear)


def test_every_event_has_a_signal_or_is_measured():
    events = {event.__name__ for event in Event.__subclasses__()}
    assert set(signals.OF_EVENTS) | MEASURED | {"CallFinished"} == events
    assert not set(signals.OF_EVENTS) & MEASURED


def test_the_page_names_every_signal_and_no_other():
    page = (Path(__file__).parents[2] / "docs/django.md").read_text()
    told = page.split("<!-- signals -->")[1].split("<!-- /signals -->")[0]
    made = {name for name, value in vars(signals).items() if isinstance(value, signals.EventSignal)}
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == made
