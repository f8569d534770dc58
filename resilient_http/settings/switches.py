"""The settings of kill switches, as a document from afar says them.

    "switches": {"payments": [{"what": "retries off", "until": "2026-11-26T18:00:00Z"}]}

`until` is an instant, and not a number of seconds: all processes that read the document agree on when it is over, also
one that starts, or reads it again, when half of the time has passed. One that is past is over, and no mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationError, model_validator

from resilient_http.errors import SettingsError, SettingsMistake, all_told
from resilient_http.settings.endpoints import node_url
from resilient_http.settings.remote import SWITCHES
from resilient_http.settings.validation import Model, mistake_at, mistakes_in, nearest, not_bool

LONGEST = 604_800.0  # seconds: a week; what is to last belongs into the settings


class SwitchSettings(Model):
    """One switch.

    Attributes:
        what: "retries off", "hedges off", "circuit open", "circuit closed" or "shed".
        until: When it is over: an instant with its time zone, or seconds since 1970.
        share: Of the calls that are shed.
        endpoint: URL of the one endpoint whose circuit is forced; None for all of them.
    """

    what: Literal["retries off", "hedges off", "circuit open", "circuit closed", "shed"]
    until: AwareDatetime
    share: Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1)] = 1.0
    endpoint: Annotated[str, AfterValidator(node_url)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.share != 1.0 and self.what != "shed":
            raise mistake_at("share", message='only "shed" has a share')
        if self.endpoint is not None and not self.what.startswith("circuit"):
            raise mistake_at("endpoint", message="only circuits are those of an endpoint")
        return self


def read_switches(
    document: Mapping[str, Any], known: Collection[str], wall_now: float
) -> list[tuple[str, SwitchSettings, float]]:
    """The switches of a document that are not over: whose, what, and for how many seconds.

    Args:
        document: From afar.
        known: The names that there are.
        wall_now: Seconds since 1970.

    Raises:
        SettingsError: Something is wrong; all of it.
    """
    mistakes: list[SettingsMistake] = []
    found: list[tuple[str, SwitchSettings, float]] = []
    for path, raw in _each(document.get(SWITCHES, {}), known, mistakes):
        try:
            switch = SwitchSettings.model_validate(raw)
        except ValidationError as exc:
            mistakes += [mistake for mistake, _ in mistakes_in(exc, SwitchSettings, path)]
            continue
        left = switch.until.timestamp() - wall_now
        if left > LONGEST:
            mistakes.append(SettingsMistake((*path, "until"), "at most a week ahead"))
        elif left > 0.0:
            found.append((path[1], switch, left))
    if mistakes:
        raise SettingsError(all_told(mistakes), path=".".join(mistakes[0].path), mistakes=tuple(mistakes))
    return found


def _each(raw: Any, known: Collection[str], mistakes: list[SettingsMistake]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(raw, Mapping):
        mistakes.append(SettingsMistake((SWITCHES,), "a mapping of names to lists of switches is needed"))
        return
    for name, own in raw.items():
        path = (SWITCHES, str(name))
        whose = name_of(str(name), known)
        if whose is None:
            mistakes.append(SettingsMistake(path, "no such upstream", nearest(str(name), tuple(known))))
        elif not isinstance(own, (list, tuple)):
            mistakes.append(SettingsMistake(path, "a list of switches is needed"))
        else:
            yield from (((SWITCHES, whose, str(position)), each) for position, each in enumerate(own))


def name_of(said: str, known: Collection[str]) -> str | None:
    """Which upstream is meant: one that is known, or the origin of one that need not have been called yet. Or None."""
    if said in known:
        return said
    try:
        return node_url(said)
    except ValueError:
        return None
