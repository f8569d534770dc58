"""A real Prometheus on a port of its own, and its promtool."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from tests.live.servers import wait_until_listening

_CONFIG = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: service
    static_configs: [{{targets: [{targets}]}}]
"""


def find_prometheus() -> str | None:
    """The path of the command."""
    return shutil.which("prometheus")


def promtool(*arguments: str, given: str | None = None) -> tuple[int, str]:
    """Run it: its status, and all that it wrote."""
    command = shutil.which("promtool")
    assert command is not None
    ran = subprocess.run([command, *arguments], input=given, capture_output=True, text=True, check=False, timeout=30)
    return ran.returncode, ran.stdout + ran.stderr


class Prometheus:
    """One running Prometheus.

    Args:
        command: Its path.
        root: An empty directory of its own.
        targets: What it scrapes, as host:port.
        rules: Files of rules.
    """

    def __init__(self, command: str, root: Path, targets: Sequence[str], rules: Sequence[Path] = ()) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        config = root / "prometheus.yml"
        config.write_text(_CONFIG.format(targets=", ".join(targets), rules=", ".join(map(str, rules))))
        self._errors = (root / "stderr.log").open("wb")
        self._process = subprocess.Popen(
            [
                command, f"--config.file={config}", f"--storage.tsdb.path={root / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stderr=self._errors,
        )  # fmt: skip
        try:
            wait_until_listening("127.0.0.1", self.port, timeout=20)
            self._wait_until_ready()
        except TimeoutError as error:
            self.stop()
            error.add_note((root / "stderr.log").read_text())
            raise

    def _wait_until_ready(self, within: float = 20.0) -> None:
        until = time.monotonic() + within
        while time.monotonic() < until:
            with suppress(HTTPError), urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=10):
                return
            time.sleep(0.05)
        message = f"Prometheus was not ready within {within:g} s"
        raise TimeoutError(message)

    def get(self, path: str) -> Any:
        """What its API says."""
        with urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str, within: float = 30.0) -> dict[tuple[str, ...], float]:
        """The values of an expression by label values, as soon as there are any."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            result = self.get(f"query?query={quote(expression)}")["result"]
            if result:
                return {_labels(each["metric"]): float(each["value"][1]) for each in result}
            time.sleep(0.1)
        message = f"{expression} had no value within {within:g} s"
        raise TimeoutError(message)

    def stop(self) -> None:
        """Kill it; a second time does nothing."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _labels(metric: dict[str, str]) -> tuple[str, ...]:
    own = {name: value for name, value in metric.items() if name not in ("instance", "job", "__name__")}
    return tuple(value for name, value in own.items() if value and not name.startswith("otel_scope"))
