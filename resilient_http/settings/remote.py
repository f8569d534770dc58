"""Remote: what a document from afar may change, and that it changes nothing else.

Laws
    1. A key may be changed from afar when it is in `ALLOWED`; any other is refused, a key that is new too, until
       somebody has put it there.
    2. Allowed is what an operator turns in an incident: time limits, repeats and their budget, circuits, limits, and
       whether something is on or off. What names code, addresses, credentials or files is not, nor what decides whether
       a request may be sent twice.
    3. A section is switched off by null where the settings allow that.
    4. Of the nodes only their weights, unless `watch.endpoints` says that they may be other ones.
    5. All that is refused is told at once, each with its path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from resilient_http.errors import SettingsError, SettingsMistake, all_told
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.keys import shape_at
from resilient_http.settings.models import Settings
from resilient_http.settings.origins import Source
from resilient_http.settings.validation import nearest, one_near

NAME: Final = "*"  # stands for a name: of an upstream, a route or a guard
SWITCHES: Final = "switches"

_RETRY = (
    "max_attempts", "max_wait", "observe", "budget.ratio", "budget.floor",
    "backoff.jitter", "backoff.base", "backoff.cap", "backoff.throttled_base", "backoff.elsewhere",
)  # fmt: skip
_CIRCUIT = (
    "failure_rate", "min_calls", "window", "window_span", "streak", "quiet_streak", "failures", "outcomes",
    "slow_call.duration", "slow_call.rate",
    "silent.after", "silent.least", "silent.factor", "silent.in_a_row",
    "open_for", "max_open_for", "jitter", "calm_after", "probes", "successes", "lease", "observe",
)  # fmt: skip
_CONCURRENCY = (
    "limit", "queue", "shed_at", "reserve", "observe",
    "adaptive.min", "adaptive.initial", "adaptive.tolerance", "adaptive.backoff",
)  # fmt: skip


def _below(section: str, *keys: str) -> tuple[str, ...]:
    return tuple(f"{section}.{key}" for key in keys)


_ROUTE = (
    *_below("timeout", "total", "attempt", "connect", "read", "write", "pool"),
    *_below("retry", *(key for key in _RETRY if not key.startswith("budget")), "statuses", "faults"),
    *_below("hedge", "delay", "observe"),
    *_below("fallback", "statuses", "observe"),
    "priority",
)
OF_AN_UPSTREAM: Final = (
    *_below("timeout", "total", "attempt", "connect", "read", "write", "pool"),
    *_below("retry", *_RETRY, "statuses", "faults"),
    *_below("hedge", "delay", "observe"),
    *_below("circuit", *_CIRCUIT),
    *_below("concurrency", *_CONCURRENCY),
    *_below("rate_limit", "rate", "burst", "wait", "observe"),
    *_below("pauses", "endpoint", "route", "by", "observe"),
    *_below("fallback", "statuses", "observe"),
    *_below(f"routes.{NAME}", *_ROUTE),
    "pool.max_connections",
    "priority",
)
OF_A_GUARD: Final = (
    *_below("timeout", "total", "attempt", "queue"),
    *_below("retry", *_RETRY),
    *_below("circuit", *_CIRCUIT),
    *_below("concurrency", *_CONCURRENCY),
)
ALLOWED: Final = frozenset(
    (
        "enabled",
        *_below("inbound", "timeout", "max", "reserve"),
        *_below("misplaced", "in_transaction", "in_event_loop"),
        *_below("defaults", *OF_AN_UPSTREAM),
        *_below(f"upstreams.{NAME}", *OF_AN_UPSTREAM, "endpoints"),
        *_below(f"guards.{NAME}", *OF_A_GUARD),
    )
)
"""The keys that may be changed from afar, from the root down."""

Tree = dict[str, "Tree"]


def laid_over(
    own: Settings, document: Mapping[str, Any], where: str = "from afar", *, endpoints: bool = False
) -> Settings:
    """The settings of a process with a document from afar over them.

    Args:
        own: The settings, as they were written.
        document: Settings, but for what stands under "switches".
        where: What a person calls the place that it comes from.
        endpoints: Whether it may say which nodes there are.

    Raises:
        SettingsError: It would change what it may not, or something in it is wrong; all of it.
    """
    document = {str(key): value for key, value in document.items() if key != SWITCHES}
    refused = (*_refused(document, _TREE, ()), *_other_nodes(document, own, endpoints=endpoints))
    if refused:
        raise SettingsError(all_told(refused), path=".".join(refused[0].path), mistakes=refused)
    return own.under((Source(where, "remote"), document)) if document else own


def _refused(raw: Any, allowed: Tree, path: tuple[str, ...]) -> Iterator[SettingsMistake]:
    """What is not allowed below `path`. What is no mapping is left to validation."""
    if not isinstance(raw, Mapping):
        return
    for key, value in raw.items():
        here = (*path, str(key))
        below = allowed.get(str(key), allowed.get(NAME))
        if below is None:
            misspelt = shape_at(Settings, here) is None
            yield SettingsMistake(here, "cannot be changed from afar", one_near(str(key), allowed) if misspelt else ())
        elif below:
            yield from _refused(value, below, here)


def _other_nodes(document: Mapping[str, Any], own: Settings, *, endpoints: bool) -> Iterator[SettingsMistake]:
    upstreams = document.get("upstreams")
    for name, raw in upstreams.items() if isinstance(upstreams, Mapping) and not endpoints else ():
        here, known = ("upstreams", str(name)), own.upstreams.get(str(name))
        if known is None:
            message = "no such upstream, and none can be added from afar"
            yield SettingsMistake(here, message, nearest(str(name), tuple(own.upstreams)))
        elif isinstance(raw, Mapping) and "endpoints" in raw and not _only_weights(raw["endpoints"], known.endpoints):
            message = "only the weights of the same nodes can be changed from afar (see watch.endpoints)"
            yield SettingsMistake((*here, "endpoints"), message)


def _only_weights(raw: Any, known: Sequence[EndpointSettings]) -> bool:
    if not isinstance(raw, (list, tuple)):
        return False
    try:
        said = [EndpointSettings.model_validate(each) for each in raw]
    except ValidationError:
        return False
    return sorted(map(_but_weight, said)) == sorted(map(_but_weight, known))


def _but_weight(node: EndpointSettings) -> tuple[tuple[str, str, int], bool, str]:
    return node.origin, node.backup, node.zone or ""


def _tree(paths: frozenset[str]) -> Tree:
    root: Tree = {}
    for path in paths:
        here = root
        for key in path.split("."):
            here = here.setdefault(key, {})
    return root


_TREE: Final = _tree(ALLOWED)
