"""Work that may take too long is cut; work that does not costs no timer."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from resilient_http.engines.time_limit import within


async def test_what_ends_in_time_gives_its_result():
    async def work():
        await anyio.lowlevel.checkpoint()
        await anyio.sleep(0.001)
        return "done"

    assert await within(5.0, work()) == "done"


async def test_what_takes_too_long_is_cancelled_and_told():
    ended = []

    async def work():
        try:
            await anyio.sleep(30)
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await within(0.02, work())
    assert ended == [True]


async def test_an_exception_passes_whether_it_suspends_or_not():
    async def at_once():
        raise LookupError

    async def later():
        await anyio.sleep(0.001)
        raise LookupError

    for work in (at_once, later):
        with pytest.raises(LookupError):
            await within(5.0, work())


async def test_work_may_use_cancel_scopes_of_its_own():
    async def work():
        with anyio.move_on_after(0.01):
            await anyio.sleep(30)
        return "moved on"

    assert await within(5.0, work()) == "moved on"


async def test_a_cancellation_from_outside_is_not_a_timeout():
    reached = []

    async def work():
        await anyio.sleep(30)

    async def wait():
        await within(20.0, work())
        reached.append(True)

    with anyio.move_on_after(0.02) as scope:
        await wait()
    assert scope.cancelled_caught
    assert reached == []


def test_on_asyncio_work_that_never_suspends_sets_no_timer():
    async def work():
        return "done"

    async def main():
        loop = asyncio.get_running_loop()
        before = len(loop._scheduled)
        assert await within(5.0, work()) == "done"
        return len(loop._scheduled) - before

    assert asyncio.run(main()) == 0
