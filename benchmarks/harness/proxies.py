"""Proxies: nginx and Envoy in front of the same nodes, as their users set them up."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from example_project.service import free_port
from harness.servers import nginx_command
from tests.live.nginx import Nginx
from tests.live.servers import wait_until_listening

TYPES = "type.googleapis.com/envoy.extensions"
NGINX = """
access_log off;
location / {{
    proxy_pass http://nodes;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_next_upstream error timeout http_502 http_503 http_504;
    proxy_next_upstream_tries 3;
    proxy_read_timeout 3s;
    proxy_connect_timeout 2s;
}}
"""


@contextlib.contextmanager
def nginx_before(nodes: Sequence[str], method: str = "") -> Iterator[str]:
    """The URL of an nginx before these nodes. It repeats what fails at another node, and takes none of 502 to 504.

    Args:
        nodes: URLs.
        method: "least_conn;", or nothing for its default, round robin.
    """
    servers = "".join(f"server {urlsplit(node).netloc};" for node in nodes)
    upstream = f"upstream nodes {{ {method} {servers} keepalive 32; }}"
    with tempfile.TemporaryDirectory() as root, Nginx(nginx_command(), Path(root), NGINX.format(), upstream) as server:
        yield server.url


def find_envoy() -> str | None:
    """The path of the command, which may be one of a virtual environment that is not active."""
    beside = Path(sys.executable).parent / "envoy"
    return str(beside) if beside.exists() else shutil.which("envoy")


@contextlib.contextmanager
def envoy_before(nodes: Sequence[str], policy: str, *, outliers: bool = False) -> Iterator[str]:
    """The URL of an Envoy before these nodes. It repeats what fails, twice, at a host that it has not tried.

    Args:
        nodes: URLs.
        policy: How it balances: ROUND_ROBIN, LEAST_REQUEST.
        outliers: Whether it ejects hosts that fail, with Envoy's defaults and by success rate too.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as root:
        config = Path(root) / "envoy.json"
        config.write_text(json.dumps(_envoy(port, nodes, policy, outliers=outliers)))
        command = [find_envoy() or "envoy", "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
        with (Path(root) / "log").open("wb") as log:
            process = subprocess.Popen([*command, "--log-level", "error"], stderr=log, stdout=log)
        try:
            wait_until_listening("127.0.0.1", port)
            yield f"http://127.0.0.1:{port}"
        except TimeoutError as error:
            error.add_note((Path(root) / "log").read_text())
            raise
        finally:
            process.terminate()
            process.wait()


def _envoy(port: int, nodes: Sequence[str], policy: str, *, outliers: bool) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": "nodes",
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": policy,
        "load_assignment": {
            "cluster_name": "nodes",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(node)}} for node in nodes]}],
        },
    }
    if outliers:
        # By success rate it wants five hosts by default, and here there are three.
        cluster["outlier_detection"] = {"success_rate_minimum_hosts": 3, "max_ejection_percent": 50}
    retry = {
        "retry_on": "5xx,reset,connect-failure",
        "num_retries": 2,
        "per_try_timeout": "3s",
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": 5,
    }
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "nodes", "retry_policy": retry}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "in", "address": _address(f"http://127.0.0.1:{port}"), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {"socket_address": {"address": parts.hostname, "port_value": parts.port}}
