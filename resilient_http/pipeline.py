"""Pipeline: the settings of an upstream become its two rings of policies. The one place that states their order.

    call ring, once per hop
        fallback        outermost: it answers for whatever failed, a passed deadline included
        shed            inside the fallback, which answers for it; only while an operator has switched the upstream off
        middleware      the user's, in the order of the settings: sees what the call really ends with, not the fallback
        discovery       before the deadline, which would hide why no node is known; only where nodes are found out
        deadline        it bounds everything below, waits between attempts included; middleware is bound by it too
        retry           inside the deadline, so that it can ask what still fits
        hedge           innermost, around one attempt and its twin: a repeat is never hedged

    attempt ring, once per attempt
        pauses          first: what is to be left alone costs no token and no permit; only when routes may be paused
        rate limit      before the permit: who waits for a token must not hold one meanwhile
        concurrency     before the endpoint: a call that waits for a permit must not hold an endpoint's probe meanwhile
        adaptive        inside the permit that it is about, around the answer that it measures
        balance         chooses an endpoint and takes its circuit's permit, in one step
        timeout         starts when the endpoint is known, so that waiting in the queue does not eat its time
        headers         after the timeout, because they say what is left; only when there is something to say
        middleware      the user's, in the order of the settings: knows the endpoint and all headers but the trace's, so
                        that it can sign each attempt anew
        telemetry       around what is sent: a span covers what was really sent
        chaos           innermost: it stands for the network and the upstream, so that all else sees its faults as real
                        ones; only where faults are injected on purpose

The call's own telemetry (its span, its event) is opened by the client, above redirects and auth, because a call may
make several hops: see transport.py. A call that waits in backoff holds no permit. Every repeat passes the attempt ring
again. A ring is composed once per upstream, and once more for each kind of overrides that calls bring.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from resilient_http.call import Attempt, Call
from resilient_http.events import Hub
from resilient_http.policies import AttemptPolicy, AttemptProceed, CallPolicy, CallProceed, said_by
from resilient_http.policies.adaptive import AdaptivePolicy
from resilient_http.policies.balance import BalancePolicy
from resilient_http.policies.chaos import ChaosPolicy
from resilient_http.policies.concurrency import ADVICE, ConcurrencyObserver, ConcurrencyPolicy
from resilient_http.policies.deadline import DeadlinePolicy
from resilient_http.policies.discovery import DiscoveryPolicy
from resilient_http.policies.fallback import FallbackPolicy, FixedAnswer, FunctionAnswer, Source
from resilient_http.policies.headers import HeadersPolicy
from resilient_http.policies.hedge import HedgePolicy, HedgeRules
from resilient_http.policies.middleware import AttemptMiddlewarePolicy, CallMiddlewarePolicy
from resilient_http.policies.pause import PausePolicy
from resilient_http.policies.rate_limit import RateLimitPolicy
from resilient_http.policies.retry import RetryPolicy, RetryRules
from resilient_http.policies.shed import ShedPolicy
from resilient_http.policies.stale_answer import StaleAnswer
from resilient_http.policies.telemetry import AttemptTracer, TelemetryPolicy, Untraced
from resilient_http.policies.timeout import TimeoutPolicy
from resilient_http.semantics import IDEMPOTENT_METHODS
from resilient_http.settings.endpoints import BalanceSettings
from resilient_http.settings.fallback import FallbackSettings, StaleSettings
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.models import UpstreamSettings
from resilient_http.settings.retry import HedgeSettings, RetrySettings
from resilient_http.state.backoff import Backoff
from resilient_http.state.outcome import Fault
from resilient_http.upstreams.upstream import Pipeline, Upstream

GUARDED = frozenset({Fault.RAISED, Fault.TIMEOUT})  # what is repeated of a function that is idempotent
GUARD_ADVICE = "raise its concurrency.limit, or call it less; one that is guarded and calls itself waits for itself"


def compose(upstream: Upstream, settings: UpstreamSettings, tracer: AttemptTracer, hub: Hub) -> Pipeline:
    """The way of a call to `upstream`, as `settings` say; the state that its calls share is the upstream's."""
    retry = settings.retry
    middleware = settings.middleware
    repeatable = frozenset(IDEMPOTENT_METHODS if retry is None else retry.methods)
    if not upstream.enabled:  # the user's timeout= is httpx's own then
        balance = BalancePolicy(upstream.endpoints, hub, trusts_marker=settings.trust_dependency_marker)
        return _pipeline(_discovery(upstream, None), [balance, TimeoutPolicy(None, {})], repeatable)

    attempt_ring: list[AttemptPolicy] = [
        *_pauses(settings, upstream, hub),
        *_rate_limit(settings, upstream, hub),
        *_concurrency(settings, upstream, hub),
        _balance(settings, upstream, hub),
        TimeoutPolicy(settings.timeout.attempt, settings.timeout.phases()),
        *_headers(settings),
        *map(AttemptMiddlewarePolicy, middleware.attempt),
        TelemetryPolicy(tracer, hub),
        *_chaos(settings, upstream, hub),
    ]
    call_ring: list[CallPolicy] = [
        *_fallback(upstream, settings.fallback, hub),
        *_shed(upstream),
        *(CallMiddlewarePolicy(each, settings.timeout.total) for each in middleware.call),
        *_discovery(upstream, settings.timeout.total),
        DeadlinePolicy(settings.timeout.total),
    ]
    if retry is not None:
        rules, backoff = _retry_rules(retry, settings, upstream), Backoff(**retry.backoff.model_dump())
        call_ring.append(RetryPolicy(rules, backoff, upstream.budget, upstream.endpoints, upstream.record.repeats, hub))
    hedges = upstream.position.hedges is None
    hedge = None if settings.hedge is None or not hedges else _hedge(settings.hedge, settings, upstream, hub)
    return _pipeline(call_ring, attempt_ring, repeatable, hedge, makes_key=settings.idempotency_key == "auto")


