"""The docs tell the truth: their examples run, and the settings table is what the models say."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from resilient_http import advise, load_settings
from resilient_http.events import Event
from resilient_http.settings import exposures, likely_mistakes
from resilient_http.settings.endpoints import EndpointSettings
from resilient_http.settings.guards import GuardSettings
from resilient_http.settings.keys import keys
from resilient_http.settings.models import Settings, UpstreamSettings
from resilient_http.settings.schema import schema
from resilient_http.telemetry.instruments import metrics_table

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)
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


def test_the_tables_and_the_schema_are_what_the_models_say():
    text = reference.PAGE.read_text()
    assert reference.page(text) == text, "make reference"
    assert json.loads(reference.SCHEMA.read_text()) == schema(), "make reference"


def test_every_key_stands_in_one_table():
    asked = [found[2] for found in reference.TABLE.finditer(reference.PAGE.read_text())]
    told = [".".join(key.path) for each in asked for key in reference.asked_for(each)]
    # A route's sections, and a guard's circuit and concurrency, are an upstream's; endpoints have a table of theirs.
    elsewhere = re.compile(
        r"(defaults|upstreams|guards)\..*|guard\.(circuit|concurrency)\..*"
        r"|routes(\.\*\.(timeout|retry|hedge|fallback|chaos)\..*)?|endpoints\..*"
    )
    models = [(Settings, ()), (UpstreamSettings, ()), (GuardSettings, ("guard",)), (EndpointSettings, ())]
    known = [".".join(key.path) for model, prefix in models for key in keys(model, prefix)]
    assert sorted(told) == sorted([key for key in known if not elsewhere.fullmatch(key)] + ["routes"])


def test_every_key_has_a_meaning():
    assert [key.path for key in keys(Settings) if not key.text] == []


def test_the_toml_of_the_page_is_valid_and_right(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", reference.PAGE.read_text(), re.DOTALL)
    (tmp_path / "settings.toml").write_text(example)
    settings = load_settings(tmp_path / "settings.toml", environment=None)
    assert advise(settings, deploy=True) == ()
    assert settings.upstreams["payments"].routes["GET /reports/{id}"].hedge is None


def test_the_page_names_every_advice():
    told = re.findall(r"^\| (W\d+) \|", reference.PAGE.read_text(), re.MULTILINE)
    rules = [*likely_mistakes.RULES, "W009", *exposures.RULES, *exposures.OF_THE_PROCESS]
    assert told == rules


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


def test_the_table_of_metrics_is_what_the_code_measures():
    text = (ROOT / "docs/observe.md").read_text()
    told = text.split("<!-- metrics -->\n")[1].split("<!-- /metrics -->")[0]

    assert told == metrics_table()
