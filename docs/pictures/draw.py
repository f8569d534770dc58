"""Draw what happens to a thousand calls with and without a policy, on the simulation's virtual clock.

    make pictures        all of them; they come out alike each time

Each dot is a call: when it was made, and how long its caller waited.
"""

from __future__ import annotations

import math
import random
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[2]))

from resilient_http.call import Call
from resilient_http.errors import Refused
from resilient_http.events import Hub
from resilient_http.guard import GuardPort, upstream_settings
from resilient_http.pipeline import compose_guard
from resilient_http.ports.simulated import SimulatedPort, SimulatedReply
from resilient_http.settings.guards import GuardSettings
from resilient_http.state.outcome import Fault
from resilient_http.upstreams.nodes import Nodes
from resilient_http.upstreams.upstream import Upstream
from tests.simulation.test_adaptive import Server
from tests.simulation.world import Made, World

HERE = Path(__file__).parent
CALLS, RATE = 1000, 1000 / 30
THREE = ["http://n1", "http://n2", "http://n3"]
BUSY = "the busy one"
OFF = {"retry": None, "circuit": None}
# Colours that people with any colour vision tell apart (Okabe and Ito), and a shape each.
KINDS = {
    "good answer": ("#009E73", "o"),
    "fallback": ("#56B4E9", "s"),
    "refused at once": ("#E69F00", "^"),
    "failed": ("#D55E00", "x"),
}


def usual(attempt: Any) -> float:
    """Seconds: 20 ms, give or take."""
    return attempt.call.port.rng.lognormvariate(math.log(0.02), 0.3)


def fails_now_and_then(attempt: Any, now: float) -> tuple[float, Any]:
    return usual(attempt), SimulatedReply(503 if attempt.call.port.rng.random() < 0.1 else 200)


def all_fail_for_ten_seconds(attempt: Any, now: float) -> tuple[float, Any]:
    return usual(attempt), SimulatedReply(503 if 5 < now < 15 else 200)


def all_hang_for_ten_seconds(attempt: Any, now: float) -> tuple[float, Any]:
    return (60.0, Fault.TIMEOUT) if 5 < now < 15 else (usual(attempt), SimulatedReply(200))


def slow_now_and_then(attempt: Any, now: float) -> tuple[float, Any]:
    rng = attempt.call.port.rng
    return min(3.0, 0.2 * rng.paretovariate(1.1)) if rng.random() < 0.03 else usual(attempt), SimulatedReply(200)


class Queueing:
    """Nodes that serve one request at a time, 40 ms each, and let all others wait, for as long as it takes."""

    def __init__(self) -> None:
        self.free: dict[str, float] = {}

    def __call__(self, attempt: Any, now: float) -> tuple[float, Any]:
        done = max(now, self.free.get(attempt.chosen.host, 0.0)) + 0.04
        self.free[attempt.chosen.host] = done
        return done - now, SimulatedReply(200)


class Counted:
    """A service that answers 429 to whatever is more than 20 requests in a second."""

    def __init__(self) -> None:
        self.seconds: dict[int, int] = {}

    def __call__(self, attempt: Any, now: float) -> tuple[float, Any]:
        self.seconds[int(now)] = self.seconds.get(int(now), 0) + 1
        return usual(attempt), SimulatedReply(200 if self.seconds[int(now)] <= 20 else 429)


class Quota:
    """A service that answers 250 requests in ten seconds; beyond, 429 and when the next ten begin."""

    def __init__(self) -> None:
        self.spans: dict[int, int] = {}

    def __call__(self, attempt: Any, now: float) -> tuple[float, Any]:
        span = int(now / 10)
        self.spans[span] = self.spans.get(span, 0) + 1
        if self.spans[span] <= 250:
            return usual(attempt), SimulatedReply(200)
        return usual(attempt), SimulatedReply(429, {"retry-after": str(math.ceil(10 * (span + 1) - now))})


class Shrinking:
    """A service of 8 workers, 0.2 s for each answer, that has 3 of them for a while; what waits is served in order."""

    def __init__(self) -> None:
        self.server = Server(8)
        self.server.service = 0.2
        self.steps = [(10.0, 3), (20.0, 8)]

    def __call__(self, attempt: Any, now: float) -> tuple[float, Any]:
        while self.steps and now >= self.steps[0][0]:
            self.server.become(self.steps.pop(0)[1], now)
        return self.server.respond(attempt, now)


