"""The settings of what is watched: where a document is kept that is laid over the settings while the process runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from resilient_http.settings.network import TlsSettings
from resilient_http.settings.shared import SharedSettings
from resilient_http.settings.validation import Model, mistake_at, not_bool, split_url
from resilient_http.settings.values import HeaderName, Imported, Seconds, SecretValue, is_async

KINDS = ("file", "etcd", "consul", "redis", "http", "source")
SUFFIXES: Mapping[str, Literal["json", "toml", "yaml"]] = {
    ".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip

Key = Annotated[str, Field(min_length=1, max_length=255)]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _is_origin(url: str, like: str) -> str:
    parts = split_url(url, ("http", "https"), like=like)
    if parts.username is not None or parts.password is not None:
        message = "credentials have keys of their own"
        raise ValueError(message)
    if parts.path.strip("/") or parts.query or parts.fragment:
        message = f"an origin like {like} is needed, without path or query"
        raise ValueError(message)
    return url.rstrip("/")


class WatchEtcdSettings(Model):
    """A key in etcd v3.

    Attributes:
        url: Of a member, or a list: http://10.0.0.5:2379.
        key: Its value is the document.
        user: Who asks, or None without authentication.
        password: Of that user.
        tls: See TlsSettings.
    """

    url: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    key: Key
    user: Key | None = None
    password: SecretStr | None = None
    tls: TlsSettings = TlsSettings()

    @field_validator("url")
    @classmethod
    def _are_origins(cls, url: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_is_origin(each, "http://10.0.0.5:2379") for each in url)

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.user is None) is not (self.password is None):
            missing = "password" if self.password is None else "user"
            raise mistake_at(missing, message="user and password are needed, both or neither")
        return self


class WatchConsulSettings(Model):
    """A key in Consul's key/value store.

    Attributes:
        key: Its value is the document.
        url: Of the agent.
        datacenter: Where it is asked for; None for the agent's own.
        token: Of Consul's ACL, or None.
        wait: Seconds for which a question waits for a change; at most 600, as Consul has it.
        tls: See TlsSettings.
    """

    key: Key
    url: str = "http://127.0.0.1:8500"
    datacenter: Key | None = None
    token: SecretStr | None = None
    wait: Annotated[float, BeforeValidator(not_bool), Field(gt=0, le=600)] = 60.0
    tls: TlsSettings = TlsSettings()

    @field_validator("url")
    @classmethod
    def _at_an_origin(cls, url: str) -> str:
        return _is_origin(url, "http://127.0.0.1:8500")


class WatchRedisSettings(Model):
    """A key in Redis. Whoever sets it publishes anything to the channel, so that it is read at once.

    Attributes:
        redis: URL of a Redis, as `shared.redis`.
        key: Its value is the document.
        channel: Where changes are published; None for the key's name.
    """

    redis: SecretStr
    key: Key
    channel: Key | None = None

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
    at: Key | None = None
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