def compose_guard(upstream: Upstream, settings: GuardSettings, hub: Hub) -> Pipeline:
    """The way of a guarded function's call: the same rings, without what is HTTP's alone."""
    timeout, retry = settings.timeout, settings.retry
    attempt_ring: list[AttemptPolicy] = [
        *_concurrency(upstream.settings, upstream, hub, GUARD_ADVICE),
        BalancePolicy(upstream.endpoints, hub),
        TimeoutPolicy(timeout.attempt, {}),
        TelemetryPolicy(Untraced(), hub),
    ]
    call_ring: list[CallPolicy] = [*_shed(upstream), DeadlinePolicy(timeout.total)]
    if retry is not None:
        rules = RetryRules(
            retry.max_attempts,
            frozenset(),
            GUARDED,
            retry.classify,
            retry.max_wait,
            observe=retry.observe,
            off=_retries_off(upstream),
        )
        backoff = Backoff(**retry.backoff.model_dump())
        call_ring.append(RetryPolicy(rules, backoff, upstream.budget, upstream.endpoints, upstream.record.repeats, hub))
    return _pipeline(call_ring, attempt_ring, frozenset())


def _pipeline(
    call_ring: Sequence[CallPolicy], attempt_ring: Sequence[AttemptPolicy], repeatable: frozenset[str],
    hedge: HedgePolicy | None = None, *, makes_key: bool = False,
) -> Pipeline:  # fmt: skip
    attempts = _attempt_ring(attempt_ring)
    innermost = _single(attempts) if hedge is None else _hedged(hedge, attempts)
    around = call_ring if hedge is None else (*call_ring, hedge)
    order = {"call": tuple(map(_noun, around)), "attempt": tuple(map(_noun, attempt_ring))}
    return Pipeline(_call_ring(call_ring, innermost), repeatable, makes_key, order)


def _noun(policy: object) -> str:
    """What status() calls a policy: the noun that its class has, and a user's middleware by its path."""
    if isinstance(policy, (CallMiddlewarePolicy, AttemptMiddlewarePolicy)):
        return str(policy)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(policy).__name__.removesuffix("Policy")).lower()


def _fallback(upstream: Upstream, settings: FallbackSettings | None, hub: Hub) -> list[CallPolicy]:
    if settings is None:
        return []
    source: Source
    if settings.response is not None:
        source = FixedAnswer(settings.response.status, settings.response.lines, settings.response.content)
    elif settings.function is not None:
        source = FunctionAnswer(settings.function)
    else:
        stale = settings.stale or StaleSettings()
        store = stale.store if upstream.memory is None else upstream.memory
        source = StaleAnswer(store, stale.max_age, stale.key, stale.wait, upstream.record.fallbacks)
    statuses = frozenset(settings.statuses)
    return [FallbackPolicy(source, statuses, upstream.record.fallbacks, hub, observe=settings.observe)]


def _chaos(settings: UpstreamSettings, upstream: Upstream, hub: Hub) -> list[AttemptPolicy]:
    return [] if settings.chaos is None else [ChaosPolicy(upstream.chaos, upstream.record.faults, hub)]


def _shed(upstream: Upstream) -> list[CallPolicy]:
    switch = upstream.position.shed
    return [] if switch is None else [ShedPolicy(switch, upstream.record.refusals)]


def _retries_off(upstream: Upstream) -> str:
    switch = upstream.position.retries
    return "" if switch is None else switch.by


def _discovery(upstream: Upstream, total: float | None) -> list[CallPolicy]:
    search = upstream.discovery
    return [] if search is None else [DiscoveryPolicy(upstream.endpoints, search, total)]


def _pauses(settings: UpstreamSettings, upstream: Upstream, hub: Hub) -> list[AttemptPolicy]:
    own = settings.pauses
    if own is None or own.route is None:
        return []
    by_path, tally = own.by == "path", upstream.record.pause_decisions
    return [PausePolicy(upstream.record.pauses, own.route, tally, hub, by_path=by_path, observe=own.observe)]


def _rate_limit(settings: UpstreamSettings, upstream: Upstream, hub: Hub) -> list[AttemptPolicy]:
    own, bucket = settings.rate_limit, upstream.bucket
    if own is None or bucket is None:
        return []
    usual, tally = upstream.endpoints.usual, upstream.record.rate_decisions
    return [RateLimitPolicy(bucket, own.wait, usual, tally, hub, observe=own.observe)]