class Shares:
    """Call middleware: a tenant that has so many calls under way is told 429 at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: Counter[str] = Counter()

    async def __call__(self, call: Any, proceed: Any) -> Any:
        tenant = call.request.headers["X-Tenant"]
        if self._under_way[tenant] >= self._most:
            return call.port.reply(429, (), b"")
        self._under_way[tenant] += 1
        try:
            return await proceed(call)
        finally:
            self._under_way[tenant] -= 1


def steady(settings: dict[str, Any], picture: Picture, within: float) -> tuple[list[Made], int]:
    """A thousand calls at a steady rate, and how many requests were sent."""
    world = World(picture.world(), endpoints=THREE, seed=1, **settings)
    made = [world.spawn(at=number / picture.rate, within=within) for number in range(CALLS)]
    world.port.run()
    return made, sum(one.journal.sent for one in made)


def of_tenants(settings: dict[str, Any], picture: Picture, within: float) -> tuple[list[Made], int]:
    """Twenty tenants make 600 calls in 30 seconds; one more makes 400 in five."""
    world = World(picture.world(), endpoints=THREE, seed=1, **settings)
    asked = [(number / 20, f"tenant {number % 20}") for number in range(600)]
    asked += [(5 + number / 80, BUSY) for number in range(400)]
    made = [
        world.spawn(
            at=at, within=within, request=httpx.Request("GET", "http://payments/", headers={"X-Tenant": tenant})
        )
        for at, tenant in asked
    ]
    world.port.run()
    return made, sum(one.journal.sent for one in made)


def of_a_function(settings: dict[str, Any] | None, picture: Picture, within: float) -> tuple[list[Made], int]:
    """A thousand calls of a function; guarded, unless there are no settings."""
    port, hub, asked = SimulatedPort(all_fail_for_ten_seconds, seed=1), Hub(), 0
    guard = None if settings is None else GuardSettings(**settings)

    async def query() -> None:
        nonlocal asked
        asked += 1
        await picture.world()(port)

    async def one(made: Made, upstream: Upstream | None) -> None:
        try:
            if upstream is None:
                await query()
            else:
                made.call = Call(GuardPort(port, query), "CALL", started=port.now())
                made.call.enter("inventory-db", None, "CALL", repeatable=True, replayable=True)
                await upstream.pipeline.run(made.call)
            made.response = SimulatedReply()
        except Exception as error:  # noqa: BLE001 - it is drawn
            made.error = error
        made.took = port.now() - made.at

    upstream = None
    if guard is not None:
        own = upstream_settings(guard)
        nodes = Nodes("inventory-db", own, hub, origin=("guard", "inventory-db", 0), rng=random.Random(1))
        upstream = Upstream("inventory-db", own, lambda upstream, _: compose_guard(upstream, guard, hub), nodes)
    made = [Made(number / picture.rate) for number in range(CALLS)]
    for each in made:
        port.spawn(one(each, upstream), at=each.at)
    port.run()
    return made, asked


def database() -> Callable[[SimulatedPort], Any]:
    """It breaks off 3 % of the queries, and hangs for ten seconds; then the driver's own timeout, 1 s, is what ends."""

    async def query(port: SimulatedPort) -> None:
        if 5 < port.now() < 15:
            await port.sleep(1.0)
            raise TimeoutError
        await port.sleep(port.rng.lognormvariate(math.log(0.02), 0.3))
        if port.rng.random() < 0.03:
            raise ConnectionError

    return query


@dataclass(frozen=True)
class Picture:
    """One policy: the world, and the settings without it and with it.

    Args:
        calls: Makes them.
        counted: Which of them the share of good ones is of.
        titles: Of the two panels; without and with the policy's name.
        legend: Where it hides no dot.
    """

    what: str
    world: Callable[[], Any]
    without: Any
    with_it: Any
    within: float = math.inf
    rate: float = RATE
    calls: Callable[[Any, Picture, float], tuple[list[Made], int]] = steady
    counted: tuple[str, Callable[[Made], bool]] = ("", lambda _: True)
    titles: tuple[str, str] | None = None
    legend: str = "upper right"


