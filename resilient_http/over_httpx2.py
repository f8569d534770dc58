"""Over httpx2: the clients and transports as classes of httpx2's. Imported only when that is the backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2

from resilient_http import client, transport

if TYPE_CHECKING:
    from resilient_http.scope import Scope
    from resilient_http.transport import Host


class ResilientTransport(transport.SyncTransport, httpx2.BaseTransport):
    """As resilient_http.ResilientTransport, for an `httpx2.Client`."""


class AsyncResilientTransport(transport.AsyncTransport, httpx2.AsyncBaseTransport):
    """As resilient_http.AsyncResilientTransport, for an `httpx2.AsyncClient`."""


if TYPE_CHECKING:
    # A type checker is to see httpx2's methods; at run time the shared ones come first, and those are httpx2's too.
    class Client(httpx2.Client):
        """As resilient_http.Client, but an `httpx2.Client`."""

        def __init__(self, host: Host, *, scope: Scope | None = None, **options: Any) -> None: ...

    class AsyncClient(httpx2.AsyncClient):
        """As resilient_http.AsyncClient, but an `httpx2.AsyncClient`."""

        def __init__(self, host: Host, *, scope: Scope | None = None, **options: Any) -> None: ...
else:

    class Client(client.SyncCalls, httpx2.Client):
        """As resilient_http.Client, but an `httpx2.Client`."""

        _library = httpx2
        _transport_class = ResilientTransport

    class AsyncClient(client.AsyncCalls, httpx2.AsyncClient):
        """As resilient_http.AsyncClient, but an `httpx2.AsyncClient`."""

        _library = httpx2
        _transport_class = AsyncResilientTransport
