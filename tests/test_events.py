"""The hub: every listener hears of everything, and none can disturb a call."""

from __future__ import annotations

import copy
import pickle

import pytest

from resilient_http.events import CircuitClosed, CircuitHalfOpened, CircuitOpened, EndpointHealthy, Event, Hub

OPENED = CircuitOpened("payments", "http://n1", 5.0)
CLOSED = CircuitClosed("payments", "http://n1")


def test_every_listener_hears_of_every_event_in_order():
    first, second = [], []
    hub = Hub([first.append, second.append])
    hub.emit(OPENED)
    hub.emit(CLOSED)
    assert first == second == [OPENED, CLOSED]


def test_a_listener_that_raises_is_logged_and_the_others_hear_of_it_all_the_same(caplog):
    told = []

    def broken(event):
        raise LookupError("broken")

    Hub([broken, told.append]).emit(OPENED)
    assert told == [OPENED]
    assert "a listener failed on CircuitOpened" in caplog.text


def test_nobody_listens_by_default():
    assert Hub().listeners == ()


def test_what_cannot_be_called_is_refused_at_once():
    with pytest.raises(TypeError, match="a listener is a function of one event"):
        Hub([object()])


def test_an_event_cannot_be_changed():
    with pytest.raises(AttributeError):
        OPENED.retry_in = 1.0


def test_events_of_two_kinds_differ_whatever_they_say():
    assert CircuitHalfOpened("payments", "http://n1") != EndpointHealthy("payments", "http://n1")
    assert CircuitHalfOpened("payments", "http://n1") == CircuitHalfOpened("payments", endpoint="http://n1")
    assert len({OPENED, CircuitOpened("payments", "http://n1", 5.0), CLOSED}) == 2


def test_an_event_can_be_matched_copied_and_pickled():
    match pickle.loads(pickle.dumps(copy.deepcopy(OPENED))):
        case CircuitOpened(upstream="payments", retry_in=seconds, cause=""):
            assert seconds == 5.0
        case other:
            pytest.fail(f"{other} is not {OPENED}")
    assert repr(OPENED) == "CircuitOpened(upstream='payments', endpoint='http://n1', retry_in=5.0, cause='')"
    assert OPENED.as_dict() == {"upstream": "payments", "endpoint": "http://n1", "retry_in": 5.0, "cause": ""}
    assert isinstance(OPENED, Event)


def test_a_listener_that_listens_already_hears_once_and_may_leave():
    told = []
    hub = Hub([told.append])
    hub.add(told.append)
    hub.emit(OPENED)
    hub.remove(told.append)
    hub.emit(CLOSED)
    assert told == [OPENED]
    with pytest.raises(TypeError, match="a listener is a function of one event"):
        hub.add(None)
