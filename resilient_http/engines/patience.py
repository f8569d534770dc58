"""Patience: how long one operation of a sync socket may block, and that it blocks no longer. See network.py."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

from resilient_http.engines.network import POLL, cancellable, clamp, note_if_late, unclamped
from resilient_http.state.grip import Grip

T = TypeVar("T")


class Patience:
    """How long one operation may block: as its timeout and its deadline allow, and while somebody waits for it.

    Args:
        timeout: The operation's timeout, an Allowance of its attempt.
        late: The exception for when it is too late.
        started: When it began (monotonic); None for now.
        clamped: Whether the deadline counts.
        alone: Whether nobody else waits on the same connection, so that it can be cut for this attempt.

    Attributes:
        grip: What the attempt can be cut by while it waits, or None.
    """

    __slots__ = ("_allowed", "_attempt", "_late", "_started", "_timeout", "grip")

    def __init__(
        self,
        timeout: float | None,
        late: Callable[[str], Exception],
        *,
        started: float | None = None,
        clamped: bool = True,
        alone: bool = True,
    ) -> None:
        self._started = time.monotonic() if started is None else started
        self._timeout = timeout
        self._late = late
        self._allowed = clamp(timeout, self._started) if clamped else unclamped(timeout)
        self._attempt = attempt = cancellable(timeout)
        self.grip = attempt.grip if attempt is not None and alone else None

    def left(self) -> float | None:
        """Seconds to block before asking again; None for as long as it takes.

        Raises:
            Cancelled: The inbound caller has gone away, or a hedge has answered first.
        """
        allowed, attempt = self._allowed, self._attempt
        if allowed is None:
            left = math.inf
        else:
            left = self._started + allowed - time.monotonic()
            if left <= 0:
                if allowed <= 0:
                    raise self._late("the deadline has passed")
                note_if_late(self._timeout, allowed, self._started)
                raise self._late(f"nothing within {allowed:.3g} s")
        if attempt is not None:
            if attempt.gone:
                raise attempt.cancelled()
            left = min(left, POLL)
        return None if left == math.inf else left

    def cut(self) -> Exception:
        """The error for an attempt that was cut where it waits."""
        return self._late("cut") if self._attempt is None else self._attempt.cancelled()


def in_time(
    sock: Any, patience: Patience, broken: Callable[[str], Exception], operation: Callable[..., T], *arguments: Any
) -> T:
    """What the operation gives; it is called again as long as there is patience."""
    while True:
        left = patience.left()
        try:
            sock.settimeout(left)  # fails too when another thread has closed it
            if patience.grip is None:
                return operation(*arguments)
            return _within_reach(patience.grip, patience, sock, operation, arguments)
        except TimeoutError:
            continue
        except OSError as exc:
            raise broken(str(exc)) from exc


def tried(broken: Callable[[str], Exception], operation: Callable[..., T], argument: Any) -> T:
    """What an operation gives that nobody can cut short."""
    try:
        return operation(argument)
    except OSError as exc:
        raise broken(str(exc)) from exc


def _within_reach(
    grip: Grip, patience: Patience, sock: Any, operation: Callable[..., T], arguments: tuple[Any, ...]
) -> T:
    """What the operation gives, unless the socket is cut meanwhile; then whatever it ended in does not count."""
    if not grip.take(sock):
        raise patience.cut()
    try:
        given = operation(*arguments)
    except Exception as exc:
        if grip.release():
            raise
        raise patience.cut() from exc
    except BaseException:
        grip.release()
        raise
    if not grip.release():
        raise patience.cut()
    return given
