"""Drip: a response body that is slowed on purpose, piece by piece, between the network and whoever reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from resilient_http.engines.body import abandoned_unless_exhausted, late

if TYPE_CHECKING:
    from resilient_http.call import Attempt
    from resilient_http.engines.backend import Backend

PIECES = 10  # a second, where a chunk holds so much


class _Drip:
    """What both do alike.

    Args:
        stream: Of the network.
        attempt: Whose time limit holds.
        rate: Bytes per second.
        backend: httpx or httpx2.
        wait: The port's: of the attempt and so many seconds.
    """

    def __init__(
        self,
        stream: Any,
        attempt: Attempt,
        rate: float,
        backend: Backend,
        wait: Callable[[Attempt, float], Any],
    ) -> None:
        self._stream = stream
        self._attempt = attempt
        self._rate = rate
        self._backend = backend
        self._wait = wait

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        size = max(1, int(self._rate / PIECES))
        return (chunk[start : start + size] for start in range(0, len(chunk), size))

    def _seconds(self, piece: bytes) -> tuple[float, bool]:
        """How long it is waited for, and whether it comes in that time."""
        seconds, left = len(piece) / self._rate, self._attempt.expires - self._attempt.call.port.now()
        return max(0.0, min(seconds, left)), seconds <= left

    def _check(self, *, came: bool) -> None:
        if self._attempt.call.gone:
            raise self._attempt.call.cancelled()
        if not came:
            raise late(self._backend)


class SyncDrip(_Drip):
    """Of a sync response. `wait` blocks."""

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            for piece in self._pieces(chunk):
                seconds, came = self._seconds(piece)
                self._wait(self._attempt, seconds)
                self._check(came=came)
                yield piece

    def close(self) -> None:
        """Close the network's."""
        self._stream.close()


class AsyncDrip(_Drip):
    """Of an async response."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._stream)
        with abandoned_unless_exhausted(chunks):
            async for chunk in chunks:
                for piece in self._pieces(chunk):
                    seconds, came = self._seconds(piece)
                    await self._wait(self._attempt, seconds)
                    self._check(came=came)
                    yield piece

    async def aclose(self) -> None:
        """Close the network's."""
        await self._stream.aclose()
