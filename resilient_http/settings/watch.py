"""The settings of what is watched: where a document is kept that is laid over the settings while the process runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from resilient_http.settings.network import TlsSettings
from resilient_http.settings.registries import ConsulAccess, EtcdAccess, Name
from resilient_http.settings.shared import SharedSettings
from resilient_http.settings.validation import Model, mistake_at, split_url
from resilient_http.settings.values import HeaderName, Imported, Seconds, SecretValue, is_async

KINDS = ("file", "etcd", "consul", "redis", "http", "source")
SUFFIXES: Mapping[str, Literal["json", "toml", "yaml"]] = {
    ".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip


class WatchEtcdSettings(EtcdAccess):
    """A key in etcd v3.

    Attributes:
        url: Of a member, or a list: http://10.0.0.5:2379.
        key: Its value is the document.
        user: Who asks, or None without authentication.
        password: Of that user.
        tls: See TlsSettings.
    """

    key: Name


class WatchConsulSettings(ConsulAccess):
    """A key in Consul's key/value store.

    Attributes:
        key: Its value is the document.
        url: Of the agent.
        datacenter: Where it is asked for; None for the agent's own.
        token: Of Consul's ACL, or None.
        wait: Seconds for which a question waits for a change; at most 600, as Consul has it.
        tls: See TlsSettings.
    """

    key: Name


class WatchRedisSettings(Model):
    """A key in Redis. Whoever sets it publishes anything to the channel, so that it is read at once.

    Attributes:
        redis: URL of a Redis, as `shared.redis`.
        key: Its value is the document.
        channel: Where changes are published; None for the key's name.
    """

    redis: SecretStr
    key: Name
    channel: Name | None = None

    @field_validator("redis")
    @classmethod
    def _as_shared(cls, redis: SecretStr) -> SecretStr:
        return SharedSettings._is_redis(redis)  # noqa: SLF001 - the same URL

    @model_validator(mode="after")
    def _is_installed(self) -> Self:
        if find_spec("redis") is None:
            raise mistake_at("redis", message='needs the extra redis: pip install "resilient-http[redis]"')
        return self


class WatchHttpSettings(Model):
    """A URL, asked every `watch.interval` seconds, with the ETag of its last answer.

    Attributes:
        url: Its query is shown nowhere.
        headers: Header fields of the request, name to value. Their values are shown nowhere.
        at: Where the document stands in the answer, as data.content; None for the answer itself. What stands there may
            be a text, that is read as `watch.format` says.
        tls: See TlsSettings.
    """

    url: SecretStr
    headers: Mapping[HeaderName, SecretValue] = {}
    at: Name | None = None
    tls: TlsSettings = TlsSettings()

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        parts = split_url(url.get_secret_value(), ("http", "https"), like="https://config.internal/settings")
        if parts.username is not None or parts.password is not None:
            message = "credentials go into `headers`"
            raise ValueError(message)
        return url


class WatchSettings(Model):
    """Where a document is kept that is laid over these settings: exactly one of the first six.

    Attributes:
        file: Path of a file.
        etcd: See WatchEtcdSettings.
        consul: See WatchConsulSettings.
        redis: See WatchRedisSettings.
        http: See WatchHttpSettings.
        source: A plain function without arguments, or its dotted path, that gives the document: a mapping, a text, or
            None for none. Called every `interval` seconds, in a thread of its own.
        format: "json", "toml" or "yaml" (needs the extra `yaml`). None for what the end of the file's name says, else
            "json".
        endpoints: Whether the document may say which nodes and upstreams there are; else it may say their weights.
        interval: Seconds between two readings, where the source does not tell of changes; and after which one that does
            is read all the same.
        timeout: Seconds to wait for an answer.
        max_backoff: Most seconds between two tries while the source fails.
    """

    file: Annotated[str, Field(min_length=1)] | None = None
    etcd: WatchEtcdSettings | None = None
    consul: WatchConsulSettings | None = None
    redis: WatchRedisSettings | None = None
    http: WatchHttpSettings | None = None
    source: Annotated[Imported | None, Field(repr=False)] = None
    format: Literal["json", "toml", "yaml"] | None = None
    endpoints: bool = False
    interval: Seconds = 5.0
    timeout: Seconds = 2.0
    max_backoff: Seconds = 10.0

    @field_validator("source")
    @classmethod
    def _is_function(cls, source: Any) -> Any:
        if source is not None and (not callable(source) or inspect.isclass(source)):
            message = f"a plain function is needed, not {type(source).__name__}"
            raise ValueError(message)
        if source is not None and is_async(source):
            message = "a plain function is needed, not an async one: it runs in a thread of its own"
            raise ValueError(message)
        return source

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            message = f"exactly one of {', '.join(KINDS[:-1])} and {KINDS[-1]} is needed, but {found}"
            raise ValueError(message)
        if self.written == "yaml" and find_spec("yaml") is None:
            raise mistake_at("format", message='needs the extra yaml: pip install "resilient-http[yaml]"')
        return self

    @property
    def kind(self) -> str:
        """Which one it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def written(self) -> Literal["json", "toml", "yaml"]:
        """How the document is written."""
        suffix = "" if self.file is None else self.file[self.file.rfind(".") :].lower()
        return self.format or SUFFIXES.get(suffix, "json")
