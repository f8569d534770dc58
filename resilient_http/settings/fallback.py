"""The settings of fallbacks, and their defaults. Durations are float seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from resilient_http.settings.keys import BYTES
from resilient_http.settings.validation import Model, not_bool
from resilient_http.settings.values import (
    Count,
    FallbackFunction,
    HeaderName,
    HeaderValue,
    Imported,
    KeyFunction,
    Seconds,
)

KINDS = ("response", "function", "stale")
STORE = ("get", "set", "delete")


class FixedResponseSettings(Model):
    """A fixed answer.

    Attributes:
        status: Its status.
        headers: Its header fields, name to value.
        body: Its body: text, or a dict or list, which is sent as JSON.
    """

    status: Annotated[int, BeforeValidator(not_bool), Field(ge=200, le=599)] = 200
    headers: Mapping[HeaderName, HeaderValue] = {}
    body: str | Mapping[str, Any] | Sequence[Any] = ""

    @field_validator("body")
    @classmethod
    def _can_be_said(cls, body: Any) -> Any:
        try:
            json.dumps(body)
        except (TypeError, ValueError) as exc:
            message = f"cannot be said in JSON: {exc}"
            raise ValueError(message) from None
        return body

    @property
    def content(self) -> bytes:
        """Its body, encoded."""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    @property
    def lines(self) -> tuple[tuple[str, str], ...]:
        """Its header lines."""
        kind = "text/plain; charset=utf-8" if isinstance(self.body, str) else "application/json"
        return tuple(({"content-type": kind} | dict(self.headers)).items())


class StaleSettings(Model):
    """The last good answer to the same request (stale-if-error; RFC 5861 and 9111).

    Attributes:
        max_age: Seconds after which an answer is too old.
        store: "memory" for this process, or a store, or its dotted path: an object with get(key), set(key, bytes,
            seconds) and delete(key), as Django's caches are. It is used in threads of its own.
        key: A plain function of the request, or its dotted path, that says whose answer it is in a word (None or "":
            keep none). Without one, requests with Authorization, Cookie or an API key are left alone.
        max_entries: Most requests of an upstream whose answers the memory holds.
        max_bytes: Most bytes that the memory of an upstream holds; one answer takes at most a sixteenth.
        wait: Most seconds that a call which has failed waits for a store outside.
    """

    max_age: Seconds = 300.0
    store: Imported = "memory"
    key: KeyFunction | None = None
    max_entries: Count = 1000
    max_bytes: Annotated[Count, BYTES] = 16_777_216
    wait: Seconds = 0.1

    @field_validator("store", mode="after")
    @classmethod
    def _is_store(cls, store: Any) -> Any:
        if store != "memory" and not all(callable(getattr(store, name, None)) for name in STORE):
            message = f'"memory" or a store with get, set and delete is needed, not {type(store).__name__}'
            raise ValueError(message)
        return store


class FallbackSettings(Model):
    """What answers instead of a failure: exactly one of `response`, `function` and `stale`.

    Attributes:
        response: A fixed answer; see FixedResponseSettings.
        function: A plain function, or its dotted path, of the call and its failure (the exception, or the response).
            Gives a response of the backend's, bytes, a str, a dict, a list, or None for no answer.
        stale: The last good answer to the same request; see StaleSettings.
        statuses: Statuses that are a failure. From 500 on: a 4xx is an answer.
        observe: Answer nothing, and tell what would have been answered.
    """

    response: FixedResponseSettings | None = None
    function: FallbackFunction | None = None
    stale: StaleSettings | None = None
    statuses: tuple[Annotated[int, BeforeValidator(not_bool), Field(ge=500, le=599)], ...] = (500, 502, 503, 504)
    observe: bool = False

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given; set all but one to null" if given else "none is given"
            message = f"exactly one of response, function and stale is needed, but {found}"
            raise ValueError(message)
        return self
