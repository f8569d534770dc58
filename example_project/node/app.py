"""A payments node: tells the fee of an order, and can be told to misbehave.

    /fees/<order>       {"fee": ..., "node": ...}, in about 5 ms
    /control/well       from now on it answers as it should
    /control/drip       from now on it sends a byte of its body every 0.1 s: no read timeout ever fires
    /control/fail       from now on it answers 503

It stops as soon as its caller closes the connection. In the file that NODE_LOG names it notes the order before it
answers, so that the count outlives a SIGKILL, and afterwards the order with the monotonic seconds at which it began and
ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from example_project.observed import with_spans

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MOODS = ("well", "drip", "fail")
WORK = 0.005
DRIP = 0.1


class Node:
    """The ASGI application."""

    def __init__(self, name: str, log: str) -> None:
        self._name = name
        self._mood = "well"
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        _, kind, what = (scope["path"] + "//").split("/")[:3]
        if kind == "fees":
            await self._fee(what, receive, send)
        elif kind == "control" and what in MOODS:
            self._mood = what
            await _answer(send, 200, {"node": self._name, "mood": what})
        else:
            await _answer(send, 404, {"error": f"ask for /fees/<order>, or /control/ and one of {', '.join(MOODS)}"})

    async def _fee(self, order: str, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        self._note(order)
        work = asyncio.create_task(self._tell_fee(send))
        gone = asyncio.create_task(_until_gone(receive))
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        for task in (work, gone):
            task.cancel()
        self._note(order, began, time.monotonic())

    async def _tell_fee(self, send: Send) -> None:
        await asyncio.sleep(WORK)
        if self._mood == "fail":
            await _answer(send, 503, {"error": "out of order", "node": self._name})
        elif self._mood == "drip":
            await self._drip(_body({"fee": "0.30", "node": self._name}), send)
        else:
            await _answer(send, 200, {"fee": "0.30", "node": self._name})

    def _note(self, *words: object) -> None:
        os.write(self._log, (" ".join(map(str, words)) + "\n").encode())

    async def _drip(self, body: bytes, send: Send) -> None:
        await _start(send, 200, len(body))
        for position in range(len(body)):
            if self._mood != "drip":
                await send({"type": "http.response.body", "body": body[position:]})
                return
            await send({"type": "http.response.body", "body": body[position : position + 1], "more_body": True})
            await asyncio.sleep(DRIP)
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, content: object) -> None:
    body = _body(content)
    await _start(send, status, len(body))
    await send({"type": "http.response.body", "body": body})


async def _start(send: Send, status: int, length: int) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _body(content: object) -> bytes:
    return json.dumps(content).encode()


app = with_spans(Node(os.environ.get("NODE_NAME", "node"), os.environ.get("NODE_LOG", os.devnull)), "payments")
