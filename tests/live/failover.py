"""Failover: steady calls to three nodes in processes of their own, one of which dies, or hangs, and comes back.

Calls are made at a constant rate, whether or not those before them were answered, by threads or by tasks. What is told
is in seconds after the first call.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from resilient_http import Resilience
from tests.live.node_process import NodeProcess

KINDS = ("sync", "asyncio")
OUTAGES = ("kill -9", "SIGSTOP")
CALLERS = 80  # threads: more than ever wait at once
NODES = 3
RUN = 30  # calls in a row by which it is told whether a node is in use


@dataclass(frozen=True)
class Plan:
    """What is done.

    Attributes:
        rate: Calls per second.
        takes: Seconds that a node takes for an answer.
        before, down, after: Seconds before the outage, of it, and after it.
        attempt: Seconds that an attempt may take.
        open_for: Seconds until a probe, each time.
        slow_start: Seconds over which a node that is back takes its share.
    """

    rate: float
    takes: float
    before: float
    down: float
    after: float
    attempt: float
    open_for: float
    slow_start: float
    warm_up: float = 1.0

    def settings(self, urls: list[str]) -> dict[str, Any]:
        """Those of the upstream; what is not said is the default."""
        return {
            "endpoints": urls,
            "timeout": {"attempt": self.attempt, "read": self.attempt},
            "circuit": {"open_for": self.open_for, "max_open_for": self.open_for},
            "balance": {"slow_start": self.slow_start},
        }


@dataclass(frozen=True)
class Made:
    """A call: when it should have been made, when it was, how long it took, and what became of it."""

    due: float
    at: float
    took: float
    attempts: int
    endpoint: str
    error: str = ""


@dataclass
class Outcome:
    """What became of all calls.

    Attributes:
        calls: In the order in which they should have been made.
        fell: When the node did.
        rose: When it listened again.
    """

    plan: Plan
    node: str
    calls: list[Made] = field(default_factory=list)
    fell: float = 0.0
    rose: float = 0.0

    def within(self, begin: float, end: float) -> list[Made]:
        """Those made in that time."""
        return [call for call in self.calls if begin <= call.at < end]

    @property
    def before(self) -> list[Made]:
        return [call for call in self.within(self.plan.warm_up, self.fell) if call.at + call.took < self.fell]

    @property
    def during(self) -> list[Made]:
        return self.within(self.fell, self.rose)

    @property
    def settled(self) -> list[Made]:
        """Those of the outage after the first `attempt` timeout has passed."""
        return self.within(self.fell + self.plan.attempt, self.rose)

    @property
    def after(self) -> list[Made]:
        return [call for call in self.calls if call.at >= self.rose]

    @property
    def failed(self) -> list[Made]:
        return [call for call in self.calls if call.error]

    @property
    def back_in(self) -> float | None:
        """Seconds from its return until the node has at least half of its share, of RUN calls in a row."""
        later = self.after
        for index in range(len(later) - RUN + 1):
            ended_there = sum(call.endpoint == self.node for call in later[index : index + RUN])
            if ended_there >= RUN / NODES / 2:
                return later[index].at - self.rose
        return None


def p(share: float, calls: list[Made]) -> float:
    """The time that so large a share of them does not exceed."""
    ordered = sorted(call.took for call in calls)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def fail_over(kind: str, outage: str, plan: Plan, listeners: Any = ()) -> Outcome:
    """Have it all happen."""
    with ExitStack() as running:
        nodes = [running.enter_context(NodeProcess(plan.takes)) for _ in range(NODES)]
        outcome = Outcome(plan, nodes[0].url)
        settings = {"upstreams": {"nodes": plan.settings([node.url for node in nodes])}}
        resilience = Resilience(settings, listeners=listeners)
        count = int(plan.rate * (plan.warm_up + plan.before + plan.down + plan.after))
        began = time.monotonic() + 0.1
        trouble = threading.Thread(target=_trouble, args=(outage, nodes[0], outcome, began))
        trouble.start()
        if kind == "sync":
            with resilience, resilience.client() as client:
                _in_threads(client, outcome, count, began)
        else:
            asyncio.run(_in_tasks(resilience, outcome, count, began))
        trouble.join()
    outcome.calls.sort(key=lambda call: call.due)
    return outcome


def _trouble(outage: str, node: NodeProcess, outcome: Outcome, began: float) -> None:
    plan = outcome.plan
    time.sleep(max(0.0, began + plan.warm_up + plan.before - time.monotonic()))
    fall, rise = (node.kill, node.start) if outage == "kill -9" else (node.suspend, node.resume)
    fall()
    outcome.fell = time.monotonic() - began
    time.sleep(plan.down)
    rise()
    outcome.rose = time.monotonic() - began


def _in_threads(client: Any, outcome: Outcome, count: int, began: float) -> None:
    numbers = itertools.count()

    def call_on() -> None:
        while (number := next(numbers)) < count:
            due = number / outcome.plan.rate
            time.sleep(max(0.0, began + due - time.monotonic()))
            at = time.monotonic()
            try:
                response = client.get(f"http://nodes/{number}")
            except Exception as exc:  # noqa: BLE001 - it is told
                outcome.calls.append(_made(due, at, began, None, exc))
            else:
                outcome.calls.append(_made(due, at, began, response, None))

    callers = [threading.Thread(target=call_on) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


async def _in_tasks(resilience: Resilience, outcome: Outcome, count: int, began: float) -> None:
    async def call(client: Any, number: int, due: float) -> None:
        at = time.monotonic()
        try:
            response = await client.get(f"http://nodes/{number}")
        except Exception as exc:  # noqa: BLE001 - it is told
            outcome.calls.append(_made(due, at, began, None, exc))
        else:
            outcome.calls.append(_made(due, at, began, response, None))

    async with resilience, resilience.async_client() as client, asyncio.TaskGroup() as tasks:
        for number in range(count):
            due = number / outcome.plan.rate
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            tasks.create_task(call(client, number, due))


def _made(due: float, at: float, began: float, response: Any, error: Exception | None) -> Made:
    took = time.monotonic() - at
    journal = getattr(error, "journal", None) if response is None else response.extensions["resilient_http"]
    attempts = () if journal is None else journal.attempts
    wrong = str(error or ("" if response.status_code == 200 else response.status_code))
    return Made(due, at - began, took, len(attempts), attempts[-1].endpoint if attempts else "", wrong)
