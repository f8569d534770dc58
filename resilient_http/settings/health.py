"""The settings of active health checks, and their defaults. Durations are float seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from resilient_http.settings.validation import Model, mistake_at, not_bool
from resilient_http.settings.values import Count, HealthCheck, OwnHeaderName, Seconds, SecretValue


def _is_path(path: str) -> str:
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path or "#" in path:
        message = "a path like /health is needed, and perhaps a query"
        raise ValueError(message)
    return path


class HealthSettings(Model):
    """How each endpoint is asked, beside the calls, whether it is well. `"/health"` is short for `{"path": "/health"}`.

    Attributes:
        path: What is asked for: a path, and perhaps a query.
        method: How: "GET", "HEAD" or "OPTIONS".
        headers: Header fields of the request, name to value. Their values are shown nowhere.
        interval: Seconds from one check of an endpoint to the next, varied by a fifth.
        timeout: Seconds for a check, connecting and the body included.
        healthy_after: Good checks in a row after which an unhealthy endpoint is healthy.
        unhealthy_after: Bad ones in a row after which a healthy one is unhealthy.
        statuses: What a good answer has; none for any from 200 to 299.
        check: A plain function of the response, or its dotted path, that says whether it is good; instead of statuses.
    """

    short: ClassVar[Mapping[str, Any]] = {"type": "string"}

    path: Annotated[str, AfterValidator(_is_path)]
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    headers: Mapping[OwnHeaderName, SecretValue] = {}
    interval: Seconds = 30.0
    timeout: Seconds = 2.0
    healthy_after: Count = 2
    unhealthy_after: Count = 3
    statuses: tuple[Annotated[int, BeforeValidator(not_bool), Field(ge=100, le=599)], ...] = ()
    check: HealthCheck | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        if self.check is not None and self.statuses:
            raise mistake_at("check", message="give `statuses` or `check`, not both")
        return self

    @property
    def secrets(self) -> dict[str, str]:
        """The header fields as they are sent."""
        return {name: value.get_secret_value() for name, value in self.headers.items()}
