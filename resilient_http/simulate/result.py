"""Result: what a run has shown, for a person (a table) and for a program (JSON)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resilient_http.simulate.slice import Figures
from resilient_http.simulate.table import aligned, number, seconds, share


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the calls to an upstream in a scenario.

    Attributes:
        upstream: Its name.
        title: The scenario's.
        seed: Of all randomness.
        clients: Processes that called it.
        nodes: URLs of its endpoints.
        left_out: Settings that were left out, because they are code of the user's or need other processes.
        phases: Figures of each phase, by when calls were made.
        total: Figures of the whole run.
        series: Figures of slices of the run, about 240 of them however long it was.
        decisions: How often retries, hedges and refusals of our own limits were decided, by kind.
    """

    upstream: str
    title: str
    seed: int
    clients: int
    nodes: tuple[str, ...]
    left_out: tuple[str, ...]
    phases: tuple[Figures, ...]
    total: Figures
    series: tuple[Figures, ...]
    decisions: dict[str, dict[str, int]]

    def phase(self, name: str) -> Figures:
        """The figures of a phase.

        Raises:
            KeyError: There is none of that name; the message lists those that are.
        """
        for phase in self.phases:
            if phase.name == name:
                return phase
        message = f"no phase {name!r}; known: {', '.join(phase.name for phase in self.phases)}"
        raise KeyError(message)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def as_table(self) -> str:
        """For a person."""
        return table_of({"": self})


COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("calls/s", lambda one: number(one.rate)),
    ("success", lambda one: share(one.success)),
    ("good/s", lambda one: number(one.goodput)),
    ("p50", lambda one: seconds(one.p50)),
    ("p99", lambda one: seconds(one.p99)),
    ("requests a call", lambda one: number(one.requests)),
    ("refused", lambda one: share(one.kinds["refused"] / one.calls if one.calls else None)),
    ("useful work", lambda one: share(one.useful)),
    ("circuits open", lambda one: share(one.circuits_open)),
)


def table_of(results: Mapping[str, Result]) -> str:
    """One or more runs of one scenario in one table; the names tell them apart.

    Args:
        results: Name to result.
    """
    first = next(iter(results.values()))
    compared = len(results) > 1
    lines: list[Sequence[str]] = [["phase", *(["settings"] if compared else []), *(name for name, _ in COLUMNS)]]
    for place, phase in enumerate((*first.phases, first.total)):
        for turn, (name, result) in enumerate(results.items()):
            one = (*result.phases, result.total)[place]
            when = f"{phase.name} ({phase.begin:g}-{phase.end:g} s)" if turn == 0 else ""
            lines.append([when, *([name] if compared else []), *(cell(one) for _, cell in COLUMNS)])
    head = f"{first.title or 'a scenario'}: {first.upstream}, {len(first.nodes)} nodes, {first.clients} "
    head += f"{'process' if first.clients == 1 else 'processes'}, seed {first.seed}"
    notes = [
        f"left out{f' of {name}' if compared else ''}: {', '.join(result.left_out)}"
        for name, result in results.items()
        if result.left_out
    ]
    return "\n".join([head, "", aligned(lines, names=2 if compared else 1), *notes])
