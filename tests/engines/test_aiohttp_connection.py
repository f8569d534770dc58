"""Guards on what the engine aiohttp leans on: aiohttp's own protocol, which is no part of its documented API."""

from __future__ import annotations

import asyncio
import inspect

from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from resilient_http.engines.aiohttp_connection import Connection
from resilient_http.engines.aiohttp_engine import PARSING

OVERRIDDEN = {
    "connection_made", "data_received", "pause_reading", "resume_reading", "set_exception", "pause_writing",
    "resume_writing", "connection_lost", "abort",
}  # fmt: skip


def test_aiohttps_protocol_has_what_the_engine_asks_of_it():
    assert inspect.signature(ResponseHandler.set_response_params).parameters.keys() > {"skip_payload", *PARSING}
    for name in (*OVERRIDDEN, "force_close", "is_connected", "should_close", "read"):
        assert hasattr(ResponseHandler, name), name
    for name in ("exception", "is_eof", "read", "read_nowait", "readany", "set_exception"):
        assert hasattr(StreamReader, name), name


async def _with_a_loop(ask):
    loop = asyncio.get_running_loop()
    return ask(loop)


def test_no_name_of_ours_hides_one_of_aiohttps():
    theirs = asyncio.run(_with_a_loop(lambda loop: {*dir(ResponseHandler(loop))}))
    ours = asyncio.run(_with_a_loop(lambda loop: {*vars(Connection(loop, OSError, 4.0)), *vars(Connection)}))
    hidden = {name for name in ours & theirs if not name.startswith("__")}

    assert hidden <= OVERRIDDEN | {*vars(asyncio.run(_with_a_loop(ResponseHandler)))}
    own = {"used", "idle_limit", "content", "_broken", "_socket", "_attempt", "_limit", "_late", "_alarm", "_fires_at"}
    assert not (own | {"_held", "_full", "_room", "_look"}) & theirs
