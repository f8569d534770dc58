"""The settings of registries: how etcd and Consul are reached, whatever is asked of them. Durations are seconds."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from resilient_http.settings.keys import SECONDS
from resilient_http.settings.network import TlsSettings
from resilient_http.settings.validation import Model, mistake_at, not_bool, split_url

Name = Annotated[str, Field(min_length=1, max_length=255)]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Listed = BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])
"""One, or a list."""


class EtcdAccess(Model):
    """Which etcd is asked, and by whom.

    Attributes:
        url: Of a member, or a list: http://10.0.0.5:2379.
        user: Who asks, or None without authentication.
        password: Of that user.
        tls: See TlsSettings.
    """

    url: Annotated[tuple[str, ...], Listed, Field(min_length=1)]
    user: Name | None = None
    password: SecretStr | None = None
    tls: TlsSettings = TlsSettings()

    @field_validator("url")
    @classmethod
    def _are_origins(cls, url: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_origin(each, like="http://10.0.0.5:2379", instead="`user` and `password`") for each in url)

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.user is None) is not (self.password is None):
            missing = "password" if self.password is None else "user"
            raise mistake_at(missing, message="user and password are needed, both or neither")
        return self


class ConsulAccess(Model):
    """Which Consul is asked, and by whom.

    Attributes:
        url: Of the agent.
        datacenter: Where it is asked for; None for the agent's own.
        token: Of Consul's ACL, or None.
        wait: Seconds for which a question waits for a change; at most 600, as Consul has it.
        tls: See TlsSettings.
    """

    url: str = "http://127.0.0.1:8500"
    datacenter: Name | None = None
    token: SecretStr | None = None
    wait: Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=600), SECONDS] = 60.0
    tls: TlsSettings = TlsSettings()

    @field_validator("url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        return _origin(url, like="http://127.0.0.1:8500", instead="`token`")


def _origin(url: str, *, like: str, instead: str) -> str:
    parts = split_url(url, ("http", "https"), like=like)
    if parts.username is not None or parts.password is not None:
        message = f"credentials go into {instead}"
        raise ValueError(message)
    if parts.path.strip("/") or parts.query or parts.fragment:
        message = f"an origin like {like} is needed, without path or query"
        raise ValueError(message)
    return url.rstrip("/")
