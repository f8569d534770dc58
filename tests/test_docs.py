"""The docs tell the truth: their examples run, and the settings table is what the models say."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resilient_http.events import Event
from resilient_http.settings.circuit import SharedCircuitSettings, SlowCallSettings
from resilient_http.settings.discovery import (
    ConsulSettings,
    DiscoverySettings,
    DnsSettings,
    EtcdSettings,
    SrvSettings,
)
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.fallback import FallbackSettings, FixedResponseSettings, StaleSettings
from resilient_http.settings.guards import GuardRetrySettings, GuardTimeoutSettings
from resilient_http.settings.health import HealthSettings
from resilient_http.settings.inbound import InboundSettings
from resilient_http.settings.limits import RateLimitSettings
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.shared import SharedSettings
from resilient_http.settings.validation import Model
from resilient_http.settings.watch import (
    WatchConsulSettings,
    WatchEtcdSettings,
    WatchHttpSettings,
    WatchRedisSettings,
    WatchSettings,
)

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


@pytest.fixture
def node(tmp_path):
    """What `python -m http.server` of the README is."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run_as_they_stand(page, node, refused_url):
    text = (ROOT / page).read_text()
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    if page == "README.md":
        assert examples
    refused = refused_url.rpartition(":")[2]
    for example in examples:
        code = example.replace("127.0.0.1:8001", f"127.0.0.1:{node}").replace("127.0.0.1:8002", f"127.0.0.1:{refused}")
        finished = _run(code)
        assert finished.returncode == 0, f"{example}\n{finished.stderr}"


def test_the_ten_lines_go_to_the_node_that_is_up(node, refused_url):
    (example, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    refused = refused_url.rpartition(":")[2]
    code = example.replace("127.0.0.1:8001", f"127.0.0.1:{node}").replace("127.0.0.1:8002", f"127.0.0.1:{refused}")

    lines = _run(code).stdout.splitlines()

    assert len(lines) == 5
    assert all(line.startswith("200 GET files: attempt 1 at http://127.0.0.1:") for line in lines)


def test_the_settings_table_is_what_the_models_say():
    text = (ROOT / "docs/settings.md").read_text()
    told = dict(re.findall(r"^\| `([\w.]+)` \| ?(.*?) ?\|", text, re.MULTILINE))
    real = {
        "enabled": _shown(Settings.model_fields["enabled"].default),
        "backend": _shown(Settings.model_fields["backend"].default),
        "engine": _shown(Settings.model_fields["engine"].default),
        "zone": _shown(Settings.model_fields["zone"].default),
        "shared": _shown(Settings.model_fields["shared"].default),
        "watch": _shown(Settings.model_fields["watch"].default),
        **_flat(WatchSettings, "watch."),
        **_flat(WatchEtcdSettings, "watch.etcd."),
        **_flat(WatchConsulSettings, "watch.consul."),
        **_flat(WatchRedisSettings, "watch.redis."),
        **_flat(WatchHttpSettings, "watch.http."),
        "defaults": "",
        "upstreams": "none",
        "guards": "none",
        **_flat(InboundSettings, "inbound."),
        **_flat(SharedSettings, "shared."),
        **_flat(UpstreamSettings),
        **_flat(SlowCallSettings, "circuit.slow_call."),
        **_flat(SharedCircuitSettings, "circuit.shared."),
        **_flat(RateLimitSettings, "rate_limit."),
        **_flat(HealthSettings, "health."),
        **_flat(EndpointSettings),
        **_flat(DiscoverySettings, "discovery."),
        **_flat(DnsSettings, "discovery.dns."),
        **_flat(SrvSettings, "discovery.srv."),
        **_flat(EtcdSettings, "discovery.etcd."),
        **_flat(ConsulSettings, "discovery.consul."),
        **_flat(FallbackSettings, "fallback."),
        **_flat(FixedResponseSettings, "fallback.response."),
        **_flat(StaleSettings, "fallback.stale."),
        **_flat(GuardTimeoutSettings, "guard.timeout."),
        **_flat(GuardRetrySettings, "guard.retry."),
        "guard.circuit": "as above",
        "guard.concurrency": "as above",
    }

    assert told == real


def test_the_guide_names_every_event_and_no_other():
    told = (ROOT / "docs/guide.md").read_text().split("has the records:")[1].split("What a rate limit")[0]
    assert set(re.findall(r"`(\w+)`", told)) == {event.__name__ for event in Event.__subclasses__()}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / link).exists(), link


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )


def _flat(model: type[Model], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, Model):
            flat |= _flat(type(field.default), f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = "(required)" if field.is_required() else _shown(field.default)
    return flat


def _shown(value: object) -> str:
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "none"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, int):
        return str(value)
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
