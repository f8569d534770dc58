"""Journal: what happened in one call, attempt by attempt, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from resilient_http.state.outcome import Fault


class Journal:
    """What happened in one call: each attempt, each decision, and why.

    It is on `response.extensions["resilient_http"]` and, as `.journal`, on every exception that leaves a client. It
    pickles. `str(journal)` is one line for a person.

    Attributes:
        method: The request's method.
        upstream: Name of the upstream, or the origin of an unnamed one.
        budget: Seconds the call's deadline granted, or None without one.
    """

    __slots__ = ("_entries", "_notes", "budget", "method", "upstream")

    def __init__(self, method: str) -> None:
        self.method = method
        self.upstream = ""
        self.budget: float | None = None
        self._entries: list[Entry] = []
        self._notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the call as a whole, besides its attempts: "fallback: answered with ...", say."""
        return self._notes

    def note(self, what: str) -> None:
        """Add a note."""
        self._notes = (*self._notes, what)

    @property
    def eventful(self) -> bool:
        """Whether there is more to it than one attempt; quicker than to look at them."""
        return len(self._entries) != 1 or bool(self._notes)

    @property
    def attempts(self) -> tuple[Entry, ...]:
        """One entry per attempt, in order; those that were refused by a limit of ours too."""
        return tuple(self._entries)

    @property
    def last(self) -> Entry | None:
        """The newest entry, or None before the first attempt."""
        return self._entries[-1] if self._entries else None

    @property
    def newest(self) -> Entry:
        """The newest entry, where there is one."""
        return self._entries[-1]

    @property
    def sent(self) -> int:
        """How many attempts may have reached an endpoint."""
        return sum([entry.sent for entry in self._entries])

    def open_entry(self, started: float) -> Entry:
        """Begin the entry of the next attempt."""
        entry = Entry(len(self._entries) + 1, started)
        self._entries.append(entry)
        return entry

    def account(self, took: float) -> str:
        """Where the time of the call went, and what was still undone; as the end of a message.

        Args:
            took: Seconds since the start of the call.
        """
        spent = [f"{_seconds(seconds)} {where}" for seconds, where in self._spent(took) if seconds >= 0.001]
        return f": {', '.join(spent)}; {self._undone()}" if spent else f"; {self._undone()}"

    def _spent(self, took: float) -> Iterator[tuple[float, str]]:
        at = 0.0
        before = "before the first attempt"
        for entry in self._entries:
            yield entry.started - at, before
            yield entry.queued, "in the queue"
            if entry.endpoint:
                result = str(entry.status) if entry.error is None else entry.error.partition(":")[0]
                yield entry.duration, f"in attempt {entry.number} at {entry.endpoint} ({result})"
            at = entry.started + entry.queued + (entry.duration if entry.endpoint else 0.0)
            before = "in backoff" if entry.decision == "retry" else "between hops"
        if self._entries:
            yield took - at, before
        else:
            yield took, before

    def _undone(self) -> str:
        last = self.last
        if last is None:
            return "nothing had been sent"
        if last.decision == "retry":
            return f"attempt {last.number + 1} had not begun"
        if not last.endpoint:
            return f"attempt {last.number} was waiting for a permit"
        if not last.sent:
            return f"attempt {last.number} had not been sent"
        if last.status is None:
            return f"attempt {last.number} had no answer yet"
        return f"the body of the answer to attempt {last.number} was not complete"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "upstream": self.upstream,
            "method": self.method,
            "budget": self.budget,
            "attempts": [entry.as_dict() for entry in self._entries],
            "notes": list(self._notes),
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return Journal, (self.method,), (self.method, self.upstream, self.budget, self._entries, self._notes)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.method, self.upstream, self.budget, self._entries, self._notes = state

    def __str__(self) -> str:
        attempts = [str(entry) for entry in self._entries] or ["no attempt was made"]
        return f"{self.method} {self.upstream or '?'}: {'; '.join([*attempts, *self._notes])}"

    def __repr__(self) -> str:
        return f"<Journal {self}>"


