"""The settings of what processes share. Durations are float seconds."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator, model_validator

from resilient_http.settings.validation import Model, mistake_at, split_url
from resilient_http.settings.values import Seconds

SCHEMES = ("redis", "rediss")


class SharedSettings(Model):
    """Where processes keep what they share, and how often they look.

    Attributes:
        redis: URL of a Redis: redis://:password@host:6379/0, rediss:// for TLS, unix:///path for a Unix socket.
        prefix: What its keys begin with: one for each group of processes that share.
        interval: Seconds between two looks.
        timeout: Seconds to wait for an answer of Redis; no call waits for it.
        expires: Seconds after which what a process said is forgotten, and a right that it had is another's. At least
            four times `interval`.
        max_backoff: Most seconds between two tries to reach a Redis that is away.
    """

    redis: SecretStr
    prefix: str = "resilient-http"
    interval: Seconds = 0.25
    timeout: Seconds = 0.25
    expires: Seconds = 2.0
    max_backoff: Seconds = 5.0

    @field_validator("redis")
    @classmethod
    def _is_redis(cls, redis: SecretStr) -> SecretStr:
        url = redis.get_secret_value()
        if url.startswith("unix://"):
            if urlsplit(url).path.strip("/"):
                return redis
            message = "a socket's path is needed, like unix:///run/redis.sock"
            raise ValueError(message)
        parts = split_url(url, SCHEMES, like="redis://10.0.0.5:6379/0")
        database = parts.path.strip("/")
        if (database and not database.isdecimal()) or parts.query or parts.fragment:
            message = "after the host only the number of a database may stand, as in redis://10.0.0.5:6379/0"
            raise ValueError(message)
        return redis

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if find_spec("redis") is None:
            raise mistake_at("redis", message='needs the extra redis: pip install "resilient-http[redis]"')
        if self.expires < 4 * self.interval:
            message = f"expires ({self.expires:g} s) is shorter than four times interval ({self.interval:g} s)"
            raise ValueError(message)
        return self
