"""Misplaced: calls that are made where they hold up more than their own caller; see MisplacedSettings.

    in a database transaction   its locks and its connection are held until the answer is there
    in an event loop            by a sync client: nothing else runs in the loop until the answer is there

Only calls over HTTP are looked at: what is guarded may be the database itself. Whether a transaction is open only a
framework can tell, so it hands in a function that does.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from resilient_http.errors import MisplacedCall
from resilient_http.settings.misplaced import MisplacedSettings, Reaction
from resilient_http.state.folding import Folding

logger = logging.getLogger("resilient_http.misplaced")

# Not the code of who calls.
OURS = {"resilient_http", "resilient_http_django", "resilient_http_fastapi", "httpx", "httpx2", "contextlib", "asyncio"}

InTransaction = Callable[[], "tuple[str, str] | None"]
"""Gives who has a transaction open here, as "view shop.views.pay" ("" where that is not known), and which one; or None.

It is asked for each call, in the thread or task of the call: be quick.
"""


class Misplaced:
    """Looks where calls are made. Thread-safe.

    Args:
        settings: What is done about it.
        in_transaction: Tells whether a transaction is open; None where nobody can.

    Attributes:
        looks_sync: Whether anything is looked for where a sync call begins.
        looks_async: Whether anything is where an async one does.
    """

    def __init__(self, settings: MisplacedSettings, in_transaction: InTransaction | None = None) -> None:
        self._in_transaction = in_transaction
        self._folding: Folding[tuple[str, str]] = Folding(math.inf)  # each is said once
        self.adjust(settings)

    def adjust(self, settings: MisplacedSettings) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        self._asks = self._in_transaction is not None and settings.in_transaction != "ignore"
        self._sniffs = settings.in_event_loop != "ignore"
        self.looks_sync, self.looks_async = self._asks or self._sniffs, self._asks

    def look(self, request: Any, *, is_async: bool) -> None:
        """A call begins here.

        Raises:
            MisplacedCall: It is where it should not be, and is to be refused there.
        """
        if self._sniffs and not is_async and (loop := running_loop()) is not None:
            self._tell_of_loop(request, loop)
        if self._asks and (found := self._ask()) is not None:
            self._tell_of_transaction(request, *found)

    def _ask(self) -> tuple[str, str] | None:
        if self._in_transaction is None:
            return None
        try:
            return self._in_transaction()
        except Exception:
            # Whoever cannot tell shall break no call.
            if self._folding.admit(("transaction", "failed"), time.monotonic()) is not None:
                logger.exception("it could not be told whether a transaction is open")
            return None

    def _tell_of_loop(self, request: Any, loop: str) -> None:
        caller = caller_of(sys._getframe())  # noqa: SLF001 - CPython's way to the caller
        message = (
            f"{_named(request)} with a sync client, at {caller}, in a thread that runs an event loop ({loop}): nothing "
            "else runs in it until the answer is there; use an async client, or call it in a thread "
            "(misplaced.in_event_loop)"
        )
        self._react(self._settings.in_event_loop, message, request, ("loop", caller))

    def _tell_of_transaction(self, request: Any, who: str, which: str) -> None:
        caller = caller_of(sys._getframe())  # noqa: SLF001
        message = (
            f"{_named(request)}{' by ' if who else ''}{who}, at {caller}, inside a database transaction ({which}): its "
            "locks and its connection are held until the answer is there; call before it begins, or after it is "
            "committed (misplaced.in_transaction)"
        )
        self._react(self._settings.in_transaction, message, request, ("transaction", who or caller))

    def _react(self, reaction: Reaction, message: str, request: Any, kind: tuple[str, str]) -> None:
        if reaction == "refuse":
            raise MisplacedCall(message, upstream=request.url.host)
        if logger.isEnabledFor(logging.WARNING) and self._folding.admit(kind, time.monotonic()) is not None:
            fields = {"upstream": request.url.host, "method": request.method, "where": kind[1]}
            logger.warning("%s", message, extra=fields)


def running_loop() -> str | None:
    """The kind of event loop that runs in this thread, "asyncio" or "trio"; None without one. Within a microsecond."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - as get_running_loop(), without an exception
        return "asyncio"
    sniffio = sys.modules.get("sniffio")  # with which trio says so, wherever it is
    name: str | None = None if sniffio is None else sniffio.thread_local.name
    return name


def caller_of(frame: FrameType | None) -> str:
    """`file:line` of the nearest code on the stack that is neither ours nor httpx's."""
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _named(request: Any) -> str:
    return f"{request.method} {request.url.scheme}://{request.url.host}"
