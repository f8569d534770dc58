"""Health checks over real sockets: beside the calls, with none of their policies, and never in anybody's way."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from resilient_http import DeadlineExceeded, Resilience, Scope, enter_scope
from resilient_http.events import EndpointHealthy, EndpointUnhealthy
from resilient_http.settings.endpoints import EndpointSettings
from tests.live.servers import FaultServer, answer, gated, hang
from tests.telemetry.sdk import tracing

ROOT = Path(__file__).parents[2]
LONG = 20.0  # seconds that a test waits for what takes a fraction of one
THREAD = "resilient-http health"


class Node:
    """A server that answers calls, and checks at /health as it is told.

    Attributes:
        ill: What checks are answered with while it is ill.
    """

    def __init__(self, fault_server: Callable[..., FaultServer], **options: Any) -> None:
        self.ill = False
        self.server = fault_server(self._choose, **options)

    def _choose(self, request):
        return answer(503) if self.ill and request.target == "/health" else answer(200)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def checks(self) -> list[Any]:
        return [request for request in list(self.server.requests) if request.target == "/health"]

    @property
    def calls(self) -> int:
        return len([request for request in list(self.server.requests) if request.target != "/health"])


@pytest.fixture
def node(fault_server):
    return lambda **options: Node(fault_server, **options)


def settings(*nodes: Any, **own: Any) -> dict[str, Any]:
    health = {"path": "/health", "interval": 0.05, "timeout": 5.0, **own.pop("health", {})}
    endpoints = [each if isinstance(each, str) else each.url for each in nodes]
    return {"upstreams": {"payments": {"endpoints": endpoints, "health": health, **own}}}


async def until(condition: Callable[[], object]) -> None:
    """Wait for it, on whatever runs here."""
    give_up = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < give_up, "it never came to that"
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if "trio" in sys.modules and sys.modules["trio"].lowlevel.in_trio_run():
                await anyio.sleep(0.01)
            else:
                time.sleep(0.01)
        else:
            await asyncio.sleep(0.01)


def until_now(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < give_up, "it never came to that"
        time.sleep(0.01)


def health_of(resilience: Resilience) -> list[dict[str, Any]]:
    return resilience.status()["upstreams"]["payments"]["endpoints"]


def test_a_node_that_is_ill_gets_no_calls_until_it_is_well(caller, node):
    one, two, three = node(), node(), node()
    one.ill = True
    events: list[Any] = []
    resilience = caller.resilience(settings(one, two, three), listeners=[events.append])

    def told(kind):
        return [event for event in events if isinstance(event, kind)]

    async def body(client):
        await client.get("http://payments/")
        await until(lambda: told(EndpointUnhealthy))
        before = one.calls
        for _ in range(30):
            assert (await client.get("http://payments/")).status_code == 200
        assert one.calls == before
        first = health_of(resilience)[0]
        assert (first["out"], first["reasons"]) == (True, {"unhealthy": None})
        assert (first["health"]["healthy"], first["health"]["why"]) == (False, "status 503")
        assert first["circuit"]["state"] == "closed"
        one.ill = False
        await until(lambda: told(EndpointHealthy))
        for _ in range(60):
            await client.get("http://payments/")
        assert one.calls > before

    caller.run(resilience, body)

    assert told(EndpointUnhealthy) == [EndpointUnhealthy("payments", one.url, "status 503")]
    assert told(EndpointHealthy) == [EndpointHealthy("payments", one.url)]
    assert len(one.checks) >= 5
    assert {each.method for each in one.checks} == {"GET"}
    assert one.checks[0].header("host") == one.url.removeprefix("http://")


def test_a_node_that_hangs_and_one_that_refuses_are_ill_and_hold_up_no_check_of_others(
    caller, node, fault_server, refused_url
):
    hanging = fault_server(lambda request: hang() if request.target == "/health" else answer(200))
    well = node()
    resilience = caller.resilience(settings(hanging, refused_url, well, health={"timeout": 0.3}))

    async def body(client):
        await client.get("http://payments/")
        await until(lambda: [each["health"]["healthy"] for each in health_of(resilience)] == [False, False, True])

    caller.run(resilience, body)

    whys = [each["health"]["why"] for each in health_of(resilience)]
    assert whys == ["ReadTimeout", "ConnectError", None] or whys[0] in ("ReadTimeout", "TimeoutError")
    assert len(well.checks) > 2 * len(hanging.requests)


def test_a_check_goes_as_calls_do_over_tls_to_its_own_name(caller, node, tls):
    one = node(tls=tls.server_context("pay.example"))
    own = {"host": "pay.example", "tls": {"verify": str(tls.ca_file)}, "health": {"headers": {"X-Api-Key": "hunter2"}}}
    resilience = caller.resilience(settings(one, **own))

    async def body(client):
        await client.get("http://payments/")
        await until(lambda: len(one.checks) >= 2)
        assert health_of(resilience)[0]["health"]["why"] is None

    caller.run(resilience, body)

    assert one.checks[0].header("host") == "pay.example"
    assert one.checks[0].header("x-api-key") == "hunter2"
    assert set(one.server.server_names) == {"pay.example"}


def test_secrets_are_in_no_event_no_log_and_no_status(node, fault_server, caplog):
    caplog.set_level(logging.DEBUG)
    breaking = fault_server(hang())
    events: list[Any] = []
    health = {"headers": {"X-Api-Key": "hunter2"}, "timeout": 0.05}
    own = {"health": health, "timeout": {"total": 0.5}}
    with (
        Resilience(settings(breaking, **own), listeners=[events.append]) as resilience,
        resilience.client() as client,
    ):
        with pytest.raises(DeadlineExceeded):
            client.get("http://payments/")
        until_now(lambda: any(isinstance(event, EndpointUnhealthy) for event in events))
        told = [resilience.status(), events, resilience, resilience.settings, resilience.settings.upstreams]
    assert breaking.requests[-1].header("x-api-key") or len(breaking.requests) > 1
    assert "hunter2" not in "".join(map(repr, told)) + caplog.text + json.dumps(told[0])


def test_checks_take_no_permit_and_no_token(caller, node):
    gate = threading.Event()
    one = node()
    one.server.play(lambda request: gated(gate) if request.target == "/slow" else answer(200))
    own = {"concurrency": {"limit": 1, "queue": 0}, "rate_limit": {"rate": 0.001, "burst": 1}}
    resilience = caller.resilience(settings(one, **own))

    async def body(client):
        response = await client.open_stream("http://payments/")
        await until(lambda: len(one.checks) >= 3)
        assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 1
        assert health_of(resilience)[0]["health"]["why"] is None
        assert health_of(resilience)[0]["in_flight"] == 1
        await client.close_stream(response)

    caller.run(resilience, body)
    gate.set()


@pytest.mark.parametrize("instrumented", [False, True], ids=["ours", "contrib"])
def test_checks_are_in_no_trace(caller, node, instrumented):
    one = node()
    parent = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    with tracing(instrumented=instrumented) as spans, enter_scope(Scope(None, (parent,))):
        resilience = caller.resilience(settings(one))

        async def body(client):
            await client.get("http://payments/")
            await until(lambda: len(one.checks) >= 3)

        caller.run(resilience, body)
        assert len(spans.attempts) == len(spans.calls) == 1

    assert not any(check.header("traceparent") or check.header("tracestate") for check in one.checks)
    assert one.server.requests[0].header("traceparent") or one.server.requests[1].header("traceparent")


def test_a_node_that_has_come_is_checked_soon_and_one_that_has_gone_no_longer(caller, node):
    one, two = node(), node()
    resilience = caller.resilience(settings(one, health={"interval": 60.0}))
    nodes = resilience.dispatcher.registry.named["payments"].nodes

    async def body(client):
        await client.get("http://payments/")
        await until(lambda: one.checks)
        nodes.replace([EndpointSettings(url=two.url)], time.monotonic())
        await until(lambda: two.checks)
        assert [each["url"] for each in health_of(resilience)] == [two.url]

    caller.run(resilience, body)


def test_other_settings_are_followed_while_it_goes_on(node):
    one = node()
    resilience = Resilience(settings(one, health={"interval": 60.0}))
    with resilience, resilience.client() as client:
        client.get("http://payments/")
        until_now(lambda: one.checks)
        resilience.reload(settings(one, health={"path": "/other"}))
        until_now(lambda: [request.target for request in one.server.requests].count("/other") >= 2)
        one.server.play(lambda request: answer(503) if request.target == "/other" else answer(200))
        until_now(lambda: not health_of(resilience)[0]["health"]["healthy"])
        resilience.reload({"upstreams": {"payments": {"endpoints": [one.url]}}})
        assert (health_of(resilience)[0]["health"], health_of(resilience)[0]["reasons"]) == (None, {})
        time.sleep(0.3)  # what was under way
        before = len(one.server.requests)
        time.sleep(0.3)
        assert len(one.server.requests) == before


# One checker per process


def test_there_is_one_checker_for_all_clients_threads_and_loops(node):
    one = node()
    resilience = Resilience(settings(one, health={"interval": 0.5}))

    async def in_loop():
        async with resilience.async_client() as client:
            for _ in range(20):
                await client.get("http://payments/")
                await asyncio.sleep(0.01)

    def in_thread():
        with resilience.client() as client:
            for _ in range(20):
                client.get("http://payments/")
                time.sleep(0.01)

    threads = [threading.Thread(target=in_thread) for _ in range(4)]
    threads += [threading.Thread(target=lambda: asyncio.run(in_loop())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until_now(lambda: len(one.checks) >= 6)
    resilience.close()
    # Those of a loop that was there first may have been begun anew by the thread.
    instants = [check.received_at for check in one.checks][-5:]
    assert instants[-1] - instants[0] > 4 * 0.5 * 0.8 - 0.3


def test_close_ends_it_and_the_next_call_begins_it_anew(caller, node):
    one = node()
    resilience = caller.resilience(settings(one))

    async def body(client):
        await client.get("http://payments/")
        seen = len(one.checks)
        await until(lambda: len(one.checks) >= seen + 2)

    caller.run(resilience, body)
    time.sleep(0.2)  # what was under way
    before = len(one.checks)
    time.sleep(0.5)
    assert len(one.checks) == before
    caller.run(resilience, body)
    assert len(one.checks) >= before + 2


def test_it_ends_with_its_resilience(node):
    one = node()

    def checking():
        return [thread for thread in threading.enumerate() if thread.name == THREAD]

    before = len(checking())
    resilience = Resilience(settings(one, health={"interval": 600.0}))
    resilience.client().get("http://payments/")
    assert len(checking()) == before + 1
    until_now(lambda of=resilience: of.status()["upstreams"]["payments"]["endpoints"][0]["health"]["ago"] is not None)
    resilience.sync_port.close()  # else Python complains of its connections, and none is made any more
    del resilience

    def gone():
        gc.collect()
        return len(checking()) == before

    until_now(gone)


def test_a_client_with_a_transport_of_its_own_begins_none(node):
    one = node()
    resilience = Resilience(settings(one))
    with resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        client.get("http://payments/")
    assert resilience._control._checks._beat is None
    assert one.checks == []


def test_switched_off_there_are_no_checks(node):
    one = node()
    with Resilience({**settings(one), "enabled": False}) as resilience:
        resilience.client().get("http://payments/")
        assert resilience._control._checks._beat is None


# Event loops


def test_the_next_calls_loop_takes_over_when_a_loop_has_ended(node):
    one = node()
    resilience = Resilience(settings(one))

    async def body():
        async with resilience.async_client() as client:
            await client.get("http://payments/")
            seen = len(one.checks)
            await until(lambda: len(one.checks) >= seen + 2)
            assert not resilience._control._checks._beat.threaded
            return resilience._control._checks._beat

    assert asyncio.run(body()) is not asyncio.run(body())


def test_a_thread_takes_over_where_loops_are_too_short_lived_for_a_check(node):
    one = node()
    with Resilience(settings(one, health={"interval": 0.5})) as resilience:

        async def body():
            async with resilience.async_client() as client:
                await client.get("http://payments/")

        for _ in range(2):
            asyncio.run(body())
        until_now(lambda: len(one.checks) >= 2)
        assert resilience._control._checks._beat.threaded


def test_a_sync_call_moves_them_to_a_thread_and_async_ones_leave_them_there(node):
    one = node()

    async def body():
        async with Resilience(settings(one)) as resilience:
            async_client = resilience.async_client()
            await async_client.get("http://payments/")
            await until(lambda: one.checks)
            await asyncio.to_thread(lambda: resilience.client().get("http://payments/"))
            assert resilience._control._checks._beat.threaded
            await async_client.get("http://payments/")
            assert resilience._control._checks._beat.threaded
            seen = len(one.checks)
            await until(lambda: len(one.checks) >= seen + 2)

    asyncio.run(body())


def test_one_that_cancels_or_awaits_all_tasks_does_not_wait_for_checks(node):
    one = node()

    async def body():
        async with Resilience(settings(one, health={"interval": 0.2})) as resilience:
            await resilience.async_client().get("http://payments/")
            await until(lambda: one.checks)
            async with asyncio.timeout(LONG):
                await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()} or [asyncio.create_task(noop())])

    async def noop():
        pass

    asyncio.run(body())


# Processes


def run(code: str, *servers: FaultServer) -> subprocess.CompletedProcess[str]:
    """Python that is told the URLs, and in which every warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *(each.url for each in servers)],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=ROOT,
        check=False,
    )


