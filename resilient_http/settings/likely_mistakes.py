"""Likely mistakes: numbers that are valid each, and hardly meant together; see advice.py for their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from resilient_http.semantics import IDEMPOTENT_METHODS
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.origins import LIBRARY, Origin
from resilient_http.settings.templates import ANY_METHOD

Found = tuple[tuple[str, ...], str, str]
"""The path below what was looked at, what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule looks at: the settings of an upstream, of one of its routes, or the defaults.

    Attributes:
        settings: All of them.
        path: Where it stands.
        own: What its calls go by.
        route: The template, when it is a route.
        worker_timeout: Seconds for which a worker may be busy with one request; None without such a limit.
    """

    settings: Settings
    path: tuple[str, ...]
    own: UpstreamSettings
    route: str | None = None
    worker_timeout: float | None = None

    def origin(self, *below: str) -> Origin:
        """Where a value comes from."""
        return self.settings.origin_of((*self.path, *below))

    @property
    def limit(self) -> int:
        """Most requests under way at once."""
        most, own = self.own.pool.max_connections, self.own.concurrency
        return most if own is None or own.observe else min(most, own.limit)


Rule = Callable[[Subject], Iterator[Found]]


def short_window(subject: Subject) -> Iterator[Found]:
    """W003: timeouts are forgotten before the rules of the circuit have seen two of them."""
    circuit, timeout = subject.own.circuit, subject.own.timeout
    attempt = timeout.total if timeout.attempt is None else timeout.attempt
    if circuit is None or attempt is None or subject.route is not None or circuit.window_span >= 2 * attempt:
        return
    message = (
        f"{circuit.window_span:g} s is shorter than two attempts of {attempt:g} s, so timeouts in a row are forgotten"
    )
    yield ("circuit", "window_span"), message, f"Set it to {2 * attempt:g} or more, or lower timeout.attempt."


def unsafe_hedge(subject: Subject) -> Iterator[Found]:
    """W004: what is not idempotent is sent twice at the same time."""
    own = subject.own
    if own.hedge is None or own.retry is None:
        return
    methods = set(own.retry.methods) - IDEMPOTENT_METHODS
    method = ANY_METHOD if subject.route is None else subject.route.partition(" ")[0]
    methods = methods if method == ANY_METHOD else methods & {method}
    if methods:
        message = f"{', '.join(sorted(methods))} may be hedged: acted on twice, at the same time"
        hint = 'Leave it out, and give calls that may be repeated an Idempotency-Key (idempotency_key: "auto").'
        yield ("retry", "methods"), message, hint


def crowded_pool(subject: Subject) -> Iterator[Found]:
    """W005: one call can take what is meant for all."""
    retry, limit = subject.own.retry, subject.limit
    attempts = 1 if retry is None else retry.max_attempts
    which = "concurrency.limit and pool.max_connections"
    if attempts > limit:
        message = f"one call can cause {attempts} requests, and all calls together may have {limit} under way"
        yield ("retry", "max_attempts"), message, f"Lower it, or raise {which}: the lower of the two rules."
    elif subject.own.hedge is not None and limit < 2:
        message = "no hedge is ever sent: it needs a second request under way, and 1 is allowed"
        yield ("hedge",), message, f"Raise {which}, or leave it out."


def limit_above_pool(subject: Subject) -> Iterator[Found]:
    """W006: a limit that another one keeps from being reached."""
    own, most = subject.own.concurrency, subject.own.pool.max_connections
    if own is None or own.limit <= most or subject.route is not None:
        return
    if subject.origin("concurrency", "limit") is not LIBRARY:
        message = f"{own.limit} is never reached: pool.max_connections ({most}) rules"
        yield ("concurrency", "limit"), message, "Raise pool.max_connections to it, or lower it."


def outlived_by_request(subject: Subject) -> Iterator[Found]:
    """W007: the inbound request ends first."""
    total, inbound = subject.own.timeout.total, subject.settings.inbound.timeout
    if total is None or inbound is None or total <= inbound or subject.origin("timeout", "total") is LIBRARY:
        return
    message = f"{total:g} s is longer than an inbound request has (inbound.timeout, {inbound:g} s), which ends the call"
    yield ("timeout", "total"), message, "Lower it, or raise inbound.timeout; beside inbound requests it is right."


def outlived_by_worker(subject: Subject) -> Iterator[Found]:
    """W008: the worker is killed first."""
    total, worker = subject.own.timeout.total, subject.worker_timeout
    inbound = subject.settings.inbound.timeout
    bounded = [each for each in (total, inbound) if each is not None]
    if worker is None or total is None or min(bounded) <= worker or subject.origin("timeout", "total") is LIBRARY:
        return
    message = f"{total:g} s is longer than a worker may be busy ({worker:g} s)"
    yield ("timeout", "total"), message, f"Set it below {worker:g}, or give workers more time."


RULES: dict[str, Rule] = {
    "W003": short_window,
    "W004": unsafe_hedge,
    "W005": crowded_pool,
    "W006": limit_above_pool,
    "W007": outlived_by_request,
    "W008": outlived_by_worker,
}
