"""The settings of inbound requests, and their defaults. Durations are float seconds."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from resilient_http.settings.keys import SECONDS
from resilient_http.settings.network import DeadlineHeader
from resilient_http.settings.validation import Model, not_bool
from resilient_http.settings.values import HeaderName, Seconds


class InboundSettings(Model):
    """What bounds the inbound requests of a web service, and so their outbound calls.

    Attributes:
        timeout: Seconds that an inbound request has, or None for no deadline of its own. A view or route may have its
            own.
        deadline_headers: Headers in which a caller says how long it will wait. They shorten the timeout. A
            name where that tells the unit (`grpc-timeout`, or one that ends in `-ms`), else
            `{"name": "request-timeout", "unit": "s"}`; units are "ms", "s" and "grpc".
        max: Most seconds to which a deadline header of a trusted peer lengthens the timeout.
        trusted_peers: IP addresses and networks (CIDR) whose deadline headers may lengthen and whose queue header is
            believed; "unix" for connections over a Unix socket.
        queue_header: Header in which a trusted peer says when the request reached it; None for none.
        repeat_header: Header in which a trusted peer says which attempt the request is, from 1 on; the outbound calls
            of a second one are not repeated, but for what was never sent. None for none.
        priority_header: Header in which a trusted peer says "sheddable", "default" or "critical"; the outbound calls
            are that, where their upstream has no `priority` of its own. None for none.
        reserve: Seconds kept back for answering; at most a fifth of the budget is.
        cancel_on_disconnect: Whether outbound calls end with Cancelled when their inbound caller goes away.
        answers: Whether an uncaught DeadlineExceeded becomes 504, and an uncaught Refused 503. A request that arrives
            with nothing left is answered 504 either way.
    """

    timeout: Seconds | None = 10.0
    deadline_headers: tuple[DeadlineHeader, ...] = (DeadlineHeader(name="x-envoy-expected-rq-timeout-ms", unit="ms"),)
    max: Seconds = 60.0
    trusted_peers: tuple[str, ...] = ()
    queue_header: HeaderName | None = "x-request-start"
    repeat_header: HeaderName | None = "x-envoy-attempt-count"
    priority_header: HeaderName | None = None
    reserve: Annotated[float, BeforeValidator(not_bool), Field(ge=0, allow_inf_nan=False), SECONDS] = 0.05
    cancel_on_disconnect: bool = True
    answers: bool = True

    @field_validator("trusted_peers")
    @classmethod
    def _are_networks(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            if peer == "unix":
                continue
            try:
                ip_network(peer, strict=False)
            except ValueError:
                message = f'{peer!r} is neither an IP address, nor a network like 10.0.0.0/8, nor "unix"'
                raise ValueError(message) from None
        return peers
