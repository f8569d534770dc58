"""Beats: what is done beside the calls, in threads or in a loop, and in nobody's way."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading

import pytest

from resilient_http.engines.backend import load_backend
from resilient_http.events import Hub
from resilient_http.ports.asynchronous import AsyncPort
from resilient_http.ports.beats import Beats
from resilient_http.ports.sync import SyncPort

VARIABLE = contextvars.ContextVar("variable", default="none")


class Owner:
    """What a beat asks. It has each of its works done once, and then nothing."""

    def __init__(self, *works):
        self.works = list(works)
        self.asked = threading.Event()

    def due(self, now):
        works, self.works = self.works, []
        self.asked.set()
        return works, 600.0


@pytest.fixture
def beats():
    backend, hub = load_backend("httpx"), Hub()
    variables = contextvars.Context()
    variables.run(VARIABLE.set, "ours")
    return Beats(SyncPort(backend, hub), AsyncPort(backend, hub), variables)


def noting(seen):
    """A work that notes where it was done, and what it saw."""

    async def work(port):
        seen.append((port.is_async, VARIABLE.get()))

    return work


async def until(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


async def never(port):
    await asyncio.get_running_loop().create_future()


def test_in_threads_works_are_done_with_variables_of_their_own(beats):
    VARIABLE.set("the call's")
    ended = threading.Event()
    seen = []

    async def work(port):
        seen.append((port.is_async, VARIABLE.get(), threading.current_thread() is threading.main_thread()))
        ended.set()

    owner = Owner(work)
    beat = beats.begin(owner.due, threaded=True)
    assert ended.wait(10.0)
    beat.end()
    assert seen == [(False, "ours", False)]
    assert (beat.threaded, beat.alive) == (True, False)


def test_in_a_loop_works_are_tasks_with_variables_of_their_own(beats):
    seen = []

    async def main():
        VARIABLE.set("the call's")
        owner = Owner(noting(seen))
        beat = beats.begin(owner.due, threaded=False)
        await until(lambda: beat.done)
        assert beat.alive
        beat.end()
        return beat

    beat = asyncio.run(main())
    assert seen == [(True, "ours")]
    assert (beat.threaded, beat.alive) == (False, False)


@pytest.mark.parametrize("threaded", [True, False])
def test_it_asks_again_when_it_is_woken(beats, threaded):
    seen = []

    async def main():
        owner = Owner()
        beat = beats.begin(owner.due, threaded=threaded)
        await until(owner.asked.is_set)
        owner.works = [noting(seen)]
        await asyncio.to_thread(beat.wake)
        await until(lambda: beat.done)
        beat.end()

    asyncio.run(main())
    assert seen == [(not threaded, "ours")]


def test_in_a_loop_what_is_under_way_is_cancelled_at_the_end(beats):
    async def main():
        owner = Owner(never)
        beat = beats.begin(owner.due, threaded=False)
        await until(lambda: len(asyncio.all_tasks()) == 2)
        await asyncio.to_thread(beat.end)
        await beat.ended()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_loop_that_ends_needs_not_wait_and_one_that_is_closed_does_not_complain(beats, caplog):
    async def main():
        beats.kept = Owner(never)
        beats.begin(beats.kept.due, threaded=False)
        await until(lambda: len(asyncio.all_tasks()) == 2)

    asyncio.run(main())  # cancels it
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    del loop
    gc.collect()
    assert caplog.text == ""


@pytest.mark.parametrize("threaded", [True, False])
def test_it_ends_when_its_owner_is_gone(beats, threaded):
    async def main():
        owner = Owner()
        beat = beats.begin(owner.due, threaded=threaded)
        await until(owner.asked.is_set)
        thread = [each for each in threading.enumerate() if each.name == "resilient-http health"]
        del owner
        gc.collect()
        for each in thread:
            await asyncio.to_thread(each.join, 10.0)
            assert not each.is_alive()
        if not threaded:
            beat.wake()
            await asyncio.sleep(0.01)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_it_serves_the_calls_of_the_shared_engines_alone(beats):
    backend, hub = load_backend("httpx"), Hub()
    assert beats.serve(beats._sync)
    assert beats.serve(beats._asynchronous)
    assert not beats.serve(SyncPort(backend, hub))
    assert not beats.serve(AsyncPort(backend, hub))
