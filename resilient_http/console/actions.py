"""Actions: what a person can do on the page: throw a kill switch, or lift some. See Resilience.switch().

    {"upstream": "payments", "what": "retries off", "seconds": 300}
    {"upstream": "payments", "what": "circuit open", "seconds": 60, "endpoint": "http://10.0.0.1:8080"}
    {"upstream": "payments", "what": "shed", "seconds": 60, "share": 0.5}
    {"upstream": "payments", "what": "lift"}                                 or with "about": "retries"

Who has done it, what, and for how long are the events SwitchThrown and SwitchEnded, and lines of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from resilient_http.errors import SettingsMistake
from resilient_http.journal import visible
from resilient_http.settings.validation import Model, mistake_at, mistakes_in, not_bool
from resilient_http.settings.values import Seconds
from resilient_http.upstreams.switchboard import Switchboard

LIFT = "lift"
LONGEST_NAME = 100  # characters of who does it, that are told


class Switchable(Protocol):
    """What has kill switches: a Resilience."""

    def switch(self, upstream: str) -> Switchboard:
        """Those of an upstream. Raises KeyError where there is no such one."""


class Action(Model):
    """One action.

    Attributes:
        upstream: A name of the settings, a guard's, the origin of an unnamed one, or "*" for all of them.
        what: "retries off", "hedges off", "circuit open", "circuit closed", "shed" or "lift".
        seconds: After which it is over; at most a week. Not for "lift".
        share: Of the calls that are shed.
        endpoint: URL of the one endpoint whose circuit is forced; None for all of them.
        about: "retries", "hedges", "circuit" or "shed", for "lift"; None for all of them.
        by: Who does it, where nothing else says so.
    """

    upstream: Annotated[str, Field(min_length=1, max_length=300)]
    what: Literal["retries off", "hedges off", "circuit open", "circuit closed", "shed", "lift"]
    seconds: Seconds | None = None
    share: Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=1)] = 1.0
    endpoint: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    about: Literal["retries", "hedges", "circuit", "shed"] | None = None
    by: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.seconds is None) is not (self.what == LIFT):
            needed = "lifting takes effect at once" if self.what == LIFT else "how long it is to last is needed"
            raise mistake_at("seconds", message=needed)
        if self.share != 1.0 and self.what != "shed":
            raise mistake_at("share", message='only "shed" has a share')
        if self.endpoint is not None and not self.what.startswith("circuit"):
            raise mistake_at("endpoint", message="only circuits are those of an endpoint")
        if self.about is not None and self.what != LIFT:
            raise mistake_at("about", message='only "lift" has it')
        return self


class ActionRefused(ValueError):
    """It cannot be done: the message says why, and names the key.

    Attributes:
        mistakes: Each with its path.
    """

    def __init__(self, *mistakes: SettingsMistake) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def read_action(raw: Any) -> Action:
    """The action that somebody asks for.

    Raises:
        ActionRefused: It is none.
    """
    if not isinstance(raw, Mapping):
        message = 'a JSON object is needed, like {"upstream": "payments", "what": "retries off", "seconds": 300}'
        raise ActionRefused(SettingsMistake(("action",), message))
    try:
        return Action.model_validate(raw)
    except ValidationError as exc:
        raise ActionRefused(*(mistake for mistake, _ in mistakes_in(exc, Action))) from None


def carry_out(action: Action, on: Switchable, by: str, seconds: float | None = None) -> None:
    """Throw the switch, or lift some, in this process.

    Args:
        action: What.
        on: Where.
        by: Who does it.
        seconds: How long it lasts, where that is no longer what the action says.

    Raises:
        ActionRefused: There is no such upstream, or the endpoint is no URL.
    """
    try:
        board = on.switch(action.upstream)
    except KeyError as exc:
        raise ActionRefused(SettingsMistake(("upstream",), str(exc.args[0]))) from None
    lasts = seconds if seconds is not None else action.seconds or 0.0
    if action.what == "lift":
        board.lift(action.about, by=by)
    elif action.what == "retries off":
        board.retries_off(for_=lasts, by=by)
    elif action.what == "hedges off":
        board.hedges_off(for_=lasts, by=by)
    elif action.what == "shed":
        board.shed(for_=lasts, by=by, share=action.share)
    else:
        position: Literal["open", "closed"] = "open" if action.what == "circuit open" else "closed"
        try:
            board.circuit(position, for_=lasts, by=by, endpoint=action.endpoint)
        except ValueError as exc:
            raise ActionRefused(SettingsMistake(("endpoint",), str(exc))) from None


def person(name: str) -> str:
    """Who does it, as one short line: it goes into logs and events."""
    return visible(" ".join(name.split()))[:LONGEST_NAME] or "somebody"
