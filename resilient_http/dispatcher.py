"""Dispatcher: opens calls, passes each hop through the rings of the right upstream, and closes calls.

A client opens its call above auth and redirects and leaves it in a context variable, where the hops of it are joined to
it; see transport.py.
"""

from __future__ import annotations

import uuid
from contextvars import ContextVar
from typing import Any, NoReturn

from resilient_http.call import Call, Port
from resilient_http.engines.backend import Backend
from resilient_http.engines.body import replayable, sendable_at_once
from resilient_http.errors import NoEndpoint, ResilienceError, because
from resilient_http.events import CallFinished, Hub
from resilient_http.journal import attach_journal
from resilient_http.scope import EMPTY, Scope, current_scope
from resilient_http.semantics import BAGGAGE, IDEMPOTENCY_KEY, SENTRY_TRACE, TRACE_HEADERS
from resilient_http.settings.overrides import EXTENSION
from resilient_http.telemetry.degraded import degraded_as, is_cancellation
from resilient_http.telemetry.metrics import current_provider
from resilient_http.telemetry.observers import Observers
from resilient_http.telemetry.tracing import CallSpan, configured
from resilient_http.upstreams.registry import Registry
from resilient_http.upstreams.upstream import Pipeline, Upstream

GRACE = 0.02  # seconds
current_call: ContextVar[Call | None] = ContextVar("resilient_http.call", default=None)


