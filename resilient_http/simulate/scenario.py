"""Scenario: what happens to an upstream, as a sequence of phases. What a phase does not say stays as it was before.

title = "One of the nodes dies"
rate_of = "node"             # rates are of each node; "all" (the default): of all together

[[phases]]
name = "calm"
duration = 30
rate = 100                   # calls a second, whatever became of those before
deadline = 2.0               # callers wait so long
every = { latency = { median = 0.02, sigma = 0.4 }, workers = 10, queue = 100 }

[[phases]]
name = "dead"
duration = 30
nodes = { 1 = { outage = "refuse" } }     # the first endpoint; or by its host: "10.0.0.1:8080"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from resilient_http.errors import SettingsError, suggestion
from resilient_http.settings.models import UpstreamSettings
from resilient_http.settings.validation import Model, mistake_at, mistakes_in, nearest, not_bool, settings_error
from resilient_http.settings.values import Count, Ratio, Seconds, Size

SHIPPED = "scenarios"

Spread = Annotated[float, BeforeValidator(not_bool), Field(ge=0, le=5, allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(not_bool), Field(gt=0, allow_inf_nan=False)]
CallRate = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Failing = Annotated[int, BeforeValidator(not_bool), Field(ge=400, le=599)]


def _or_none(word: str) -> BeforeValidator:
    """TOML has no null: a word stands for it."""
    return BeforeValidator(lambda value: None if value == word else value)


class TailSettings(Model):
    """A share of the requests that takes far longer: Pareto's law.

    Attributes:
        share: Of the requests. 0 to 1; 1 for all.
        least: Seconds at which the tail begins.
        shape: The lower, the heavier. Positive.
        most: Seconds at which it is cut off.
    """

    share: Ratio = 1.0
    least: Seconds
    shape: Positive = 1.5
    most: Seconds = 60.0


class LatencySettings(Model):
    """Seconds that a node works on a request. A number is short for that median, always.

    Attributes:
        median: Of a lognormal law.
        sigma: Its spread: 0 for none, 0.4 for a p99 of 2.5 times the median.
        tail: See TailSettings; None for none.
    """

    median: Seconds
    sigma: Spread = 0.0
    tail: TailSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"median": value} if isinstance(value, (int, float)) else value


class FailureSettings(Model):
    """Answers that say no. A number is short for that share.

    Attributes:
        share: Of the answers. 0 to 1.
        status: What they say.
        after: Seconds that such an answer takes; None for as long as any.
        retry_after: Whole seconds that they ask to wait for, or None.
    """

    share: Ratio
    status: Failing = 503
    after: Seconds | None = None
    retry_after: Size | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"share": value} if isinstance(value, (int, float)) else value


class OutageSettings(Model):
    """What a node does instead of its work. Its kind alone, or a status, is short for it.

    Attributes:
        kind: "refuse": nobody listens, and what was under way has broken off; "unreachable": nothing comes through, no
            connection either; "hang": it takes requests and stands still, and works them off when that is over;
            "status": it answers all at once with `status`.
        status: What it answers.
        after: Seconds that such an answer, or refusal, takes.
        retry_after: Whole seconds that such an answer asks to wait for, or None.
    """

    kind: Literal["refuse", "unreachable", "hang", "status"]
    status: Failing = 503
    after: Seconds = 0.001
    retry_after: Size | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_kind(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"kind": value}
        return {"kind": "status", "status": value} if isinstance(value, int) else value


class NodeSettings(Model):
    """What a node can do.

    Attributes:
        latency: See LatencySettings.
        workers: Requests that it works on at once; "unlimited" for any number.
        queue: Requests that may wait for a worker. They are worked on in order, also those whose callers have left.
        overflow: What a request meets when the queue is full: a status, or "refuse".
        failures: See FailureSettings.
        outage: See OutageSettings; "none" for none.
        heeds_deadline: Whether it drops what is late by the `deadline_header` of the settings, when its turn comes.
    """

    latency: LatencySettings = LatencySettings(median=0.02, sigma=0.4)
    workers: Annotated[Count | None, _or_none("unlimited")] = None
    queue: Size = 1000
    overflow: Literal["refuse"] | Failing = 503
    failures: FailureSettings = FailureSettings(share=0.0)
    outage: Annotated[OutageSettings | None, _or_none("none")] = None
    heeds_deadline: bool = False

    def changed(self, change: NodeSettings) -> NodeSettings:
        """These, but for what the other says."""
        return self.model_copy(update={name: getattr(change, name) for name in change.model_fields_set})


class PhaseSettings(Model):
    """A while in which nothing changes.

    Attributes:
        name: For the table and the picture.
        duration: Seconds.
        rate: Calls a second that are made, whatever became of those before.
        arrivals: "poisson" (at random), or "constant" (in step).
        deadline: Seconds that callers wait; "none" for as long as it takes.
        writes: Share of the calls that must not be repeated once they were sent (POST).
        every: What becomes of every node.
        nodes: What becomes of one, by its place among the endpoints (from 1), or by its host and port.
    """

    name: str = ""
    duration: Seconds
    rate: CallRate | None = None
    arrivals: Literal["poisson", "constant"] | None = None
    deadline: Annotated[Seconds | None, _or_none("none")] = None
    writes: Ratio | None = None
    every: NodeSettings = NodeSettings()
    nodes: Mapping[str, NodeSettings] = {}

    @field_validator("nodes", mode="before")
    @classmethod
    def _by_text(cls, nodes: Any) -> Any:
        return {str(key): value for key, value in nodes.items()} if isinstance(nodes, Mapping) else nodes


class Scenario(Model):
    """What happens to an upstream, in phases.

    Attributes:
        title: One line.
        rate_of: Whether rates are of "all" nodes together, or of each "node", so that it fits any number of them.
        clients: Processes of the service that calls, each with circuits, budgets and limits of its own.
        phases: In order.

    Raises:
        SettingsError: Something is wrong; it names the path and the value.
    """

    title: str = ""
    rate_of: Literal["all", "node"] = "all"
    clients: Count = 1
    phases: tuple[PhaseSettings, ...]

    def __init__(self, **scenario: Any) -> None:
        try:
            super().__init__(**scenario)
        except ValidationError as exc:
            raise settings_error(mistakes_in(exc, type(self))) from None

    @model_validator(mode="after")
    def _begins_with_a_rate(self) -> Self:
        if not self.phases:
            raise mistake_at("phases", message="at least one is needed")
        if self.phases[0].rate is None:
            raise mistake_at(
                "phases", "0", "rate", message="the first phase has to say how many calls are made a second"
            )
        return self

    @property
    def duration(self) -> float:
        """Seconds."""
        return sum(phase.duration for phase in self.phases)


@dataclass(frozen=True, slots=True)
class Step:
    """A phase as it stands for one upstream: nothing is left to what was before.

    Attributes:
        begin: Seconds from the start of the run.
        rate: Calls a second, of all.
        nodes: What each endpoint can do, in their order.
    """

    name: str
    begin: float
    end: float
    rate: float
    constant: bool
    deadline: float | None
    writes: float
    nodes: tuple[NodeSettings, ...]


def steps_of(scenario: Scenario, upstream: UpstreamSettings) -> list[Step]:
    """The phases, for the endpoints of an upstream.

    Raises:
        SettingsError: A phase names a node that the upstream has not.
    """
    hosts = [_netloc(endpoint.url) for endpoint in upstream.endpoints]
    nodes, steps, at = [NodeSettings()] * len(hosts), [], 0.0
    kept: dict[str, Any] = {"arrivals": "poisson", "deadline": None, "writes": 0.0}
    for number, phase in enumerate(scenario.phases):
        nodes = [node.changed(phase.every) for node in nodes]
        for key, change in phase.nodes.items():
            place = _place(key, hosts, number)
            nodes[place] = nodes[place].changed(change)
        told = phase.model_fields_set & {"rate", "arrivals", "deadline", "writes"}
        kept |= {name: getattr(phase, name) for name in told}
        rate = kept["rate"] * (len(hosts) if scenario.rate_of == "node" else 1)
        steps.append(
            Step(
                phase.name or f"phase {number + 1}", at, at + phase.duration, rate, kept["arrivals"] == "constant",
                kept["deadline"], kept["writes"], tuple(nodes),
            )
        )  # fmt: skip
        at += phase.duration
    return steps


def shipped() -> dict[str, str]:
    """Name and title of the scenarios that come with the library."""
    found = {file.name.removesuffix(".toml"): file for file in files(__package__).joinpath(SHIPPED).iterdir()}
    return {name: tomllib.loads(found[name].read_text())["title"] for name in sorted(found) if found[name].is_file()}


def load_scenario(name: str) -> Scenario:
    """A scenario that comes with the library, by its name, or the file at a path.

    Raises:
        SettingsError: There is none, or something is wrong in it.
        OSError: The file cannot be read.
    """
    if name in shipped():
        text = files(__package__).joinpath(SHIPPED, f"{name}.toml").read_text()
    elif Path(name).suffix or Path(name).exists():
        text = Path(name).read_text()
    else:
        known = suggestion(nearest(name, tuple(shipped())))
        raise SettingsError(f"scenario: there is no {name!r}, and no such file{known}", path="scenario", value=name)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"{name}: not TOML: {exc}", path="scenario", value=name) from None
    return Scenario(**raw)


def _netloc(url: str) -> str:
    return url.partition("://")[2]


def _place(key: str, hosts: list[str], phase: int) -> int:
    place = int(key) - 1 if key.isdecimal() else hosts.index(key) if key in hosts else -1
    if 0 <= place < len(hosts):
        return place
    path = f"phases.{phase}.nodes.{key}"
    known = suggestion(nearest(key, tuple(hosts))) if not key.isdecimal() else ""
    raise SettingsError(
        f"{path}: the upstream has {len(hosts)} endpoints, and this is none{known}", path=path, value=key
    )
