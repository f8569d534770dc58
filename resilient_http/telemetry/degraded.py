"""Degraded: which calls a person should hear of, and as what.

    refused     we did not send it: an open circuit, a limit, no endpoint
    deadline    its deadline passed
    failed      it ended in any other exception, or in a 5xx answer
    fell back   a fallback answered for it
    retried     it was answered, and it took a repeat

A call that was cancelled, hedged, answered 4xx, or redirected is none of these: a hedge is what was asked for, and a
caller that went away waits for nothing.
"""

from __future__ import annotations

from resilient_http.call import Call
from resilient_http.errors import Cancelled, DeadlineExceeded, Refused

ANSWERED = "fallback: answered"


def degraded_as(call: Call, status: int | None, error: BaseException | None) -> str | None:
    """What a call that has ended is degraded as, or None."""
    if error is not None:
        if is_cancellation(error):
            return None
        return "refused" if isinstance(error, Refused) else "deadline" if _is_late(error) else "failed"
    journal = call.journal
    if any(note.startswith(ANSWERED) for note in journal.notes):
        return "fell back"
    if status is not None and status >= 500:
        return "failed"
    return "retried" if any(entry.decision == "retry" for entry in journal.attempts) else None


def is_cancellation(error: BaseException | None) -> bool:
    """Whether it says that nobody waits any more: ours, or asyncio's, trio's and Python's own."""
    return error is not None and (isinstance(error, Cancelled) or not isinstance(error, Exception))


def _is_late(error: BaseException) -> bool:
    return isinstance(error, DeadlineExceeded)
