"""The settings of fault injection. Durations are float seconds, ratios 0 to 1; see docs/chaos.md.

Laws
    1. It is off unless an upstream, or a route of its, has a section of its own, and the root allows it by name.
    2. It ends by itself, an hour from its beginning at the latest.
    3. The defaults have none, and nothing from afar can bring any.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, SecretStr, field_validator, model_validator

from resilient_http.settings.keys import PER_SECOND, SECONDS
from resilient_http.settings.validation import Model, mistake_at, not_bool
from resilient_http.settings.values import HeaderName, HeaderValue, OwnHeaderName, PositiveRatio, Seconds

LONGEST: Final = 3600.0  # seconds
LEAST_KEY: Final = 16  # characters
SKEW: Final = 5.0  # seconds that another machine's clock may be ahead, where an end is "an hour from now"
UNBOUNDED = (
    "has to end: give `lasts` (seconds, at most 3600) or `until` (an instant with its time zone, at most an hour ahead)"
)
TOO_FAR = "at most an hour ahead"

Within = Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=LONGEST, allow_inf_nan=False), SECONDS]
FromZero = Annotated[float, BeforeValidator(not_bool), Field(ge=0, le=LONGEST, allow_inf_nan=False), SECONDS]
Pace = Annotated[float, BeforeValidator(not_bool), Field(gt=0, allow_inf_nan=False), PER_SECOND]


class LatencyFaultSettings(Model):
    """How late attempts are. Written as seconds, or as [from, to].

    Attributes:
        max: Seconds.
        min: Seconds; drawn evenly between both. None for always `max`.
        share: Of the attempts that are.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": ["number", "array"]}

    max: Seconds
    min: FromZero | None = None
    share: PositiveRatio = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_seconds(cls, value: Any) -> Any:
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
            return {"min": value[0], "max": value[1]}
        return {"max": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min is not None and self.min > self.max:
            message = f"min ({self.min:g}) is above max ({self.max:g})"
            raise ValueError(message)
        return self


class ErrorFaultSettings(Model):
    """What attempts are answered with that are not sent. Written as a status.

    Attributes:
        status: Its status.
        headers: Its header fields, name to value; `retry-after`, say.
        body: Its body.
        share: Of the attempts that are.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": "integer"}

    status: Annotated[int, BeforeValidator(not_bool), Field(ge=200, le=599)]
    headers: Mapping[OwnHeaderName, HeaderValue] = {}
    body: str = ""
    share: PositiveRatio = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_status(cls, value: Any) -> Any:
        return {"status": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("headers")
    @classmethod
    def _can_be_read(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        if "content-encoding" in headers:
            message = "content-encoding: the body is sent as it stands"
            raise ValueError(message)
        return headers


class AbortFaultSettings(Model):
    """When connections are reset. Written as "before" or "after".

    Attributes:
        when: "before" anything is sent, so that any request is repeated; "after" it was sent, and the upstream has
            acted on it, so that only what is idempotent is.
        share: Of the attempts that it happens to.
    """

    short: ClassVar[Mapping[str, Any]] = {"enum": ["before", "after"]}

    when: Literal["before", "after"]
    share: PositiveRatio = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_when(cls, value: Any) -> Any:
        return {"when": value} if isinstance(value, str) else value


class DripFaultSettings(Model):
    """How slowly bodies come. Written as bytes per second.

    Attributes:
        rate: Bytes per second.
        share: Of the attempts whose bodies do.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": "number"}

    rate: Pace
    share: PositiveRatio = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_rate(cls, value: Any) -> Any:
        return {"rate": value} if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class FaultSettings(Model):
    """Faults, each with the share of the attempts that it happens to. Error, abort and drip exclude each other.

    Attributes:
        latency: See LatencyFaultSettings; None for none.
        error: See ErrorFaultSettings; None for none.
        abort: See AbortFaultSettings; None for none.
        drip: See DripFaultSettings; None for none.
        methods: Of the requests that faults may happen to, as ["GET"]; None for all.
    """

    latency: LatencyFaultSettings | None = None
    error: ErrorFaultSettings | None = None
    abort: AbortFaultSettings | None = None
    drip: DripFaultSettings | None = None
    methods: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z-]*$")], ...] | None = None

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return any(each is not None for each in (self.latency, self.error, self.abort, self.drip))

    def rules(self) -> dict[str, Any]:
        """The same as state.chaos.FaultRules has it."""
        latency, error, abort, drip = self.latency, self.error, self.abort, self.drip
        least = None if latency is None else latency.max if latency.min is None else latency.min
        return {
            "latency": None if latency is None else (least, latency.max),
            "latency_share": 1.0 if latency is None else latency.share,
            "status": None if error is None else error.status,
            "headers": () if error is None else tuple(error.headers.items()),
            "body": b"" if error is None else error.body.encode(),
            "error_share": 1.0 if error is None else error.share,
            "abort": None if abort is None else abort.when,
            "abort_share": 1.0 if abort is None else abort.share,
            "drip": None if drip is None else drip.rate,
            "drip_share": 1.0 if drip is None else drip.share,
            "methods": None if self.methods is None else frozenset(self.methods),
        }

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        exclusive = [each.share for each in (self.error, self.abort, self.drip) if each is not None]
        if sum(exclusive) > 1.0 + 1e-9:
            message = f"the shares of error, abort and drip add up to {sum(exclusive):g}; at most 1"
            raise ValueError(message)
        return self


class ChaosSettings(FaultSettings):
    """Faults that are injected into the calls of an upstream on purpose; `chaos.allowed` at the root has to name it.

    Attributes:
        lasts: Seconds, at most an hour, from the start of the process (of the one that its workers are forked from), or
            from the reload that brought or changed it.
        until: When it is over: an instant with its time zone, at most an hour ahead. One that is past is over.
        seed: Of what is drawn, for the same faults each time; None for others each time.
        by_header: Whether a signed header of the inbound request may choose a fault for its calls (`chaos.key` at the
            root). It has an end of its own.
    """

    lasts: Within | None = None
    until: AwareDatetime | None = None
    seed: int | None = None
    by_header: bool = False

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not self.any and not self.by_header:
            message = "nothing would be injected: give latency, error, abort or drip, or by_header: true"
            raise ValueError(message)
        if self.any and self.lasts is None and self.until is None:
            raise ValueError(UNBOUNDED)
        if self.lasts is not None and self.until is not None:
            raise mistake_at("lasts", message="`until` says when it ends; leave one of them out")
        if self.until is not None and self.until.timestamp() - time.time() > LONGEST + SKEW:
            raise mistake_at("until", message=TOO_FAR)
        return self

    def left(self, wall_now: float) -> float:
        """Seconds until it is over, from its beginning; 0.0 when it is."""
        if self.until is not None:
            return min(LONGEST, max(0.0, self.until.timestamp() - wall_now))
        return self.lasts or 0.0


class ChaosPermitSettings(Model):
    """Where faults may be injected at all.

    Attributes:
        allowed: The names of the upstreams. The calls of unnamed ones never get any.
        key: What the header of inbound requests is signed with, at least 16 characters; None for no header.
        header: Name of that header.
    """

    allowed: tuple[str, ...] = ()
    key: SecretStr | None = None
    header: HeaderName = "x-chaos"

    @field_validator("key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < LEAST_KEY:
            message = f"at least {LEAST_KEY} characters are needed, as `openssl rand -hex 32` gives"
            raise ValueError(message)
        return key