def _concurrency(settings: UpstreamSettings, upstream: Upstream, hub: Hub, advice: str = ADVICE) -> list[AttemptPolicy]:
    usual, tally, priority = upstream.endpoints.usual, upstream.record.refusals, settings.priority
    ring: list[AttemptPolicy] = [
        ConcurrencyPolicy(upstream.limit, settings.timeout.pool, usual, tally, priority, advice),
    ]
    if upstream.observed_limit is not None:  # what is tried out comes before what rules
        ring.insert(0, ConcurrencyObserver(upstream.observed_limit, tally, priority, hub))
    if upstream.adaptive is not None:
        ring.append(AdaptivePolicy(upstream.adaptive, upstream.observed_limit or upstream.limit, hub))
    return ring


def _balance(settings: UpstreamSettings, upstream: Upstream, hub: Hub) -> BalancePolicy:
    pauses = settings.pauses
    return BalancePolicy(
        upstream.endpoints,
        hub,
        trusts_marker=settings.trust_dependency_marker,
        pause=None if pauses is None else pauses.endpoint,
        asks=None if pauses is None else pauses.header,
        observe=pauses is not None and pauses.observe,
        key=_key_of(settings.balance),
    )


def _key_of(balance: BalanceSettings) -> Callable[[Call], str | None] | None:
    """What calls have in common that go to one endpoint; None where nothing is asked for."""
    name = balance.header
    function: Callable[[Any], Any] | None = balance.key
    if name is not None:
        return lambda call: next((value for line, value in call.port.lines(call.request) if line == name), None)
    return None if function is None else lambda call: _text(said_by(function, call.request))


def _text(key: object) -> str | None:
    return None if key is None else str(key)


def _hedge(hedge: HedgeSettings, settings: UpstreamSettings, upstream: Upstream, hub: Hub) -> HedgePolicy:
    statuses = frozenset() if settings.retry is None else frozenset(settings.retry.statuses)
    # What a SOCKS proxy is told has no time limit of httpcore's, so our sockets do not know whose it is.
    by_socks = settings.proxy is not None and settings.proxy.get_secret_value().startswith("socks")
    cuttable = not (settings.http2 or by_socks)
    rules = HedgeRules(hedge.seconds, hedge.quantile, statuses, cuttable, hedge.observe)
    return HedgePolicy(
        rules, upstream.record.latency, upstream.budget, upstream.endpoints.usual, upstream.record.hedges, hub
    )


def _headers(settings: UpstreamSettings) -> list[AttemptPolicy]:
    deadline, number = settings.deadline_header, settings.attempt_header
    header = settings.priority_header
    if deadline is None and number is None and header is None and settings.idempotency_key is None:
        return []
    return [
        HeadersPolicy(
            deadline=None if deadline is None else (deadline.name, deadline.unit),
            number=number,
            priority=None if header is None else (header, settings.priority),
        )
    ]


def _retry_rules(retry: RetrySettings, settings: UpstreamSettings, upstream: Upstream) -> RetryRules:
    return RetryRules(
        retry.max_attempts,
        frozenset(retry.statuses),
        frozenset(Fault[name.upper()] for name in retry.faults),
        retry.classify,
        retry.max_wait,
        None if retry.stop_header is None else (retry.stop_header.name, retry.stop_header.value),
        settings.trust_dependency_marker,
        retry.observe,
        _retries_off(upstream),
    )


def _call_ring(policies: Sequence[CallPolicy], innermost: CallProceed) -> CallProceed:
    for policy in reversed(policies):
        innermost = _around_call(policy, innermost)
    return innermost


def _around_call(policy: CallPolicy, proceed: CallProceed) -> CallProceed:
    run = policy.__call__  # bound once: to call an object looks for this each time
    return lambda call: run(call, proceed)


def _attempt_ring(policies: Sequence[AttemptPolicy]) -> AttemptProceed:
    """The attempt ring; it sees to the end of each attempt."""
    ring: AttemptProceed = _send
    for policy in reversed(policies):
        ring = _around_attempt(policy, ring)

    async def attempt_once(attempt: Attempt) -> Any:
        port = attempt.call.port
        try:
            response = await ring(attempt)
        except BaseException as exc:
            attempt.end(port.now(), exc)
            raise
        if not attempt.streaming:
            attempt.end(port.now())
        return response

    return attempt_once


def _single(proceed: AttemptProceed) -> CallProceed:
    return lambda call: proceed(Attempt(call, call.port.now()))


def _hedged(policy: HedgePolicy, proceed: AttemptProceed) -> CallProceed:
    return lambda call: policy(call, proceed)


def _around_attempt(policy: AttemptPolicy, proceed: AttemptProceed) -> AttemptProceed:
    run = policy.__call__
    return lambda attempt: run(attempt, proceed)


def _send(attempt: Attempt) -> Awaitable[Any]:
    return attempt.call.port.send(attempt)
