"""Servers: what the benchmarks call, each on a free port of loopback and ended with its block."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import BENCHMARKS, ROOT
from tests.live.nginx import Nginx, find_nginx
from tests.live.processes import Served, served

SMALL_JSON = """
access_log off;
location / { default_type application/json; return 200 '{"id": 42, "amount": "12.50", "currency": "EUR"}'; }
"""

PATHS = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(BENCHMARKS)])}
"""In the environment of a process that runs a module of ours or of the project's."""


@contextlib.contextmanager
def nginx() -> Iterator[str]:
    """The URL of an nginx with one worker that answers a small JSON, and writes no log."""
    command = find_nginx()
    if command is None:
        sys.exit("nginx is missing; install it with: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as root, Nginx(command, Path(root), SMALL_JSON) as server:
        yield server.url


@contextlib.contextmanager
def node(kind: str, **options: Any) -> Iterator[Served]:
    """A node of ours in a process of its own; see nodes.py for the kinds."""
    with served(["harness.nodes", "FD", kind, json.dumps(options)], PATHS) as server:
        yield server


def ask(url: str) -> Any:
    """GET: the JSON that a node answers with. For what is not measured."""
    with urllib.request.urlopen(url, timeout=10.0) as response:
        return json.load(response)
