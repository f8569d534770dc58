"""What Consul's agent answers to health queries, written from its API documentation; there is no Consul to be had here.

https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service
    GET /health/service/:service; dc, tag (may be given several times), passing; an array of Node, Service, Checks.
    Service.Address may be empty: then Node.Address is meant. Service.Weights has Passing and Warning.
https://developer.hashicorp.com/consul/api-docs/kv#read-key
    GET /kv/:key; an array of one Key, Value (base64, null for an empty one), ModifyIndex; 404 where there is none.
https://developer.hashicorp.com/consul/api-docs/features/blocking
    The header X-Consul-Index; with `index` (and `wait`, as "10s" or "5m", limited to 10 minutes, plus up to wait/16)
    the request hangs until the index is higher, or time is up.
https://developer.hashicorp.com/consul/api-docs/api-structure#authentication
    The token in the header X-Consul-Token; a wrong one is answered with 403.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import time
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.live.behaviours import answer
from tests.live.exchange import Behaviour, Exchange, Request
from tests.live.servers import FaultServer

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


class Consul:
    """An agent of one datacenter, "dc1".

    Args:
        token: What clients have to know, or None.

    Attributes:
        index: That of the catalogue. A change raises it.
        server: To look at its requests, or to make it misbehave.
        says: A header's value in place of the index, or None for the index; "" for no header.
    """

    def __init__(self, *, token: str | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.index = 10
        self.says: str | None = None
        self._token = token
        self._instances: dict[str, dict[str, Any]] = {}
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()
        self.server = FaultServer(self.treat, tls=tls)

    @property
    def url(self) -> str:
        return self.server.url

    def register(
        self,
        name: str,
        port: int,
        *,
        service: str = "payments",
        address: str = "",
        tags: tuple[str, ...] = (),
        weight: Any = 1,
        status: str = "passing",
        node: str = "127.0.0.1",
    ) -> None:
        """Put an instance in, or another state of it."""
        entry = {
            "Node": {"ID": f"node-of-{name}", "Node": name, "Address": node, "Datacenter": "dc1", "Meta": {}},
            "Service": {
                "ID": name,
                "Service": service,
                "Tags": list(tags),
                "Address": address,
                "Port": port,
                "Weights": {"Passing": weight, "Warning": 1},
            },
            "Checks": [{"Node": name, "CheckID": "serfHealth", "Status": "passing"}, {"Node": name, "Status": status}],
        }
        with self._changed:
            self._instances[name] = entry
            self._raise()

    def deregister(self, *names: str) -> None:
        with self._changed:
            for name in names:
                self._instances.pop(name, None)
            self._raise()

    def put(self, key: str, value: str) -> None:
        """Set a key of the key/value store."""
        with self._changed:
            self._values[key] = value
            self._raise()

    def take_away(self, key: str) -> None:
        """Delete a key."""
        with self._changed:
            self._values.pop(key, None)
            self._raise()

    def lose_raft(self, index: int) -> None:
        """Its index begins anew, as after a snapshot was restored."""
        with self._changed:
            self.index = index
            self._changed.notify_all()

    def touch(self) -> None:
        """Raise the index although nothing has changed."""
        with self._changed:
            self._raise()

    def _raise(self) -> None:
        self.index += 1
        self._changed.notify_all()

    @property
    def queries(self) -> list[dict[str, list[str]]]:
        """Of the requests so far."""
        return [parse_qs(urlsplit(each.target).query) for each in self.server.requests]

    def treat(self, request: Request) -> Behaviour:
        return Behaviour(lambda exchange: self._answer(exchange, request))

    def _answer(self, exchange: Exchange, request: Request) -> None:
        parts = urlsplit(request.target)
        query = parse_qs(parts.query, keep_blank_values=True)
        if self._token is not None and request.header("X-Consul-Token") != self._token:
            answer(403, "Permission denied").act(exchange)
            return
        if query.get("dc", ["dc1"]) != ["dc1"]:
            answer(500, "No path to datacenter").act(exchange)
            return
        if "index" in query and int(query["index"][0]) > 0:
            self._block(exchange, int(query["index"][0]), _seconds(query.get("wait", ["5m"])[0]))
        if parts.path.startswith("/v1/kv/"):
            self._answer_value(exchange, unquote(parts.path.removeprefix("/v1/kv/")))
            return
        name = unquote(parts.path.removeprefix("/v1/health/service/"))
        with self._changed:
            found = [
                entry
                for entry in self._instances.values()
                if entry["Service"]["Service"] == name
                and set(query.get("tag", ())) <= set(entry["Service"]["Tags"])
                and ("passing" not in query or all(check["Status"] == "passing" for check in entry["Checks"]))
            ]
            index = str(self.index) if self.says is None else self.says
        headers = {"Content-Type": "application/json"} | ({"X-Consul-Index": index} if index else {})
        answer(200, json.dumps(found), headers).act(exchange)

    def _answer_value(self, exchange: Exchange, key: str) -> None:
        with self._changed:
            value, index = self._values.get(key), str(self.index)
        headers = {"Content-Type": "application/json", "X-Consul-Index": index}
        if value is None:
            answer(404, "", headers).act(exchange)
            return
        encoded = base64.b64encode(value.encode()).decode() or None
        entry = {"LockIndex": 0, "Key": key, "Flags": 0, "Value": encoded, "CreateIndex": 1, "ModifyIndex": int(index)}
        answer(200, json.dumps([entry]), headers).act(exchange)

    def _block(self, exchange: Exchange, index: int, wait: float) -> None:
        until = time.monotonic() + wait
        while self.index <= index and time.monotonic() < until:
            # An index below the one that is waited for answers at once, as after a restored snapshot.
            if self.index < index:
                return
            exchange.wait(0.01)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()


def _seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()  # type: ignore[union-attr]
    return min(600.0, int(number) * UNITS[unit])
