"""Checker: asks endpoints whether they are well, and tells what they say. It decides nothing and waits for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from resilient_http.call import Attempt, Call, Port
from resilient_http.events import EndpointHealthy, EndpointUnhealthy, Hub
from resilient_http.settings.health import HealthSettings
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.health import Rounds
from resilient_http.upstreams.upstream import Upstream

GRACE = 0.5  # seconds after its deadline at which a check is cut from outside, as over HTTP/2
AGENT = {"user-agent": "resilient-http health check"}

Work = Callable[[Port], Coroutine[Any, Any, None]]


class Checker:
    """The checks of some upstreams, from one beginning to one end. Thread-safe.

    Args:
        upstreams: Them; those whose settings ask for no checks are left out.
        hub: Where changes are told.
        rng: Source of jitter.

    Attributes:
        over: Whether what is still under way counts no more.
    """

    def __init__(self, upstreams: Sequence[Upstream], hub: Hub, rng: random.Random) -> None:
        self._hub = hub
        self._rounds: Rounds[Endpoint] = Rounds(rng)
        self._at: dict[Endpoint, tuple[Upstream, HealthSettings]] = {}
        self.over = False
        self.watch(upstreams)

    def watch(self, upstreams: Sequence[Upstream]) -> None:
        """These are checked from now on."""
        watched = [(upstream, own) for upstream in upstreams if (own := upstream.settings.health) is not None]
        # With the endpoints that it has looked at: in one, so that whoever looks meanwhile overwrites nothing.
        self._watched: tuple[list[tuple[Upstream, HealthSettings]], list[tuple[Endpoint, ...] | None]]
        self._watched = watched, [None]

    def due(self, now: float) -> tuple[list[Work], float]:
        """The checks that begin at that instant, and in how many seconds to ask again at the latest."""
        self._look_who_is_there(now)
        members, wait = self._rounds.take(now)
        return [partial(self._check, member, *self._at[member]) for member in members], wait

    def _look_who_is_there(self, now: float) -> None:
        upstreams, known = self._watched
        seen = [upstream.endpoints.members for upstream, _ in upstreams]
        if len(seen) == len(known) and all(one is other for one, other in zip(seen, known, strict=True)):
            return
        self._at = {member: each for each, members in zip(upstreams, seen, strict=True) for member in members}
        known[:] = seen
        self._rounds.keep({member: own.interval for member, (_, own) in self._at.items()}, now)

    async def _check(self, member: Endpoint, upstream: Upstream, settings: HealthSettings, port: Port) -> None:
        why: str | None = None
        try:
            why = await ask(member, upstream.name, settings, port)
        finally:
            counts = self._rounds.done(member) and not self.over
            if counts and why is not None:
                self._note(upstream, member, why, port.now())

    def _note(self, upstream: Upstream, member: Endpoint, why: str, now: float) -> None:
        health = member.health
        if health is None or not health.record(why, now):
            return
        upstream.endpoints.note_health(member, now, healthy=health.healthy)
        if member.health is not health:  # checks were switched off meanwhile: then nobody would let it back in
            upstream.endpoints.note_health(member, now, healthy=True)
        if health.healthy:
            self._hub.announce(EndpointHealthy(upstream.name, member.url))
        else:
            self._hub.announce(EndpointUnhealthy(upstream.name, member.url, why))


async def ask(member: Endpoint, name: str, settings: HealthSettings, port: Port) -> str | None:
    """Why an endpoint is not well, "" when it is; None when that cannot be told, because we ourselves stalled.

    Args:
        member: The endpoint.
        name: The upstream's, which is the logical host.
        settings: What is asked for.
        port: What it is sent with.
    """
    now = port.now()
    call = Call(port, settings.method, started=now)
    call.bound(now + settings.timeout, settings.timeout)
    headers = tuple({**AGENT, **settings.secrets}.items())
    request = port.request(settings.method, f"http://{name}{settings.path}", headers)
    call.enter(name, request, settings.method, repeatable=True, replayable=True)
    attempt = Attempt(call, now)
    attempt.endpoint = member
    attempt.phases = dict.fromkeys(("connect", "read", "write"), settings.timeout)
    try:
        reply = await port.bounded(settings.timeout + GRACE, port.send(attempt), TimeoutError)
    except Exception as exc:  # noqa: BLE001 - whatever it is; only its name is told, because its text may quote a header
        return None if attempt.stalled else type(exc).__name__
    return judge(settings, reply, partial(port.readable, call))


def judge(settings: HealthSettings, reply: Any, readable: Callable[[Any], Any]) -> str:
    """Why an answer is not that of an endpoint that is well, or ""."""
    status: int = reply.status_code
    if settings.check is not None:
        try:
            good = settings.check(readable(reply))
        except Exception as exc:  # noqa: BLE001 - the user's
            return f"check raised {type(exc).__name__}"
        return "" if good else f"check said no to {status}"
    good = status in settings.statuses if settings.statuses else 200 <= status < 300
    return "" if good else f"status {status}"
