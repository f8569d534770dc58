"""Network: was it the endpoint that was silent, or were we late ourselves?"""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import pytest

from resilient_http.engines.network import Allowance, note_if_late
from resilient_http.engines.sync_network import SyncStream


def noted(late, *, allowed=0.5):
    """Why the attempt says that we stalled, when a timeout fired so many seconds late."""
    attempt = SimpleNamespace(stalled="")
    note_if_late(Allowance.of(allowed, attempt), allowed, time.monotonic() - (allowed or 0.0) - late)
    return attempt.stalled


@pytest.mark.parametrize("late", [-0.01, 0.0, 0.05])
def test_a_timeout_that_fires_in_time_says_nothing_of_us(late):
    assert noted(late) == ""


@pytest.mark.parametrize("late", [0.1001, 0.11, 5.0])
def test_a_timeout_that_fires_over_100_ms_late_means_that_we_stalled(late):
    assert noted(late).startswith("a timeout of 0.5 s fired ")
    assert noted(late).endswith(" s late")


def test_what_was_not_allowed_a_time_was_not_late():
    assert noted(5.0, allowed=None) == ""


def test_a_timeout_that_belongs_to_no_attempt_is_nobodys():
    note_if_late(0.5, 0.5, time.monotonic() - 5.0)


@pytest.mark.parametrize("backend", ["httpcore", "httpcore2"])
def test_a_connection_that_another_thread_has_closed_ends_in_the_engines_own_errors(backend):
    core = pytest.importorskip(backend)
    ours, theirs = socket.socketpair()
    stream = SyncStream(core, ours, lambda timeout: None, renewable=False)
    ours.close()
    theirs.close()
    with pytest.raises(core.ReadError):
        stream.read(10)
    with pytest.raises(core.WriteError):
        stream.write(b"x")
