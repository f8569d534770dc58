"""Telemetry alone: the tracer sees each attempt as it is sent, and a listener hears of each one's end."""

from __future__ import annotations

import pytest

from resilient_http.call import Attempt, Call
from resilient_http.events import AttemptFinished, Hub
from resilient_http.policies.telemetry import TelemetryPolicy
from resilient_http.ports.simulated import SimulatedFailure, SimulatedPort, SimulatedReply
from resilient_http.state.outcome import Fault, Outcome
from tests.simulation.world import ended


class Tracer:
    """Writes down what it is asked, beside what is sent."""

    detail = None

    def __init__(self, log, token=None):
        self.log = log
        self.token = token

    def begin_attempt(self, attempt):
        self.log.append("begin")
        return self.token

    def leave_attempt(self, token):
        self.log.append(("leave", token))


TRACED = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),)


def run(tracer, *, log=None, listeners=(), answer=None, headers=TRACED):
    log = [] if log is None else log

    def respond(attempt, now):
        log.append("send")
        return 0.25, answer or SimulatedReply(200)

    port = SimulatedPort(respond)
    call = Call(port, "GET", started=0.0)
    call.headers = headers
    call.enter("payments", None, "GET", repeatable=True, replayable=True)
    attempt = Attempt(call, 0.0)
    attempt.entry.endpoint = "http://n1"

    async def whole():
        try:
            await TelemetryPolicy(tracer, Hub(listeners))(attempt, port.send)
        except BaseException as exc:
            attempt.conclude(Outcome.UNANSWERED)
            attempt.end(port.now(), exc)
            raise
        attempt.conclude(Outcome.SUCCESS)
        attempt.end(port.now())

    ended(port, whole())


def test_the_trace_is_put_into_the_attempt_before_it_is_sent():
    log = []
    run(Tracer(log), log=log)
    assert log == ["begin", "send"]


def test_without_a_trace_the_tracer_is_not_asked():
    log = []
    run(Tracer(log), log=log, headers=())
    assert log == ["send"]


def test_what_the_tracer_changed_for_the_attempt_is_changed_back():
    log = []
    run(Tracer(log, token="token"), log=log)
    assert log == ["begin", "send", ("leave", "token")]


def test_it_is_changed_back_after_a_failure_too():
    log = []
    with pytest.raises(SimulatedFailure):
        run(Tracer(log, token="token"), log=log, answer=Fault.BROKEN)
    assert log == ["begin", "send", ("leave", "token")]


def test_a_listener_hears_of_the_end_with_all_that_is_known():
    events = []
    run(Tracer([]), listeners=[events.append])
    assert events == [AttemptFinished("payments", "http://n1", 1, 0.25, 200, None, "success")]


def test_a_listener_hears_of_a_failure():
    events = []
    with pytest.raises(SimulatedFailure):
        run(Tracer([]), listeners=[events.append], answer=Fault.BROKEN)
    error = "SimulatedFailure: broken off"
    assert events == [AttemptFinished("payments", "http://n1", 1, 0.25, None, error, "unanswered")]


def test_a_listener_that_raises_changes_nothing(caplog):
    events = []

    def broken(event):
        raise LookupError("broken")

    run(Tracer([]), listeners=[broken, events.append])
    assert len(events) == 1
    assert "a listener failed on AttemptFinished" in caplog.text
