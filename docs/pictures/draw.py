"""Draw what happens to a thousand calls with and without a policy, on the simulation's virtual clock.

    make pictures        all of them; they come out alike each time

Each dot is a call: when it was made, and how long its caller waited.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parents[2]))

from resilient_http.errors import Refused
from resilient_http.ports.simulated import SimulatedReply
from resilient_http.state.outcome import Fault
from tests.simulation.world import Made, World

HERE = Path(__file__).parent
CALLS, RATE = 1000, 1000 / 30
THREE = ["http://n1", "http://n2", "http://n3"]
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


@dataclass(frozen=True)
class Picture:
    """One policy: the world, and the settings without it and with it."""

    what: str
    world: Callable[[], Any]
    without: dict[str, Any]
    with_it: dict[str, Any]
    within: float = math.inf
    rate: float = RATE


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
}


def kind_of(made: Made) -> str:
    if made.error is None and made.response.status_code < 400:
        return "fallback" if any(note.startswith("fallback") for note in made.journal.notes) else "good answer"
    return "refused at once" if isinstance(made.error, Refused) else "failed"


def calls_of(picture: Picture, settings: dict[str, Any], *, within: float) -> tuple[list[Made], World]:
    world = World(picture.world(), endpoints=THREE, seed=1, **settings)
    made = [world.spawn(at=number / picture.rate, within=within) for number in range(CALLS)]
    world.port.run()
    return made, world


def draw(name: str, picture: Picture) -> str:
    figure, panels = plt.subplots(2, 1, figsize=(7.2, 4.6), sharex=True, sharey=True, layout="constrained")
    said = []
    for panel, title, settings, within in (
        (
            panels[0],
            f"without {name.replace('_', ' ')}",
            picture.without,
            math.inf if name == "deadline" else picture.within,
        ),
        (panels[1], f"with {name.replace('_', ' ')}", picture.with_it, picture.within),
    ):
        made, _ = calls_of(picture, settings, within=within)
        requests = sum(one.journal.sent for one in made) / CALLS
        good = sum(kind_of(one) in ("good answer", "fallback") for one in made) / CALLS
        slowest = sorted(one.took for one in made)[int(0.99 * CALLS)]
        said.append(f"{title}: {good:.1%} good, p99 {slowest:.3g} s, {requests:.3g} requests a call")
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
        panel.legend(loc="upper right", fontsize=8, framealpha=0.9)
        panel.grid(alpha=0.3)
    panels[1].set_xlabel(f"time of the call, seconds; {picture.what}")
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
