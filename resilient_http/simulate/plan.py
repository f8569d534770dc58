"""Plan: what settings mean, in seconds and requests.

    plan(settings).upstream("payments").max_requests <= 4

Where a number follows from the settings alone it is reckoned; where it depends on what a state machine does, that is
run: see trials. Nothing is reckoned, or run, before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from resilient_http.errors import SettingsError
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.simulate.table import aligned, number, seconds
from resilient_http.simulate.trials import HANGS, REFUSES, Drawn, Refusal, Trial, repeats, rests
from resilient_http.simulate.world import nodes_of
from resilient_http.state.backoff import Backoff
from resilient_http.state.outcome import Fault

FIGURES = (
    "worst_case", "max_requests", "load_when_failing", "opens_when_refused", "lost_when_refused",
    "opens_when_hanging", "lost_when_hanging", "tried_again", "longest_rest", "refused_when_hanging",
)  # fmt: skip


def plan(settings: Settings | Mapping[str, Any], *, rate: float = 100.0) -> Plan:
    """What the settings of named upstreams mean.

    Args:
        settings: Settings, or a mapping of them.
        rate: Calls a second to each upstream from this process. Positive.

    Raises:
        SettingsError: A setting is wrong, or the rate is.
    """
    if not rate > 0:
        raise SettingsError(f"rate: more than 0 calls a second are needed (got {rate!r})", path="rate", value=rate)
    return Plan(settings if isinstance(settings, Settings) else Settings(**settings), rate)


@dataclass(frozen=True)
class UpstreamPlan:
    """What the settings of one upstream mean, at a rate of calls.

    Attributes:
        name: Its name.
        rate: Calls a second.
        settings: Its settings.
    """

    name: str
    rate: float
    settings: UpstreamSettings

    @property
    def worst_case(self) -> float | None:
        """Seconds until a call has ended, whatever happens; None where nothing bounds it.

        A `timeout.total`, or what all its waits and attempts take together, whichever is less. Not bounded by it is
        code of the user's (a fallback function, middleware); a streamed body is bounded by `timeout.total` alone.
        """
        own = self.settings
        known = [limit for limit in (own.timeout.total, self._waits_and_attempts) if limit is not None]
        stale = None if own.fallback is None else own.fallback.stale
        return min(known) + (0.0 if stale is None else stale.wait) if known else None

    @property
    def max_requests(self) -> int:
        """Most requests that one call causes, hedges included; of a call with redirects, each hop does."""
        retry, hedge = self.settings.retry, self.settings.hedge
        attempts = 1 if retry is None or retry.observe else retry.max_attempts
        return attempts if hedge is None or hedge.observe else max(attempts, 2)

    @cached_property
    def load_when_failing(self) -> float:
        """Times its usual requests that the upstream gets when all calls fail, as long as its circuits are closed."""
        return 1.0 + repeats(self.settings, self.rate, self.max_requests - 1) / self.rate

    @property
    def opens_when_refused(self) -> float | None:
        """Seconds until the circuit of a node opens that refuses connections; None for not while looked on.

        The balancer avoids a node that fails, so among siblings that takes the longer the better they are: what it
        costs is `lost_when_refused`.
        """
        return self._refused[0]

    @property
    def lost_when_refused(self) -> int:
        """Requests that the node was sent till then."""
        return self._refused[1]

    @property
    def opens_when_hanging(self) -> float | None:
        """Seconds until the circuit of a node opens that answers nothing; None for not while looked on."""
        return self._hanging[0]

    @property
    def lost_when_hanging(self) -> int:
        """Requests that the node was sent till then."""
        return self._hanging[1]

    @cached_property
    def tried_again(self) -> tuple[float, float] | None:
        """Seconds after which a circuit that has opened lets a probe through, at least and at most."""
        least, most = rests(self.settings, 0.0), rests(self.settings, 1.0)
        return (least[0], most[0]) if least and most else None

    @cached_property
    def longest_rest(self) -> float | None:
        """Most seconds between two probes, when all of them fail."""
        return max(rests(self.settings, 1.0), default=None)

    @cached_property
    def refused_when_hanging(self) -> Refusal | None:
        """When the first call is refused after all nodes have stopped answering, and by what; None for not at all."""
        nodes = range(len(nodes_of(self.settings)))
        return Trial(self.name, self.settings, self.rate, nodes, HANGS).until_refused()

    @property
    def looked_on(self) -> float:
        """Seconds for which it is looked on after nodes have failed."""
        return self._trial(REFUSES).lasts

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        found = {name: getattr(self, name) for name in FIGURES}
        refusal, again = self.refused_when_hanging, self.tried_again
        found["refused_when_hanging"] = None if refusal is None else asdict(refusal)
        found["tried_again"] = None if again is None else list(again)
        return {"endpoints": len(nodes_of(self.settings)), "looked_on": self.looked_on, **found}

    @property
    def _waits_and_attempts(self) -> float | None:
        """What all its waits and attempts take together."""
        own, retry = self.settings, self.settings.retry
        if own.timeout.pool is None or own.timeout.attempt is None:
            return None
        limit = own.rate_limit
        waits = own.timeout.pool + (0.0 if limit is None or limit.observe else limit.wait)  # repeats do not queue
        attempts = 1 if retry is None or retry.observe else retry.max_attempts
        if retry is not None:
            backoff, drawn = Backoff(**retry.backoff.model_dump()), Drawn(1.0)
            answered = bool(retry.statuses) or retry.classify is not None  # so it may ask for any wait: Retry-After
            waits += sum(
                retry.max_wait if answered else min(retry.max_wait, backoff.next_delay(repeat, drawn))
                for repeat in range(1, attempts)
            )
        return waits + attempts * own.timeout.attempt

    @cached_property
    def _refused(self) -> tuple[float | None, int]:
        return self._trial(REFUSES).until_open()

    @cached_property
    def _hanging(self) -> tuple[float | None, int]:
        return self._trial(HANGS).until_open()

    def _trial(self, fate: tuple[float, Fault]) -> Trial:
        return Trial(self.name, self.settings, self.rate, [0], fate)


@dataclass(frozen=True)
class Plan:
    """What settings mean: of each named upstream, at a rate of calls.

    Attributes:
        settings: The settings.
        rate: Calls a second to each upstream.
    """

    settings: Settings
    rate: float

    @cached_property
    def upstreams(self) -> Mapping[str, UpstreamPlan]:
        """Name to plan."""
        return {name: UpstreamPlan(name, self.rate, own) for name, own in self.settings.upstreams.items()}

    def upstream(self, name: str) -> UpstreamPlan:
        """The plan of one.

        Raises:
            KeyError: There is none of that name; the message lists those that are.
        """
        if name not in self.upstreams:
            message = f"no upstream {name!r}; known: {', '.join(self.upstreams) or 'none'}"
            raise KeyError(message)
        return self.upstreams[name]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"rate": self.rate, "upstreams": {name: own.as_dict() for name, own in self.upstreams.items()}}

    def as_table(self) -> str:
        """For a person."""
        if not self.upstreams:
            return "no upstream is named in these settings"
        heads = (
            f"at {number(self.rate)} calls/s", "a call takes", "and causes", "when all fail", "a node refuses",
            "a node hangs", "tried again", "all hang",
        )  # fmt: skip
        units = ("", "at most", "at most", "it gets", "circuit open", "circuit open", "in", "first refused")
        return aligned([heads, units, *(_row(own) for own in self.upstreams.values())])


def _row(own: UpstreamPlan) -> list[str]:
    again, longest, refusal = own.tried_again, own.longest_rest, own.refused_when_hanging
    return [
        own.name,
        "no limit" if own.worst_case is None else seconds(own.worst_case),
        f"{own.max_requests} request{'' if own.max_requests == 1 else 's'}",
        f"{number(own.load_when_failing)} times",
        _after(own, own.opens_when_refused, f" ({own.lost_when_refused} lost)"),
        _after(own, own.opens_when_hanging, f" ({own.lost_when_hanging} lost)"),
        "never opens" if again is None else f"{again[0]:.3g}-{again[1]:.3g} s, at most {longest:.3g} s",
        "never" if refusal is None else _after(own, refusal.after, f" ({refusal.why})"),
    ]


def _after(own: UpstreamPlan, found: float | None, note: str) -> str:
    return (f"not in {seconds(own.looked_on)}" if found is None else f"after {seconds(found)}") + note
