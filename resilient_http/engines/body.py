"""Body: the response body that a user streams. It ends the attempt when it ends, and keeps to the call's deadline.

Also what can be known about a request's body before it is sent: whether it can be sent again.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from resilient_http.engines.async_network import abandon
from resilient_http.engines.time_limit import unless_cancelled, within
from resilient_http.errors import Cancelled
from resilient_http.journal import attach_journal
from resilient_http.state.outcome import Fault

if TYPE_CHECKING:
    from resilient_http.call import Attempt
    from resilient_http.engines.backend import Backend
    from resilient_http.engines.reaper import OpenStream

GRACE = 0.02  # seconds after its deadline at which a read that was in time may still be handed on
KEPT = 65536  # bytes of a streamed response that are kept while the call is repeated


class _Body:
    """What sync and async bodies do alike."""

    def __init__(
        self,
        stream: Any,
        attempt: Attempt,
        backend: Backend,
        held: OpenStream,
        *,
        clamped: bool = True,
    ) -> None:
        self._stream = stream
        self._attempt = attempt
        self._backend = backend
        self._held = held
        self._clamped = clamped  # whether the engine is ours, and keeps each read to the deadline

    def __del__(self) -> None:
        # Nobody can close it any more. A collection may run under any lock: see reaper.py.
        self._held.collected()

    _left = False  # closed by another thread while it is read, say: then what the reader sees is not the endpoint's

    def expire(self, at: float) -> None:
        """Bound what is still to be read by an instant, monotonic seconds."""
        self._attempt.expires = min(self._attempt.expires, at)

    def slow(self, slowed: Callable[[Any], Any]) -> None:
        """Put something between the network and whoever reads it."""
        self._stream = slowed(self._stream)

    def _now(self) -> float:
        return self._attempt.call.port.now()

    def _in_time(self) -> None:
        in_time(self._attempt, self._backend)

    def _complete(self) -> None:
        self._attempt.end(self._now())

    def _closed(self) -> None:
        # Closed before its end: by the user, or by a failure that has been reported already.
        if self._attempt.fault is None:
            self._attempt.fault = Fault.CANCELLED
        self._attempt.end(self._now())

    def _broken(self, error: Exception) -> Exception:
        """What the user is told: the failure itself, or that the call's deadline has passed."""
        attempt, now = self._attempt, self._now()
        call = attempt.call
        if not attempt.ended:  # else it was taken back at its deadline
            attempt.fault = Fault.CANCELLED if self._left else self._backend.fault_of(error)
            attempt.end(now, error)
        if attempt.fault is Fault.TIMEOUT and call.overdue(now):
            return self._backend.dress(call.exceeded())
        if isinstance(error, Cancelled):
            return self._backend.dress(error)
        attach_journal(error, call.journal)
        return error


class _SyncBody(_Body):
    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                self._in_time()
                yield chunk
        except Exception as exc:
            error = self._broken(exc)
            if error is exc:
                raise
            raise error from exc
        self._stream.close()  # before the permit goes back: who gets it finds the connection free
        self._complete()

    def close(self) -> None:
        self._left = True
        try:
            self._stream.close()
        finally:
            self._closed()


class _AsyncBody(_Body):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            free = self._clamped and self._attempt.call.cancellation is None
            chunks = aiter(self._stream) if free else self._guarded()
            with abandoned_unless_exhausted(chunks):
                async for chunk in chunks:
                    self._in_time()
                    yield chunk
            await self._stream.aclose()  # before the permit goes back: who gets it finds the connection free
        except Exception as exc:
            error = self._broken(exc)
            if error is exc:
                raise
            raise error from exc
        except BaseException:
            # Cancelled, or left where it stood: nobody can read on.
            abandon(self._stream)
            self._closed()
            raise
        self._complete()

    async def _guarded(self) -> AsyncIterator[bytes]:
        """Chunk by chunk: unless the inbound caller goes away, and over an engine of the user's within what is left."""
        chunks, call = aiter(self._stream), self._attempt.call

        async def chunk() -> bytes | None:
            return await anext(chunks, None)

        while True:
            reading: Coroutine[Any, Any, bytes | None] = chunk()
            left = self._attempt.expires - self._now()
            if not self._clamped and left < math.inf:
                reading = within(max(0.0, left), reading, self._late)
            if call.cancellation is not None:
                reading = unless_cancelled(call.cancellation, reading, call.cancelled)
            more = await reading
            if more is None:
                return
            yield more

    def _late(self) -> Exception:
        return late(self._backend)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._closed()


