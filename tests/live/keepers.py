"""Places where a document is kept that is watched, each with the same methods."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.live.consul import Consul
from tests.live.etcd import Etcd
from tests.live.exchange import Behaviour, Request
from tests.live.redis import RedisServer
from tests.live.servers import FaultServer, answer

KEY = "shop/resilience"


class Keeper:
    """One place.

    Attributes:
        watch: The setting.
        tells: Whether it tells of a change, and need not be asked again and again.
    """

    tells = True
    watch: dict[str, Any]

    def put(self, document: Any) -> None:
        """Keep this document: a text as it is, anything else as JSON."""
        self.write(document if isinstance(document, str) else json.dumps(document))

    def write(self, text: str) -> None:
        raise NotImplementedError

    def fail(self) -> None:
        """Answer nobody from now on."""

    def mend(self) -> None:
        """Answer again, with what was kept."""


class InFile(Keeper):
    """A file, that is replaced by another one."""

    def __init__(self, root: Path) -> None:
        self.path = root / "settings.json"
        self.watch = {"file": str(self.path), "interval": 30.0, "max_backoff": 0.3}
        self._text = "{}"
        self.write(self._text)

    def write(self, text: str) -> None:
        self._text = text
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        beside.replace(self.path)

    def fail(self) -> None:
        self.path.unlink()

    def mend(self) -> None:
        self.write(self._text)


class InConfigMap(Keeper):
    """A ConfigMap as Kubernetes mounts it: the file is a link to ..data/NAME, and ..data a link that is replaced.

    Source: Kubernetes, pkg/volume/util/atomic_writer.go, the comment on Write().
    """

    def __init__(self, root: Path) -> None:
        self._root, self._version = root, 0
        self.watch = {"file": str(root / "settings.json"), "interval": 30.0, "max_backoff": 0.3}
        self.write("{}")
        (root / "settings.json").symlink_to("..data/settings.json")

    def write(self, text: str) -> None:
        before, self._version = self._version, self._version + 1
        folder = self._root / f"..{self._version}"
        folder.mkdir()
        (folder / "settings.json").write_text(text)
        (self._root / "..data_tmp").symlink_to(folder.name)
        (self._root / "..data_tmp").replace(self._root / "..data")
        if before:
            (self._root / f"..{before}" / "settings.json").unlink()
            (self._root / f"..{before}").rmdir()

    def fail(self) -> None:
        (self._root / "..data").unlink()

    def mend(self) -> None:
        (self._root / "..data").symlink_to(f"..{self._version}")


class InEtcd(Keeper):
    def __init__(self, etcd: Etcd) -> None:
        self.etcd = etcd
        self.watch = {"etcd": {"url": etcd.url, "key": KEY}, "interval": 30.0, "timeout": 1.0, "max_backoff": 0.3}

    def write(self, text: str) -> None:
        self.etcd.put(KEY, text)

    def take_away(self) -> None:
        self.etcd.delete(KEY)

    def fail(self) -> None:
        self.etcd.kill()

    def mend(self) -> None:
        self.etcd.start()


class InConsul(Keeper):
    def __init__(self, consul: Consul) -> None:
        self.consul = consul
        self.watch = {"consul": {"url": consul.url, "key": KEY}, "interval": 30.0, "timeout": 1.0, "max_backoff": 0.3}

    def write(self, text: str) -> None:
        self.consul.put(KEY, text)

    def take_away(self) -> None:
        self.consul.take_away(KEY)

    def fail(self) -> None:
        self.consul.server.play(answer(500, "No cluster leader"))
        self.consul.touch()

    def mend(self) -> None:
        self.consul.server.play(self.consul.treat)


class InRedis(Keeper):
    def __init__(self, redis: RedisServer) -> None:
        self.redis, self._text = redis, ""
        self.watch = {"redis": {"redis": redis.url, "key": KEY}, "interval": 30.0, "timeout": 1.0, "max_backoff": 0.3}

    def write(self, text: str) -> None:
        self._text = text
        with self.redis.client() as client:
            client.set(KEY, text)
            client.publish(KEY, "changed")

    def take_away(self) -> None:
        with self.redis.client() as client:
            client.delete(KEY)
            client.publish(KEY, "changed")

    def fail(self) -> None:
        self.redis.kill()

    def mend(self) -> None:
        self.redis.start()
        self.write(self._text)


class AtUrl(Keeper):
    """A URL with an ETag.

    Attributes:
        unchanged: How often it was answered that nothing has changed.
    """

    tells = False

    def __init__(self, stack: ExitStack) -> None:
        self._text, self.unchanged = "{}", 0
        self.server = stack.enter_context(FaultServer(self._treat))
        url = f"{self.server.url}/config?token=hunter2"
        self.watch = {"http": {"url": url}, "interval": 0.1, "timeout": 1.0, "max_backoff": 0.3}

    def write(self, text: str) -> None:
        self._text = text

    def fail(self) -> None:
        self.server.play(answer(503))

    def mend(self) -> None:
        self.server.play(self._treat)

    def _treat(self, request: Request) -> Behaviour:
        tag = f'"{hashlib.sha256(self._text.encode()).hexdigest()}"'
        if request.header("If-None-Match") == tag:
            self.unchanged += 1
            return answer(304, headers={"ETag": tag})
        return answer(200, self._text, {"ETag": tag})


class ByFunction(Keeper):
    """A plain function: of a Django model, say."""

    tells = False

    def __init__(self) -> None:
        self.document: Any = None
        self._fails = False
        self.threads: set[int] = set()
        self.watch = {"source": self.read, "interval": 0.1, "max_backoff": 0.3}

    def read(self) -> Any:
        self.threads.add(threading.get_ident())
        if self._fails:
            message = "hunter2"
            raise LookupError(message)
        return self.document

    def put(self, document: Any) -> None:
        self.document = document

    def fail(self) -> None:
        self._fails = True

    def mend(self) -> None:
        self._fails = False
