"""What calls leave behind in memory."""

from __future__ import annotations

import gc
import types

import httpx

from resilient_http import Resilience


def test_failures_that_were_repeated_leave_no_frames_behind():
    failing = iter([True, False] * 100)

    def handler(_):
        if next(failing):
            raise httpx.ConnectError("refused")
        return httpx.Response(200)

    settings = {"defaults": {"retry": {"backoff": {"base": 0.0001}, "budget": None}, "circuit": None}}
    with Resilience(settings) as resilience, resilience.client(transport=httpx.MockTransport(handler)) as client:
        client.get("http://api.example/")
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            client.get("http://api.example/")
            gc.collect()
            left = [thing for thing in gc.garbage if isinstance(thing, types.FrameType)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()

    assert left == []
