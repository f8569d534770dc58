"""Servers: what the benchmarks call, each on a free port of loopback and ended with its block."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from example_project.service import free_port
from harness import BENCHMARKS, ROOT
from tests.live.nginx import Nginx, find_nginx
from tests.live.servers import wait_until_listening

SMALL_JSON = """
access_log off;
location / { default_type application/json; return 200 '{"id": 42, "amount": "12.50", "currency": "EUR"}'; }
"""

PATHS = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(BENCHMARKS)])}
"""In the environment of a process that runs a module of ours or of the project's."""


@contextlib.contextmanager
def nginx() -> Iterator[str]:
    """The URL of an nginx with one worker that answers a small JSON, and writes no log."""
    with tempfile.TemporaryDirectory() as root, Nginx(nginx_command(), Path(root), SMALL_JSON) as server:
        yield server.url


def nginx_version() -> str:
    told = subprocess.run([nginx_command(), "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().rpartition("/")[2]


def nginx_command() -> str:
    """Its path; the benchmark ends here where there is none."""
    return find_nginx() or sys.exit("nginx is missing; install it with: apt-get install nginx-light")


@contextlib.contextmanager
def node(kind: str, **options: Any) -> Iterator[str]:
    """The URL of a node of ours in a process of its own; see nodes.py for the kinds."""
    port = free_port()
    command = [sys.executable, "-m", "harness.nodes", str(port), kind, json.dumps(options)]
    process = subprocess.Popen(command, env=os.environ | PATHS, stdin=subprocess.PIPE)
    try:
        wait_until_listening("127.0.0.1", port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def ask(url: str) -> Any:
    """GET: the JSON that a node answers with. For what is not measured."""
    with urllib.request.urlopen(url, timeout=10.0) as response:
        return json.load(response)