class Dispatcher:
    """Opens calls, passes their hops through the rings of the right upstream, and closes them. Thread-safe.

    Args:
        backend: httpx or httpx2.
        registry: The upstreams.
        hub: Where finished calls are told.
        observers: Who look on.
    """

    def __init__(self, backend: Backend, registry: Registry, hub: Hub, observers: Observers) -> None:
        self.backend = backend
        self.registry = registry
        self.hub = hub
        self._tell_degraded = observers.tell_degraded
        self._misplaced = observers.misplaced
        self._shown = observers.shown
        self._metering = observers.metering
        self._traces = observers.traces

    def open(
        self,
        port: Port,
        method: str,
        *,
        streamed: bool,
        scope: Scope | None = None,
        owner: object = None,
        request: Any = None,
    ) -> Call:
        """Begin a call under the current scope.

        Args:
            port: What it waits and sends with.
            method: Of the request.
            streamed: Whether the user reads the body.
            scope: The one that its client is bound to, if any.
            owner: What its client and that client's transports share; see joined().
            request: What it begins with; None for what is not HTTP.

        Raises:
            MisplacedCall: It is made where the settings refuse it.
        """
        if request is not None and (self._misplaced.looks_async if port.is_async else self._misplaced.looks_sync):
            self._misplaced.look(request, is_async=port.is_async)
        call = Call(port, method, started=port.now(), streamed=streamed, owner=owner)
        here = current_scope()
        scope = here if scope is None else scope.within(here)
        if scope is not EMPTY:
            self._place(call, scope, request)
        if self._traces and configured():
            call.span = CallSpan(call)
        metering = self._metering
        if metering is not None and current_provider() is not metering.provider:
            metering.follow()
        return call

    def _place(self, call: Call, scope: Scope, request: Any) -> None:
        """What a scope hands to the calls that are made in it."""
        call.headers, call.repeated, call.priority = scope.headers, scope.repeated, scope.priority
        if scope.chaos is not None:
            call.chaos = scope.chaos
        if scope.cancellation is not None:
            call.cancellation = scope.cancellation
            scope.cancellation.heed()
        if scope.deadline is not None:
            call.bound(scope.deadline.expires, scope.deadline.budget)
        if scope.recording is not None:
            call.record = scope.recording.begin(call, "" if request is None else self._shown(request.url))

    def bound_early(self, call: Call, request: Any) -> float:
        """Apply the deadline of the request's upstream before the first hop does: code of the user's comes before it.

        Returns:
            Seconds beyond it that our own layers may take: for a wait that ends at the deadline to be judged, and for
            a fallback to ask its store.
        """
        upstream = self.registry.find(request.url)
        settings = upstream.settings_of(_route_of(upstream, request))
        total, fallback = settings.timeout.total, settings.fallback
        if total is not None and upstream.enabled:
            call.bound(call.started + total, total)
        stale = None if fallback is None else fallback.stale
        return GRACE if stale is None else GRACE + stale.wait

    def close(self, call: Call, status: int | None, error: BaseException | None = None) -> None:
        """End a call. Gives its journal to the exception that it ends with, if any."""
        call.closed = True
        if error is not None:
            attach_journal(error, call.journal)
        if call.span is not None:
            call.span.end(call, status, error)
        kind = None
        if error is not None or call.journal.eventful or (status is not None and status >= 500):
            kind = degraded_as(call, status, error)
            if kind is not None:
                self._tell_degraded(call, kind, status, error)
        if call.record is not None:
            call.record.end(call, status, error, kind)
        if self.hub.listeners:
            self._tell(call, status, error, kind)

    def _tell(self, call: Call, status: int | None, error: BaseException | None, kind: str | None) -> None:
        now, journal = call.port.now(), call.journal
        given, left = call.given_and_left(now)
        self.hub.emit(
            CallFinished(
                journal.upstream,
                call.method,
                now - call.started,
                journal.sent,
                status,
                None if error is None else type(error).__name__,
                call.route,
                given,
                left,
                kind,
                is_cancellation(error),
            )
        )

    def joined(self, owner: object) -> Call | None:
        """The call that this hop belongs to, or None: the one that the client of this very transport has opened.

        Other code runs inside a call too (an auth flow, a hook, a listener, a body generator) and may send requests of
        its own, with other clients; those are calls of their own.
        """
        call = current_call.get()
        return call if owner is not None and call is not None and call.owner is owner and not call.closed else None

    async def hop(self, call: Call, request: Any) -> Any:
        """One pass of the call: request in, response out. Exceptions of ours are the backend's too."""
        url = request.url
        try:
            upstream = self.registry.find(url, entering=1)
            try:
                call.route = None if upstream.routes is None else _route_of(upstream, request)
                pipeline = upstream.pipeline_of(request.extensions.get(EXTENSION), call.route)
                if call.upstream and call.upstream != upstream.name:
                    self._leave_behind(call, upstream, request)
                if call.worn is not None:
                    _take_back(call, upstream, request)
                self._enter(call, upstream, pipeline, request)
                response = await pipeline.run(call)
            finally:
                if not upstream.named:
                    self.registry.leave(url)
        except ResilienceError as exc:
            self._raise_dressed(exc)
        response.extensions[EXTENSION] = call.journal
        if call.streamed and call.cancellation is not None:
            call.cancellation.opened(response.stream)
        if not call.replayable:
            call.spent = request.stream
        if upstream.named and 300 <= response.status_code < 400 and "location" in response.headers:
            self._map_back(response, upstream, url)
        return response

    def _leave_behind(self, call: Call, upstream: Upstream, request: Any) -> None:
        """What the user wrote for the upstream that he called, and another one, that this one leads to, may not see."""
        before, now = self.registry.find(call.request.url).settings, upstream.settings
        kept = {"none": 0, "tracecontext": 2, "all": 3}[now.propagate]
        names = {*TRACE_HEADERS[kept:], *(() if kept else (SENTRY_TRACE,))}
        if before.deadline_header is not None:
            names.add(before.deadline_header.name)
        if now.deadline_header is not None:
            names.discard(now.deadline_header.name)
        for name in names:
            request.headers.pop(name, None)

    async def pass_through(self, call: Call, pipeline: Pipeline) -> Any:
        """A call that is no request: its way through the rings, and nothing else."""
        try:
            return await pipeline.run(call)
        except ResilienceError as exc:
            self._raise_dressed(exc)

    def _raise_dressed(self, exc: ResilienceError) -> NoReturn:
        error = self.backend.dress(exc)
        try:
            if error is not exc:
                raise because(error, exc.__cause__) from exc.__cause__
            raise exc
        finally:
            del error  # else it, its traceback and this frame would hold each other

    def _enter(self, call: Call, upstream: Upstream, pipeline: Pipeline, request: Any) -> None:
        method = request.method
        stream = request.stream
        body_again = replayable(stream, self.backend.module)
        if not body_again and call.spent is stream:
            # A redirect or an auth flow wants the body once more; httpx might send it empty.
            raise self.backend.module.StreamConsumed
        repeatable = method in pipeline.repeatable or IDEMPOTENCY_KEY in request.headers
        call.key = None
        if pipeline.makes_key and not repeatable:
            repeatable, call.key = True, call.key_of(method, stream) or str(uuid.uuid4())
            call.keys = (*call.keys, (method, stream, call.key))
        at_once = body_again and sendable_at_once(stream)
        call.enter(upstream.name, request, method, repeatable=repeatable, replayable=body_again, at_once=at_once)
        if not upstream.endpoints.known:
            call.secure = request.url.scheme == "https"
        elif request.url.scheme == "https" and upstream.named and upstream.nodes.scheme == "http":
            message = (
                f"https://{upstream.name} asks for TLS, but its endpoints are http; call http://{upstream.name}, "
                f"or give upstreams.{upstream.name}.endpoints https URLs"
            )
            raise NoEndpoint(message, upstream=upstream.name)
        else:
            call.secure = False

    def _map_back(self, response: Any, upstream: Upstream, url: Any) -> None:
        """A Location that names an endpoint means the upstream: so auth, cookies and balancing survive a redirect."""
        try:
            location = self.backend.module.URL(response.headers["location"])
            port = "" if location.port is None else f":{location.port}"
            host = f"[{location.host}]" if ":" in location.host else location.host
        except (self.backend.module.InvalidURL, ValueError):
            return  # malformed, in its host's IDNA too: httpx will say so to the user
        if upstream.nodes.is_one(f"{location.scheme}://{host}{port}"):
            response.headers["location"] = str(location.copy_with(scheme=url.scheme, host=upstream.name, port=None))


def worn_by(request: Any) -> dict[str, str | None]:
    """The trace headers that a request has: what the user wrote."""
    return {name: request.headers.get(name) for name in (*TRACE_HEADERS, SENTRY_TRACE)}


def _take_back(call: Call, upstream: Upstream, request: Any) -> None:
    """What an instrumentation of the client (Sentry's) has injected goes where `propagate` lets it; `worn` stays."""
    kept = {"none": (), "tracecontext": (*TRACE_HEADERS[:2], SENTRY_TRACE), "all": (*TRACE_HEADERS, SENTRY_TRACE)}
    worn, call.worn = call.worn or {}, None
    for name, value in worn.items():
        given = request.headers.get(name)
        if name not in kept[upstream.settings.propagate]:
            if value is not None:
                request.headers[name] = value
            elif given is not None:
                del request.headers[name]
        elif name == BAGGAGE and value is None and given is not None:
            # It is a list, and the inbound request's would be passed on if nothing stood there.
            inbound = [more for known, more in call.headers if known == BAGGAGE]
            request.headers[name] = ",".join([*inbound, given])


def _route_of(upstream: Upstream, request: Any) -> str | None:
    return None if upstream.routes is None else upstream.routes.find(request.method, request.url.raw_path)