@cache
def sync_body(module: Any) -> Any:
    """The class of sync bodies for one backend; httpx insists on its own base class."""
    return type("SyncBody", (_SyncBody, module.SyncByteStream), {})


@cache
def async_body(module: Any) -> Any:
    """The class of async bodies for one backend."""
    return type("AsyncBody", (_AsyncBody, module.AsyncByteStream), {})


@contextmanager
def abandoned_unless_exhausted(chunks: Any) -> Iterator[None]:
    """Close an asynchronous iterator that is left half way; else that would be left to the garbage collector."""
    try:
        yield
    except BaseException:
        if hasattr(chunks, "aclose"):
            abandon(chunks)
        raise


def in_time(attempt: Attempt, backend: Backend) -> None:
    """Raise when the attempt's time is up: what has been read at once may be a flood of little chunks."""
    if attempt.call.port.now() > attempt.expires + GRACE:
        raise late(backend)


def late(backend: Backend) -> Exception:
    """What a read raises when its time is up."""
    error: Exception = backend.module.ReadTimeout("the deadline has passed")
    return error


def in_memory(response: Any, backend: Backend) -> bool:
    """Whether a response's body is here already, as that of a mock is."""
    return type(response.stream) is backend.module.ByteStream or response.is_closed


def readable(response: Any, request: Any, backend: Backend) -> Any:
    """A response like this one, to be looked at before the user has it; with its body, unless that is streamed.

    It is another object: httpx still has to put its own request, cookies and time into the one that the user gets.
    """
    module, stream = backend.module, response.stream
    # What is given as `stream` counts as unread: `.content` then says that it is not there.
    body = {"content": b"".join(stream)} if type(stream) is module.ByteStream else {"stream": module.ByteStream(b"")}
    return module.Response(response.status_code, headers=response.headers, request=request, **body)


def composed(status: int, headers: Iterable[tuple[str, str]], body: bytes, backend: Backend) -> Any:
    """A response that nobody sent, as a transport gives it: its body still to be read.

    Raises:
        ValueError: It could not be read: it is not encoded as its headers say.
    """
    module = backend.module
    # As bytes: httpx would refuse what is not ASCII, and upstreams send it.
    lines = [(name.encode(), value.encode()) for name, value in headers if name != "content-length"]
    lines.append((b"content-length", b"%d" % len(body)))
    if any(name == b"content-encoding" for name, _ in lines):
        try:
            module.Response(status, headers=lines, content=body)
        except module.DecodingError as exc:
            raise ValueError(str(exc)) from None
    return module.Response(status, headers=lines, stream=module.ByteStream(body))


def adopted(given: Any, backend: Backend) -> Any:
    """A copy of a response of the user's, with its body where that has been read.

    Raises:
        TypeError: It is no response of the backend's.
    """
    if not isinstance(given, backend.module.Response):
        message = (
            f"a fallback function gives a {backend.name}.Response, bytes, str, dict, list or None, "
            f"not {type(given).__name__}"
        )
        raise TypeError(message)
    try:
        body = given.content
    except backend.module.ResponseNotRead:
        return given
    # What was read is decoded, and whole.
    gone = ("content-encoding", "transfer-encoding")
    lines = [line for line in given.headers.multi_items() if line[0] not in gone]
    return composed(given.status_code, lines, body, backend)


def replayable(stream: Any, module: Any) -> bool:
    """Whether a request's body can be sent again, whole.

    Bytes can, and multipart whose files seek, and a list of chunks. A generator cannot; and an iterator or an open file
    must not be tried: httpx would send it empty the second time, without an error.
    """
    if type(stream) is module.ByteStream:
        return True
    kind = type(stream).__name__
    if kind == "MultipartStream":
        return all(_seeks(getattr(field, "file", None)) for field in stream.fields)
    if kind in ("IteratorByteStream", "AsyncIteratorByteStream"):
        # Whatever else is iterable may stand on one iterator that is used up after the first time.
        return isinstance(stream._stream, (list, tuple))  # noqa: SLF001 - httpx has no other way to see it
    return False


def sendable_at_once(stream: Any) -> bool:
    """Whether two attempts may send at the same time what can be sent again. Not a file: they would share its place."""
    if type(stream).__name__ == "MultipartStream":
        return all(isinstance(getattr(field, "file", ""), (str, bytes)) for field in stream.fields)
    return True


def _seeks(file: Any) -> bool:
    if file is None or isinstance(file, (str, bytes)):
        return True
    seekable = getattr(file, "seekable", None)
    return bool(seekable()) if callable(seekable) else hasattr(file, "seek")
