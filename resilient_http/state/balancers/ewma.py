"""Ewma: of two endpoints drawn at random, the one where one more request would take less time.

That is the endpoint's latency (state/peak_ewma.py) times the requests in flight there and this one, and the penalty for
failures, because what fails fast is not quick; over the weight. One of which nothing is known is tried by one request
at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from resilient_http.state.balancers.p2c import P2C
from resilient_http.state.endpoint import Endpoint
from resilient_http.state.peak_ewma import DECAY, PeakEwma

UNKNOWN = 1e6  # seconds: after anything that is known, while a first answer is on its way


def ewma(members: Sequence[Endpoint], decay: float = DECAY) -> P2C:
    """Picks the less loaded of two, by latency.

    Args:
        members: The endpoints; those that are new get a latency of their own.
        decay: Seconds in which an old one fades to 1/e.
    """
    for member in members:
        if member.ewma is None:
            member.ewma = PeakEwma(decay)
    return P2C(members, ewma_load)


def ewma_load(member: Endpoint, now: float) -> float:
    """How long one more request there would take, over its weight."""
    busy, cost = member.busy(now), 0.0 if member.ewma is None else member.ewma.cost(now)
    return (cost * (busy + 1.0) if cost else UNKNOWN * busy) / member.weight
