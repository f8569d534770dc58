"""A guarded function on a virtual clock: the same rings, and nothing waits."""

from __future__ import annotations

import pytest

from resilient_http.call import Call
from resilient_http.errors import DeadlineExceeded
from resilient_http.events import Hub, RetryScheduled
from resilient_http.guard import GuardPort, upstream_settings
from resilient_http.pipeline import compose_guard
from resilient_http.ports.simulated import SimulatedPort
from resilient_http.settings.guards import GuardSettings
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.upstream import Upstream
from tests.simulation.world import ended


class Guarded:
    """What is behind a function, on a clock of its own."""

    def __init__(self, function, **settings):
        self.port = SimulatedPort(lambda attempt, now: (0.0, None))
        self.function = function
        self.events = []
        hub, own = Hub([self.events.append]), GuardSettings(**settings)
        settings = upstream_settings(own)
        nodes = Nodes("inventory-db", settings, hub, origin=("guard", "inventory-db", 0))
        self.upstream = Upstream("inventory-db", settings, lambda upstream, _: compose_guard(upstream, own, hub), nodes)

    def call(self, *, idempotent=True):
        port = GuardPort(self.port, lambda: self.function(self.port))
        call = Call(port, "CALL", started=self.port.now())
        call.enter("inventory-db", None, "CALL", repeatable=idempotent, replayable=True)
        return ended(self.port, self.upstream.pipeline.run(call)).value


def test_it_is_repeated_with_backoff():
    asked = []

    async def ask(port):
        asked.append(port.now())
        await port.sleep(1.0)
        if len(asked) < 3:
            raise OSError("down")
        return "rows"

    guarded = Guarded(ask, retry={"backoff": {"jitter": "constant", "base": 0.5}})
    assert guarded.call() == "rows"
    assert asked == [0.0, 1.5, 3.0]
    assert [event.delay for event in guarded.events if isinstance(event, RetryScheduled)] == [0.5, 0.5]


def test_no_repeat_begins_that_does_not_fit_into_the_deadline():
    async def ask(port):
        await port.sleep(2.0)
        raise OSError("down")

    guarded = Guarded(ask, timeout={"total": 3.0}, retry={"backoff": {"jitter": "constant", "base": 1.5}})
    with pytest.raises(OSError, match="down"):
        guarded.call()
    assert guarded.port.now() == 2.0


def test_what_to_repeat_may_be_a_function_of_the_exception():
    asked = []

    async def ask(port):
        asked.append(port.now())
        raise (OSError if len(asked) < 2 else LookupError)("down")

    guarded = Guarded(ask, retry={"classify": lambda error: isinstance(error, OSError)})
    with pytest.raises(LookupError):
        guarded.call()
    assert len(asked) == 2


def test_a_timeout_after_the_deadline_says_whose_it_was():
    async def ask(port):
        await port.sleep(4.0)
        raise TimeoutError

    with pytest.raises(DeadlineExceeded, match="inventory-db: the deadline of 3 s passed"):
        Guarded(ask, timeout={"total": 3.0}).call()
