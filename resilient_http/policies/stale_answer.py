"""Stale answer: the last good response of the same request, kept beside the calls, for when its origin fails.

What may be kept and what may answer is state/stored_response.py's to say. A store in this process is asked directly.
One outside of it is written beside the calls, and read within a short time, only when a call has failed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from resilient_http.call import Call
from resilient_http.policies import said_by
from resilient_http.state.response_memory import ResponseMemory
from resilient_http.state.stored_response import (
    StoredResponse,
    fields_of,
    has_content,
    has_credentials,
    may_be_kept,
    pack,
    unpack,
    varying,
    with_variant,
    without_hops,
)
from resilient_http.state.tally import Tally

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, section 9.2.1
SAYS_NOTHING = frozenset({408, 429})  # of the 4xx: they speak of time and load, not of the resource

Key = Callable[[Any], Any]
"""A request: whose answer it is, in a word, or None (or "") to keep none."""


class Store(Protocol):
    """Where answers are kept outside this process; Django's caches are such. Called in threads of ours."""

    def get(self, key: str, /) -> bytes | None:
        """What was set, or None."""

    def set(self, key: str, value: bytes, ttl: float, /) -> object:
        """Keep it for so many seconds."""

    def delete(self, key: str, /) -> object:
        """Keep it no longer."""


class StaleAnswer:
    """The last good answer to the same request.

    Args:
        store: A memory of this process, or a store outside.
        max_age: Seconds after which an answer is too old.
        key: Tells requests of different people apart, or None: then requests with credentials are left alone.
        wait: Most seconds that a call which has failed waits for a store outside.
        tally: Counts what a store outside could not do.
    """

    kind = "stale"

    def __init__(
        self, store: ResponseMemory | Store, max_age: float, key: Key | None, wait: float, tally: Tally
    ) -> None:
        self._memory = store if isinstance(store, ResponseMemory) else None
        self._store: Any = store
        self._max_age = max_age
        self._key = key
        self._wait = wait
        self._tally = tally

    async def answer(self, call: Call, failure: Any) -> Any:
        """The newest that may answer, or None."""
        asked, port = asked_by(call), call.port
        if call.method != "GET" or has_content(asked):
            return None
        if self._key is None and (call.signed or has_credentials(asked)):
            return None
        key = self._key_of(call, asked)
        if key is None:
            return None
        if self._memory is not None:
            kept = self._memory.get(key, port.now())
        else:
            packed = await port.fetch(self._store, partial(self._guarded, self._store.get, key), self._wait)
            kept = unpack(packed)
            if packed is not None and not kept:
                self._tally.add("store failed")
        wall_now = port.wall_now()
        for stored in kept:
            if stored.answers(asked, wall_now=wall_now, max_age=self._max_age):
                lines = tuple(line for line in stored.headers if line[0] != "age")
                age = str(int(stored.current_age(wall_now)))
                try:
                    return port.reply(stored.status, (*lines, ("age", age)), stored.body)
                except ValueError:
                    self._tally.add("unreadable" if self._store is self._memory else "store failed")
        return None

    def keep(self, call: Call, reply: Any) -> None:
        """Keep a good answer; forget what a 4xx, or an unsafe method, has made untrue."""
        status = reply.status_code
        if call.method in SAFE:
            if call.method != "GET" or status == 304 or status in SAYS_NOTHING:
                return
            if status < 400:
                self._learn(call, reply)
                return
        elif status >= 400:
            return
        # A 4xx is an answer too: what was kept before it is not true any more. And RFC 9111, section 4.4.
        key = self._key_of(call, asked_by(call))
        if key is not None and self._memory is not None:
            self._memory.delete(key)
        elif key is not None:
            call.port.beside(self._store, partial(self._guarded, self._store.delete, key))

    def _learn(self, call: Call, reply: Any) -> None:
        port, owned = call.port, self._key is not None
        body = port.body(reply)
        if body is None or (call.signed and not owned):
            return
        lines, asked = port.lines(reply), asked_by(call)
        told = fields_of(lines)
        if not may_be_kept(call.method, asked, reply.status_code, told, owned=owned):
            return
        key = self._key_of(call, asked)
        if key is None:
            return
        now, vary = port.now(), varying(told, asked)
        kept = without_hops(lines, told)
        newest = StoredResponse(port.wall_now(), now - call.started, reply.status_code, kept, body, vary)
        if self._memory is not None:
            others = self._memory.get(key, now) if vary else ()
            self._memory.set(key, with_variant(others, newest), now, self._max_age)
        else:
            port.beside(self._store, partial(self._guarded, self._write, key, newest))

    def _write(self, key: str, newest: StoredResponse) -> None:
        kept = unpack(self._store.get(key)) if newest.vary else ()
        self._store.set(key, pack(with_variant(kept, newest)), self._max_age)

    def _guarded(self, ask: Callable[..., Any], *args: Any) -> Any:
        try:
            return ask(*args)
        except BaseException:  # noqa: BLE001 - a store that is down fails no call and ends no thread; status() counts it
            self._tally.add("store failed")
            return None

    def _key_of(self, call: Call, asked: dict[str, str]) -> str | None:
        request = call.request
        if request is not None and "target" in request.extensions:  # it asks for something else than its URL says
            return None
        owner: Any = ""
        if self._key is not None:
            owner = said_by(self._key, request)
            if owner is None or owner == "":  # nobody's, or it could not tell
                return None
        # The target's URI is the Host header's too (RFC 9110, section 7.1): two tenants at one URL are not each other.
        # Its host and port are in the upstream's name: to have the whole URL written out costs three times as much.
        # None but the owner has a line break, so that no owner can be taken for a part of them.
        target = "" if request is None else f"{request.url.scheme}\n{request.url.raw_path.decode('ascii')}"
        key = f"{call.upstream}\n{asked.get('host', '')}\n{target}\n{owner}"
        if self._memory is not None:
            return key
        # Of one length, and nobody who sees the store's keys sees a token in a URL.
        return f"resilient_http:{hashlib.sha256(key.encode()).hexdigest()}"


def asked_by(call: Call) -> dict[str, str]:
    """The request's header fields; a simulated one may have none."""
    return {} if call.request is None else fields_of(call.port.lines(call.request))
