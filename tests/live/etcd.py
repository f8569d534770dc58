"""A real etcd on a port of its own, which a test may kill and start again: it keeps its data."""

import base64
import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx


def find_etcd() -> str | None:
    """The path of the command."""
    return shutil.which("etcd")


class Etcd:
    """One running etcd, a cluster of one.

    Args:
        command: Path of etcd.
        root: An empty directory of its own.
        options: More of the command line.
    """

    def __init__(self, command: str, root: Path, *options: str) -> None:
        self.port, peers = _free_ports()
        self.token: str | None = None
        scheme = "https" if any("cert" in option for option in options) else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        peer = f"http://127.0.0.1:{peers}"
        self._log = (root / "log").open("wb")
        self._command = [
            command, "--name", "t", "--data-dir", str(root / "data"), "--listen-client-urls", self.url,
            "--advertise-client-urls", self.url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"t={peer}", "--unsafe-no-fsync", *options,
        ]  # fmt: skip
        self._client = httpx.Client(base_url=self.url, timeout=5.0, trust_env=False, verify=False)
        self.start()

    def ask(self, path: str, body: Any = None) -> Any:
        """One request to the JSON gateway."""
        headers = {} if self.token is None else {"authorization": self.token}
        response = self._client.post(f"/v3{path}", json=body or {}, headers=headers)
        response.raise_for_status()
        return response.json()

    def put(self, key: str, value: Any, lease: str | None = None) -> None:
        """Set a key: to a text as it is, to anything else as JSON."""
        text = value if isinstance(value, (str, bytes)) else json.dumps(value)
        body = {"key": _encoded(key), "value": _encoded(text)}
        self.ask("/kv/put", body if lease is None else {**body, "lease": lease})

    def delete(self, key: str) -> None:
        """Take a key away."""
        self.ask("/kv/deleterange", {"key": _encoded(key)})

    def lease(self, seconds: int) -> str:
        """A lease that nobody keeps alive."""
        lease: str = self.ask("/lease/grant", {"TTL": str(seconds)})["ID"]
        return lease

    def revision(self) -> int:
        """The newest."""
        return int(self.ask("/kv/range", {"key": _encoded("/")})["header"]["revision"])

    def compact(self) -> None:
        """Forget all revisions but the newest."""
        self.ask("/kv/compaction", {"revision": str(self.revision()), "physical": True})

    def lock(self, user: str, password: str) -> None:
        """Switch authentication on, with a root and a user that may read everything."""
        for name, word, role in (("root", "root", "root"), (user, password, "reader")):
            self.ask("/auth/user/add", {"name": name, "password": word})
            self.ask("/auth/role/add", {"name": role})
            self.ask("/auth/user/grant", {"user": name, "role": role})
        everything = {"permType": "READ", "key": _encoded("/"), "range_end": _encoded("0")}
        self.ask("/auth/role/grant", {"name": "reader", "perm": everything})
        self.ask("/auth/enable")
        self.token = self.ask("/auth/authenticate", {"name": "root", "password": "root"})["token"]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        until = time.monotonic() + 20.0
        while True:
            try:
                self._client.get("/health").raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < until, Path(self._log.name).read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()
        self._client.close()
        self._log.close()


def _free_ports() -> list[int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


def _encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
