"""The settings of time limits, connections and TLS, and their defaults. Durations are float seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from resilient_http.settings.validation import Model, mistake_at
from resilient_http.settings.values import Count, OwnHeaderName, Seconds, Size


class DeadlineHeader(Model):
    """A header that says how long a caller waits. Written as its name where that tells the unit.

    Attributes:
        name: Its name.
        unit: "ms", "s", or "grpc" (digits and one of H M S m u n). grpc-timeout and names that end in -ms need none.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": "string"}
    listed: ClassVar[bool] = True

    name: OwnHeaderName
    unit: Literal["ms", "s", "grpc"]

    def __str__(self) -> str:
        """Its name."""
        return self.name

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        raw = {"name": value} if isinstance(value, str) else value
        if not isinstance(raw, (Mapping, DeadlineHeader)):
            message = 'the name of a header is needed, like x-request-timeout-ms, or {"name": ..., "unit": "s"}'
            raise ValueError(message)  # noqa: TRY004 - pydantic collects ValueError
        if not isinstance(raw, Mapping) or "unit" in raw or not isinstance(raw.get("name"), str):
            return raw
        name = raw["name"].lower()
        if name == "grpc-timeout" or name.endswith("-ms"):
            return {**raw, "unit": "grpc" if name == "grpc-timeout" else "ms"}
        message = f'{name} does not tell its unit; write {{"name": "{name}", "unit": "s"}}, or "ms", or "grpc"'
        raise ValueError(message)


class TimeoutSettings(Model):
    """How long a call, an attempt and each of its phases may take.

    Attributes:
        total: Seconds for the whole call: waits, repeats and the body. None for endless streams.
        attempt: Seconds for one attempt, to the end of its body; of a streamed one, to its headers.
        connect: Seconds to connect, TLS included; the default survives one lost SYN.
        read: Seconds without a byte from the endpoint.
        write: Seconds without a byte taken by the endpoint.
        pool: Seconds to wait for a permit and a connection.
    """

    total: Seconds | None = 10.0
    attempt: Seconds | None = 3.0
    connect: Seconds | None = 1.5
    read: Seconds | None = 3.0
    write: Seconds | None = 3.0
    pool: Seconds | None = 1.0

    def phases(self) -> dict[str, float | None]:
        """The limits of the phases, by httpx's names."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}

    @model_validator(mode="after")
    def _attempt_within_total(self) -> Self:
        if self.attempt is None or self.total is None or self.attempt <= self.total:
            return self
        if {"attempt", "total"} <= self.model_fields_set:
            message = f"attempt ({self.attempt:g} s) is longer than total ({self.total:g} s)"
            raise ValueError(message)
        # One of them is the default: an attempt lasts no longer than its call.
        self.__dict__["attempt"] = self.total
        return self


class PoolSettings(Model):
    """Connections of an upstream.

    Attributes:
        max_connections: Most connections; also a ceiling for `concurrency.limit`, so that nothing waits in the pool.
        max_keepalive: Most idle connections kept to one endpoint.
        keepalive_expiry: Seconds that an idle connection is kept; below uvicorn's 5 s, so that the server does not
            close it under a request. A shorter `Keep-Alive: timeout=` of the server's is obeyed.
        max_age: Seconds after which a connection takes no further request, less up to a tenth at random: so names are
            looked up anew, and load balancers can drain. None for no limit.
    """

    max_connections: Count = 100
    max_keepalive: Size = 100
    keepalive_expiry: Seconds | None = 4.0
    max_age: Seconds | None = 300.0


class TlsSettings(Model):
    """How https endpoints are verified.

    Attributes:
        verify: True for the backend's trusted authorities, False for none, or the path of a CA bundle.
        cert: Client certificate: path of a PEM file, or (certificate, key).
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = None

    @model_validator(mode="after")
    def _files_are_there(self) -> Self:
        certs = (self.cert,) if isinstance(self.cert, str) else self.cert or ()
        for name, path in [("verify", self.verify), *(("cert", path) for path in certs)]:
            if isinstance(path, str) and not Path(path).exists():
                raise mistake_at(name, message=f"there is no file {path}")
        return self
