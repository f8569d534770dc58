"""etcd v3: keys, read once and watched from there, over its JSON gateway.

    POST /v3/auth/authenticate    name, password → a token for the header Authorization
    POST /v3/kv/range             the keys, and the revision at which they were so
    POST /v3/watch                a line of JSON for each change from the next revision on

A watch that says nothing for `interval` seconds is left, and everything is read anew: so a connection that died is
noticed, and what was told is known to hold still. So it is when the revision was compacted, or the watch ended. Keys of
a lease that expired are deleted by etcd, which the watch tells like any other change.

Source: etcd 3.4, "etcd API Reference" and "Why gRPC gateway"; tried with etcd 3.4.
"""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from resilient_http.settings.registries import EtcdAccess
from resilient_http.upstreams.sources.control import Control
from resilient_http.upstreams.sources.source import SourceFailed

PACE = 1.0  # seconds, at most, between a watch that was ended and the next one


class EtcdKeys:
    """One key, or all keys with a prefix.

    Args:
        settings: Whom to ask, and who asks.
        library: httpx, or httpx2.
        timeout: Seconds to wait for an answer.
        interval: Seconds without a word after which everything is read anew.
        keys: The keys, as one_key() and below() say it.
    """

    def __init__(
        self, settings: EtcdAccess, library: Any, timeout: float, interval: float, keys: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._interval = interval
        self._control = Control(library, settings.url, settings.tls, timeout)
        self._range = dict(keys)
        self._token: str | None = None

    def watch(self, stop: threading.Event) -> Iterator[Mapping[str, str]]:
        """The values now, and after each change, by key; both are in base64."""
        while not stop.is_set():
            values, revision = self._read()
            yield values
            ended = True
            for change in self._changes(revision + 1):
                if change is None:
                    ended = False
                    break
                _apply(values, change)
                yield values
            if ended:
                stop.wait(random.uniform(PACE / 2, PACE))

    def close(self) -> None:
        """End the watch."""
        self._control.close()

    def _read(self) -> tuple[dict[str, str], int]:
        said = self._ask("/v3/kv/range", self._range)
        try:
            values = {pair["key"]: pair.get("value", "") for pair in said.get("kvs", ())}
            return values, int(said["header"]["revision"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise SourceFailed("garbage: the answer is not that of etcd") from None

    def _changes(self, revision: int) -> Iterator[list[Any] | None]:
        """The events of each change from that revision on; None when there was none for a while."""
        create = {"create_request": {**self._range, "start_revision": str(revision)}}
        with self._control.ask(
            "POST", "/v3/watch", headers=self._headers(), quiet=self._interval, json=create
        ) as response:
            try:
                for line in response.iter_lines():
                    said = _result(line)
                    if said.get("compact_revision") or said.get("canceled"):
                        self._token = None  # it may have been cancelled because that is not valid any more
                        return
                    if said.get("events"):
                        yield said["events"]
            except self._control.silence:
                yield None

    def _ask(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            return self._control.json("POST", path, headers=self._headers(), json=body)
        except SourceFailed:
            self._token = None  # it may have lapsed; the next watch has a new one
            raise

    def _headers(self) -> dict[str, str]:
        user, password = self._settings.user, self._settings.password
        if user is None or password is None:
            return {}
        if self._token is None:
            try:
                said = self._control.json(
                    "POST",
                    "/v3/auth/authenticate",
                    headers={},
                    json={"name": user, "password": password.get_secret_value()},
                )
                self._token = str(said["token"])
            except SourceFailed as exc:
                raise SourceFailed(f"authentication: {exc.why}") from None
            except (KeyError, TypeError):
                raise SourceFailed("authentication: it gave no token") from None
        return {"authorization": self._token}


def one_key(key: str) -> dict[str, str]:
    """That key alone."""
    return {"key": _encoded(key.encode())}


def below(prefix: str) -> dict[str, str]:
    """All keys with that prefix."""
    start = prefix.encode()
    return {"key": _encoded(start), "range_end": _encoded(_end(start))}


def _apply(values: dict[str, str], events: list[Any]) -> None:
    """Change what is known as a change of etcd's says."""
    try:
        for event in events:
            pair = event["kv"]
            if event.get("type") == "DELETE":
                values.pop(pair["key"], None)
            else:
                values[pair["key"]] = pair.get("value", "")
    except (AttributeError, KeyError, TypeError):
        raise SourceFailed("garbage: the watch is not that of etcd") from None


def _result(line: str) -> Any:
    try:
        said = json.loads(line) if line.strip() else {}
        result = said.get("result", {})
        result.get("events")
    except (AttributeError, ValueError, RecursionError):
        raise SourceFailed("garbage: the watch is no JSON") from None
    if "error" in said:
        raise SourceFailed("the watch was refused")
    return result


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _end(prefix: bytes) -> bytes:
    """The end of the range of all keys with that prefix: the prefix, its last byte that can be raised by one."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\x00"
