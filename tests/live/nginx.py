"""A real nginx on a port of its own, for what a server of the tests' own would only imitate."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.servers import wait_until_listening

_CONFIG = """
daemon off;
master_process off;
pid {root}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log {root}/access.log combined;
    client_body_temp_path {root}/body;
    fastcgi_temp_path {root}/fastcgi;
    proxy_temp_path {root}/proxy;
    scgi_temp_path {root}/scgi;
    uwsgi_temp_path {root}/uwsgi;
    keepalive_requests 1000000;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {server}
    }}
}}
"""

HELLO = 'location / { default_type text/plain; return 200 "hello\\n"; }'
"""Answers every path with a short text."""


def find_nginx() -> str | None:
    """The path of the command, which Debian keeps off the PATH of ordinary users."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))


class Nginx:
    """One running nginx.

    Args:
        command: Path of nginx.
        root: An empty directory of its own.
        server: What stands in the server block: locations, and the like.
        http: What stands beside it: upstreams, and the like.
    """

    def __init__(self, command: str, root: Path, server: str = HELLO, http: str = "") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._access_log = root / "access.log"
        config = root / "nginx.conf"
        config.write_text(_CONFIG.format(root=root, port=self.port, server=server, http=http))
        self._errors = (root / "stderr.log").open("wb")
        self._process = subprocess.Popen([command, "-p", root, "-c", config, "-e", "stderr"], stderr=self._errors)
        try:
            wait_until_listening("127.0.0.1", self.port)
        except TimeoutError as error:
            self.stop()
            error.add_note((root / "stderr.log").read_text())
            raise

    @property
    def url(self) -> str:
        """Without a path: `http://127.0.0.1:49152`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_log(self) -> list[str]:
        """The lines of the log, one per request that was answered."""
        return self._access_log.read_text().splitlines()

    def kill(self) -> None:
        """SIGKILL: as a node dies."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop at once; a second stop does nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=5.0)
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