PICTURES = {
    "retry": Picture("each node fails 10 % of its requests", lambda: fails_now_and_then, {"retry": None}, {}),
    "budget": Picture(
        "all nodes answer 503 for ten seconds",
        lambda: all_fail_for_ten_seconds,
        {"circuit": None, "retry": {"budget": None}},
        {"circuit": None},
    ),
    "circuit": Picture(
        "all nodes hang for ten seconds",
        lambda: all_hang_for_ten_seconds,
        {"circuit": None, "timeout": {"attempt": 1.0}},
        {"timeout": {"attempt": 1.0}},
    ),
    "deadline": Picture(
        "all nodes hang for ten seconds; callers have half a second",
        lambda: all_hang_for_ten_seconds,
        {**OFF, "timeout": {"total": None, "attempt": None}},
        OFF,
        within=0.5,
    ),
    "concurrency": Picture(
        "three nodes serve 75 requests a second, and get 100",
        Queueing,
        {**OFF, "concurrency": {"limit": 1000, "queue": 0}, "pool": {"max_connections": 1000}},
        {**OFF, "concurrency": {"limit": 6, "queue": 3}},
        within=2.0,
        rate=100.0,
    ),
    "rate_limit": Picture(
        "a service that answers 429 to more than 20 requests in a second gets 33",
        Counted,
        {},
        {"rate_limit": {"rate": 20, "burst": 1, "wait": 0.5}},
    ),
    "fallback": Picture(
        "all nodes answer 503 for ten seconds",
        lambda: all_fail_for_ten_seconds,
        {},
        {"fallback": {"response": {"body": []}}},
    ),
    "hedge": Picture(
        "3 % of the requests are slow, each by itself", lambda: slow_now_and_then, {}, {"hedge": {"delay": "p95"}}
    ),
    "pauses": Picture(
        "an account has 250 requests in ten seconds, and makes 333; then 429 and Retry-After",
        Quota,
        {"retry": None},
        {"retry": None, "pauses": {"route": 60}},
        legend="lower left",
    ),
    "adaptive_limit": Picture(
        "a service that answers 40 calls a second, 15 from the tenth second to the twentieth, gets 33",
        Shrinking,
        {**OFF, "concurrency": {"limit": 60, "queue": 0}},
        {**OFF, "concurrency": {"limit": 60, "queue": 0, "adaptive": {}}},
        within=2.0,
        titles=("a fixed limit of 60", "an adaptive limit, at most 60"),
        legend="lower left",
    ),
    "middleware": Picture(
        "a service that answers 75 calls a second gets 20 of 20 tenants, and for five seconds 80 of a busy one; "
        "the middleware bounds each to two at once",
        Queueing,
        OFF,
        {**OFF, "middleware": {"call": [Shares(2)]}},
        within=1.0,
        calls=of_tenants,
        counted=(" for the others", lambda made: made.call.request.headers["X-Tenant"] != BUSY),
    ),
    "guard": Picture(
        "an inventory database breaks off 3 % of the queries, and for ten seconds answers none; the driver waits 1 s",
        database,
        None,
        {"circuit": {"max_open_for": 5}},
        calls=of_a_function,
    ),
}


def kind_of(made: Made) -> str:
    if made.error is None and made.response.status_code < 400:
        fallback = made.call is not None and any(note.startswith("fallback") for note in made.journal.notes)
        return "fallback" if fallback else "good answer"
    unsent = made.call is not None and made.error is None and made.journal.sent == 0
    return "refused at once" if unsent or isinstance(made.error, Refused) else "failed"


def draw(name: str, picture: Picture) -> str:
    figure, panels = plt.subplots(2, 1, figsize=(7.2, 4.6), sharex=True, sharey=True, layout="constrained")
    said, of_whom, noun = [], picture.counted, name.replace("_", " ")
    titles = picture.titles or (f"without {noun}", f"with {noun}")
    for panel, title, settings, within in (
        (panels[0], titles[0], picture.without, math.inf if name == "deadline" else picture.within),
        (panels[1], titles[1], picture.with_it, picture.within),
    ):
        made, sent = picture.calls(settings, picture, within)
        counted = [kind_of(one) in ("good answer", "fallback") for one in made if of_whom[1](one)]
        good, requests = sum(counted) / len(counted), sent / CALLS
        slowest = sorted(one.took for one in made)[int(0.99 * CALLS)]
        said.append(f"{title}: {good:.1%} good{of_whom[0]}, p99 {slowest:.3g} s, {requests:.3g} requests a call")
        for kind, (colour, marker) in KINDS.items():
            of_kind = [one for one in made if kind_of(one) == kind]
            if of_kind:
                panel.plot(
                    [one.at for one in of_kind],
                    [max(one.took, 0.001) for one in of_kind],
                    marker,
                    color=colour,
                    markersize=3,
                    label=kind,
                    rasterized=True,  # a thousand dots are smaller as an image
                )
        panel.set_yscale("log")
        panel.set_title(said[-1], loc="left", fontsize=9)
        panel.set_ylabel("seconds")
        panel.legend(loc=picture.legend, fontsize=8, framealpha=0.9)
        panel.grid(alpha=0.3)
    panels[1].set_xlabel(textwrap.fill(f"time of the call, seconds; {picture.what}", 100))
    figure.savefig(HERE / f"{name}.svg", dpi=150, metadata={"Date": None})
    plt.close(figure)
    return "; ".join(said)


def main() -> None:
    plt.switch_backend("svg")
    plt.rcParams.update({"svg.hashsalt": "resilient_http", "font.size": 9, "svg.fonttype": "none"})
    for name in sys.argv[1:] or PICTURES:
        print(f"{name:12} {draw(name, PICTURES[name])}", flush=True)


if __name__ == "__main__":
    main()
