"""Over httpx2: the clients and transports as classes of httpx2's. Imported only when that is the backend."""

from __future__ import annotations

import httpx2

from resilient_http import client, transport


class ResilientTransport(transport.SyncTransport, httpx2.BaseTransport):
    """As resilient_http.ResilientTransport, for an `httpx2.Client`."""


class AsyncResilientTransport(transport.AsyncTransport, httpx2.AsyncBaseTransport):
    """As resilient_http.AsyncResilientTransport, for an `httpx2.AsyncClient`."""


class Client(client.SyncCalls, httpx2.Client):  # type: ignore[misc, unused-ignore]
    """As resilient_http.Client, but an `httpx2.Client`."""

    _transport_class = ResilientTransport


class AsyncClient(client.AsyncCalls, httpx2.AsyncClient):  # type: ignore[misc, unused-ignore]
    """As resilient_http.AsyncClient, but an `httpx2.AsyncClient`."""

    _transport_class = AsyncResilientTransport