SETUP = """
import asyncio, os, sys, time
from resilient_http import Resilience

resilience = Resilience({"upstreams": {"payments": {
    "endpoints": [sys.argv[1]], "health": {"path": "/health", "interval": 0.05, "timeout": 300},
}}})


async def work(seconds=0.5):
    client = resilience.async_client()
    await client.get("http://payments/")
    await asyncio.sleep(seconds)
"""

ENDS = {
    "sync": "with resilience.client() as client:\n    client.get('http://payments/')\ntime.sleep(0.5)",
    "closed": "with resilience:\n    resilience.client().get('http://payments/')\n    time.sleep(0.5)",
    "asyncio.run": "asyncio.run(work())",
    "aclose": """
async def main():
    async with resilience:
        await work()

asyncio.run(main())
""",
    "a loop of one's own": """
async def main():
    async with resilience:
        await work()

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
""",
    "two loops": "asyncio.run(work())\nasyncio.run(work())",
    "between two checks": "asyncio.run(work(0.0))",
    "trio": """
import trio

async def main():
    await resilience.async_client().get("http://payments/")
    await trio.sleep(0.5)

trio.run(main)
""",
    "exit": "asyncio.run(work())\nsys.exit(0)",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_check_that_hangs_holds_up_no_end_and_leaves_nothing_to_complain_of(end, fault_server):
    server = fault_server(lambda request: hang() if request.target == "/health" else answer(200))
    began = time.monotonic()
    finished = run(SETUP + ENDS[end], server)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert time.monotonic() - began < 45.0


def test_a_loop_that_is_closed_under_a_check_does_not_complain_of_a_task(fault_server):
    server = fault_server(lambda request: hang() if request.target == "/health" else answer(200))
    code = """
import gc

loop = asyncio.new_event_loop()
loop.run_until_complete(work())
loop.close()
del loop, resilience


async def another():  # what is kept for a loop is let go of with the first call in another one
    async with Resilience() as another, another.async_client() as client:
        await client.get(sys.argv[1])


asyncio.run(another())
gc.collect()
print("collected")
"""
    finished = run(
        SETUP.replace("import asyncio", "import logging; logging.basicConfig()\nimport asyncio") + code, server
    )
    assert (finished.returncode, finished.stdout) == (0, "collected\n")
    assert "Task was destroyed" not in finished.stderr
    assert "never awaited" not in finished.stderr


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_forked_child_begins_anew(kind, node):
    one = node()
    code = """
    def call():
        if sys.argv[2] == "sync":
            resilience.client().get("http://payments/")
            time.sleep(0.5)
        else:
            asyncio.run(work(0.5))

    call()
    before = resilience._control._checks._beat
    child = os.fork()
    if not child:
        call()
        after = resilience._control._checks._beat
        os._exit(0 if after not in (before, None) and after.done else 1)
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
    """
    told = subprocess.run(
        [
            # Python 3.12 warns of a fork beside the thread of the checks, which is what is tried out.
            sys.executable, "-W", "ignore:This process:DeprecationWarning",
            "-c", SETUP + textwrap.dedent(code), one.url, kind,
        ],
        capture_output=True, text=True, timeout=50, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")
