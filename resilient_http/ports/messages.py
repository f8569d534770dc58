"""Messages: what the sync and the async port do alike with requests and responses. Nothing here waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from resilient_http.call import Call, Headers
from resilient_http.engines.backend import Backend
from resilient_http.engines.body import adopted, composed, readable
from resilient_http.engines.exchange import body_of, lines_of
from resilient_http.ports.beside import beside
from resilient_http.state.outcome import Fault


class Messages:
    """Knows the messages of one backend.

    Args:
        backend: httpx or httpx2.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def readable(self, call: Call, reply: Any) -> Any:
        """A response like this one, with its body when that is here."""
        return readable(reply, call.request, self._backend)

    def fault_of(self, error: BaseException) -> Fault:
        """What kind of failure an exception of an engine is."""
        return self._backend.fault_of(error)

    def request(self, method: str, url: str, headers: Headers) -> Any:
        """A request of the backend's that no user wrote."""
        return self._backend.module.Request(method, url, headers=headers)

    def reply(self, status: int, headers: Headers, body: bytes) -> Any:
        """A response of the backend's that nobody sent."""
        return composed(status, headers, body, self._backend)

    def failure(self, fault: Fault, why: str, *, sent: bool) -> Exception:
        """An exception of the backend's, as an engine raises it."""
        kinds = {Fault.UNREACHABLE: "ConnectError", Fault.BROKEN: "ReadError", Fault.TIMEOUT: "ReadTimeout"}
        name = "ConnectTimeout" if fault is Fault.TIMEOUT and not sent else kinds[fault]
        made: Exception = getattr(self._backend.module, name)(why)
        return made

    def adopt(self, given: Any) -> Any:
        """A copy of a response of the backend's."""
        return adopted(given, self._backend)

    def body(self, reply: Any) -> bytes | None:
        """The body as it came, when it is here."""
        return body_of(reply, self._backend)

    def lines(self, message: Any) -> Headers:
        """The header lines."""
        return lines_of(message.headers)

    def beside(self, store: Any, tell: Callable[[], Any]) -> None:
        """Have it called in another thread."""
        beside(store).tell(tell)
