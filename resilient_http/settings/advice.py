"""Advice: what is likely wrong in settings that are valid. What is certainly wrong is refused when they are read.

    W003  circuit.window_span    shorter than two attempts, so that timeouts are forgotten before two are known
    W004  retry.methods          what is not idempotent may be hedged: acted on twice at the same time
    W005  retry.max_attempts     more requests of one call than all calls together may have under way: the lower one of
                                 concurrency.limit and pool.max_connections; or a hedge where only one may be
    W006  concurrency.limit      above pool.max_connections, which rules
    W007  timeout.total          longer than inbound.timeout, which ends the call first
    W008  timeout.total          longer than a worker may be busy (gunicorn's timeout)
    W009  (a variable)           begins with RESILIENT_HTTP_, and names no setting

Of a deployment alone:

    W101  tls.verify             off
    W102  endpoints              http to an address that is public, or to a name that may be
    W103  defaults.propagate     "all": baggage goes to every host that is called
    W104  inbound.trusted_peers  everybody
    W105  (any secret)           in a file
    W106  chaos                  faults are injected on purpose

W001 and W002 are Django's. The defaults of the library give no advice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from resilient_http.settings import exposures, likely_mistakes
from resilient_http.settings.environment import unknown_variables
from resilient_http.settings.likely_mistakes import Found, Rule, Subject
from resilient_http.settings.models import Settings, UpstreamSettings


@dataclass(frozen=True, slots=True)
class Advice:
    """Something in the settings that is likely wrong.

    Attributes:
        id: Of the rule, as "W007".
        path: Where: keys and names, from the root down.
        message: What is wrong.
        hint: What to do.
        origin: Where the value comes from.
        deploy: Whether it matters in a deployment alone.
    """

    id: str
    path: tuple[str, ...]
    message: str
    hint: str
    origin: str
    deploy: bool = False

    def __str__(self) -> str:
        """One line, with the dotted path."""
        return f"{self.id} {'.'.join(self.path)}: {self.message}"


def advise(
    settings: Settings,
    *,
    deploy: bool = False,
    worker_timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Advice, ...]:
    """What is likely wrong in the settings; none of it keeps them from being used.

    Args:
        settings: Valid ones.
        deploy: Whether what only matters in a deployment is told too.
        worker_timeout: Seconds for which a worker may be busy with one request; None without such a limit.
        environment: Variables that were read without refusing those that name no setting.
    """
    advice = list(_told(settings, likely_mistakes.RULES, worker_timeout))
    if deploy:
        advice += _told(settings, exposures.RULES, worker_timeout, deploy=True)
        for id_, rule in exposures.OF_THE_PROCESS.items():
            advice += [_advice(settings, id_, found, deploy=True) for found in rule(settings)]
    for variable in unknown_variables(environment or {}, Settings):
        message, hint = "the variable names no setting", "Correct its name, or choose one that does not begin so."
        advice.append(Advice("W009", (variable,), message, hint, f"environment {variable}"))
    return tuple(advice)


def _told(
    settings: Settings, rules: Mapping[str, Rule], worker_timeout: float | None, *, deploy: bool = False
) -> Iterator[Advice]:
    of_defaults: set[tuple[str, Found]] = set()
    everybody: list[tuple[tuple[str, ...], UpstreamSettings]] = [(("defaults",), settings.defaults)]
    everybody += [(("upstreams", name), upstream) for name, upstream in settings.upstreams.items()]
    for path, own in everybody:
        said = set(of_defaults)  # what is inherited was told where it was made
        for subject in _subjects(settings, path, own, worker_timeout):
            found = [(id_, each) for id_, rule in rules.items() for each in rule(subject)]
            yield from (_advice(settings, *each, subject.path, deploy=deploy) for each in found if each not in said)
            if subject.route is None or path == ("defaults",):
                said.update(found)
        if path == ("defaults",):
            of_defaults = said


def _subjects(
    settings: Settings, path: tuple[str, ...], own: UpstreamSettings, worker_timeout: float | None
) -> Iterator[Subject]:
    """An upstream, then its routes."""
    yield Subject(settings, path, own.routed(None), None, worker_timeout)
    for route in own.routes:
        yield Subject(settings, (*path, "routes", route), own.routed(route), route, worker_timeout)


def _advice(settings: Settings, id_: str, found: Found, above: tuple[str, ...] = (), *, deploy: bool = False) -> Advice:
    below, message, hint = found
    path = (*above, *below)
    return Advice(id_, path, message, hint, str(settings.origin_of(path)), deploy)
