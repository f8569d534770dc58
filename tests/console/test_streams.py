"""Streams of a real uvicorn: bounded, given back when a browser leaves, and no reason not to end."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import httpx
import pytest

from resilient_http.console.web import LASTS, STREAMS
from tests.live.processes import served
from tests.live.sharing_process import within

UVICORN = ["uvicorn", "--fd", "FD", "tests.console.service:app"]


@pytest.fixture
def service():
    upstreams = {"payments": {"endpoints": ["http://127.0.0.1:1"]}}
    with served(UVICORN, {"RESILIENT_HTTP_UPSTREAMS": json.dumps(upstreams)}) as made:
        yield made


def first_line(client):
    with client.stream("GET", "/resilience/events") as answer:
        return next(answer.iter_lines())


def test_there_are_so_many_at_once_and_who_leaves_gives_his_back(service):
    with httpx.Client(base_url=service.url, timeout=30, limits=httpx.Limits(max_connections=None)) as client:
        with ExitStack() as streams:
            kept = []  # an iterator that is dropped ends its response
            for _ in range(STREAMS):
                answer = streams.enter_context(client.stream("GET", "/resilience/events"))
                kept.append(answer.iter_lines())
                assert next(kept[-1]) == "retry: 1000"
            assert first_line(client) == "retry: 3000"
        within(LASTS / 2, lambda: first_line(client) == "retry: 1000")


def test_a_stream_ends_by_itself_and_the_next_one_begins_with_everything(service):
    with httpx.Client(base_url=service.url, timeout=30) as client:
        begun = time.monotonic()
        with client.stream("GET", "/resilience/events") as answer:
            kinds = [line.removeprefix("event: ") for line in answer.iter_lines() if line.startswith("event: ")]
        assert LASTS - 1 < time.monotonic() - begun < LASTS + 5
        assert kinds[0] == "snapshot"
        assert set(kinds[1:]) == {"change"}


def test_a_server_that_is_to_end_waits_no_longer_than_for_a_stream(service):
    with httpx.Client(base_url=service.url, timeout=30) as client, client.stream("GET", "/resilience/events") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        begun = time.monotonic()
        service.process.terminate()
        for _ in lines:
            pass
        status, output = service.wait()
    assert time.monotonic() - begun < LASTS + 5
    assert "Traceback" not in output
    assert "Application shutdown complete" in output
    assert status in (0, -15)
