"""A real OTLP receiver (rotel) on ports of its own, which writes down what it gets."""

import os
import re
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.servers import wait_until_listening


def find_rotel() -> str | None:
    """The path of the agent in its wheel."""
    spec = find_spec("rotel")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return next((str(Path(folder) / "rotel-agent") for folder in folders), None)


def _with_libpython(environment: Mapping[str, str]) -> dict[str, str]:
    """The agent links libpython, which the loader does not look for beside an interpreter that pyenv has built."""
    folders = [sysconfig.get_config_var("LIBDIR"), environment.get("LD_LIBRARY_PATH")]
    return {**environment, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


class Rotel:
    """One running receiver.

    Args:
        command: Its path.
        root: A directory of its own.
    """

    def __init__(self, command: str, root: Path) -> None:
        with socket.socket() as grpc, socket.socket() as http:
            for probe in (grpc, http):
                probe.bind(("127.0.0.1", 0))
            self.grpc: int = grpc.getsockname()[1]
            self.http: int = http.getsockname()[1]
        self._path = root / "rotel.log"
        self._log = self._path.open("wb")
        self._process = subprocess.Popen(
            [
                command, "start", "--exporter", "blackhole", "--otlp-grpc-endpoint", f"127.0.0.1:{self.grpc}",
                "--otlp-http-endpoint", f"127.0.0.1:{self.http}", "--debug-log", "traces", "--debug-log", "metrics",
                "--debug-log-verbosity", "detailed", "--pid-file", str(root / "rotel.pid"),
            ],
            stdout=self._log, stderr=subprocess.STDOUT, cwd=root, env=_with_libpython(os.environ),
        )  # fmt: skip
        try:
            for port in (self.grpc, self.http):
                wait_until_listening("127.0.0.1", port, timeout=20)
        except TimeoutError as error:
            self.stop()
            error.add_note(self.log)
            raise

    @property
    def log(self) -> str:
        """All that it has written, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._path.read_text(errors="replace"))

    def wait_for(self, seen: Callable[[str], bool], what: str, within: float = 20.0) -> str:
        """Its log, as soon as something is in it."""
        until = time.monotonic() + within
        while not seen(self.log):
            if time.monotonic() > until:
                message = f"rotel has not seen {what} within {within:g} s; its log ends with\n{self.log[-3000:]}"
                raise TimeoutError(message)
            time.sleep(0.05)
        return self.log

    def stop(self) -> None:
        """Kill it; a second time does nothing."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
