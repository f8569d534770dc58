"""The plugin as pytest finds it: by its entry point, light until it is used, and beside what else users have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("anyio", "httpx", "pydantic", "opentelemetry", "resilient_http.resilience", "resilient_http.testing.script")


@pytest.fixture
def installed(tmp_path):
    """A folder that makes pytest find the plugin as it does where the package is installed."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    about = tmp_path / "site" / "of_a_test-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: of-a-test\nVersion: 1\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    return about.parent


def run(installed, folder, test, *options):
    (folder / "test_of_a_user.py").write_text(test)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *options]
    return subprocess.run(
        [*command, str(folder / "test_of_a_user.py")],
        capture_output=True, text=True, timeout=60, env=environment, cwd=folder, check=False,
    )  # fmt: skip


def test_the_fixtures_are_there_where_the_package_is_installed(installed, tmp_path):
    test = """
from resilient_http import Resilience

def test_charges(scripted_upstream, virtual_clock, inject_faults):
    with Resilience({"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080"]}}}) as resilience:
        scripted_upstream(resilience).reply(503).then(200)
        with resilience.client() as client:
            assert client.get("http://payments/").status_code == 200
        inject_faults(resilience, "payments", error=500)
    assert virtual_clock.elapsed > 0
"""
    done = run(installed, tmp_path, test)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_tests_of_the_page_pass(installed, tmp_path):
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
    with_tests = [example for example in examples if "def test_" in example]
    assert len(with_tests) == 3
    for number, example in enumerate(with_tests):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run(installed, folder, example)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_light_where_nothing_of_it_is_used(installed, tmp_path):
    test = f"""
import sys

def test_nothing():
    assert "resilient_http.testing.plugin" in sys.modules
    assert not set({HEAVY!r}) & set(sys.modules)
"""
    # Without the plugins of this environment, which import much themselves.
    done = run(installed, tmp_path, test, "-p", "resilient_http.testing.plugin", "--disable-plugin-autoload")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_not_asked_for_is_an_error_of_the_test(installed, tmp_path):
    done = run(installed, tmp_path, "def test_nothing(scripted_upstream):\n    scripted_upstream().reply(200)\n")
    assert done.returncode == 1
    assert "scripted, and not asked for: any request: 200 once (asked for 0 times)" in done.stdout


def test_a_fixture_of_the_users_with_the_same_name_wins(installed, tmp_path):
    test = """
import pytest

@pytest.fixture
def virtual_clock():
    return "mine"

def test_mine(virtual_clock):
    assert virtual_clock == "mine"
"""
    assert run(installed, tmp_path, test).returncode == 0


def test_the_clock_is_real_again_for_the_next_test(installed, tmp_path):
    test = """
import time

import resilient_http.scope

def test_virtual(virtual_clock):
    assert resilient_http.scope.time is not time

def test_real():
    assert resilient_http.scope.time is time
"""
    assert run(installed, tmp_path, test).returncode == 0