def journal_of(outcome: object) -> Journal | None:
    """The journal of a response, or of an exception that a client raised; None when it has none.

    `raise_for_status()` raises an exception of httpx's own, which leads to its response's journal.
    """
    for holder in (outcome, getattr(outcome, "response", None)):
        extensions = getattr(holder, "extensions", None)
        journal = extensions.get("resilient_http") if isinstance(extensions, dict) else getattr(holder, "journal", None)
        if isinstance(journal, Journal):
            return journal
    return None


def attach_journal(error: BaseException, journal: Journal) -> None:
    """Have the exception lead to the journal; one that lets nothing be set stays as it is."""
    with suppress(Exception):
        error.journal = journal  # type: ignore[attr-defined]


FIELDS = (
    "number", "hedge", "endpoint", "started", "queued", "duration", "sent", "status", "error", "fault", "outcome",
    "decision", "delay", "why",
)  # fmt: skip


class Entry:
    """One attempt, as the journal tells it. Read it, do not change it.

    Attributes:
        number: 1 for the first attempt of the call.
        hedge: Whether it was sent beside another attempt that took long.
        endpoint: URL of the endpoint, "" when none was chosen.
        started: Seconds from the start of the call.
        queued: Seconds of it that were spent waiting for a permit.
        duration: Seconds the attempt took, to the end of its body (streamed: until it was closed).
        sent: Whether any byte of the request may have reached the endpoint.
        status: The answer's status, or None.
        error: Type and text of the exception, or None.
        fault: Why there was no whole answer, or None.
        outcome: What it counts as for the endpoint's circuit; "refused" when a limit of ours kept it from being sent.
        decision: What was decided next: "return", "raise" or "retry"; "lost" when a hedge raced it and won, or it was
            the hedge and lost.
        delay: Seconds waited before the next attempt.
        why: The reason for the decision.
    """

    __slots__ = FIELDS

    status: int | None
    error: str | None
    fault: Fault | None

    def __init__(self, number: int, started: float) -> None:
        self.number = number
        self.started = started
        self.hedge = self.sent = False
        self.endpoint = self.why = ""
        self.queued = self.duration = self.delay = 0.0
        self.status = self.error = self.fault = None
        self.outcome = "under way"
        self.decision = "return"

    def decide(self, decision: str, why: str, delay: float = 0.0) -> None:
        """Note what is done next, and why."""
        self.decision = decision
        self.why = why
        self.delay = delay

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        fields = {name: getattr(self, name) for name in FIELDS}
        fields["fault"] = self.fault.value if self.fault else None
        return fields

    @classmethod
    def told(cls, fields: Mapping[str, Any]) -> Entry:
        """An entry of which as_dict() has told; without its fault, which its text does not need."""
        entry = cls(fields["number"], fields["started"])
        for name in FIELDS:
            if name != "fault":
                setattr(entry, name, fields[name])
        return entry

    def __reduce__(self) -> tuple[Any, ...]:
        return Entry, (self.number, self.started), tuple([getattr(self, name) for name in FIELDS])

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        for name, value in zip(FIELDS, state, strict=True):
            setattr(self, name, value)

    def __str__(self) -> str:
        result = (str(self.status) if self.status else "no answer") if self.error is None else self.error
        where = (" (hedge)" if self.hedge else "") + (f" at {self.endpoint}" if self.endpoint else "")
        sent = "" if self.sent or self.error is None else ", not sent"
        queued = f" (queued {_seconds(self.queued)})" if self.queued >= 0.001 else ""
        then = f" -> {self.decision}: {self.why}" if self.why else ""
        wait = f" in {_seconds(self.delay)}" if self.decision == "retry" else ""
        return f"attempt {self.number}{where}: {result} after {_seconds(self.duration)}{queued}{sent}{then}{wait}"

    def __repr__(self) -> str:
        return f"<{self}>"


def describe(error: BaseException) -> str:
    """One line: type and text; the cause's text where the error itself has none."""
    cause: BaseException | None = error
    while cause is not None and not str(cause):
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, Exception):
        cause = error  # a cancellation: how a timeout was carried out, not why
    text = visible(" ".join(str(cause).split())[:200])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def visible(text: str) -> str:
    """With escapes in place of whatever would begin a line of its own, or command a terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
