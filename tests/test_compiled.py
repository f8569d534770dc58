"""What is compiled, where something is: docs/compiled.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.live.behaviours import hang

ROOT = Path(__file__).parents[1]
COMPILED = sorted((ROOT / "resilient_http").rglob("*.so"))
WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
CUT_OFF = """
import asyncio, sys
from resilient_http import Resilience

async def leave(client):
    asyncio.ensure_future(client.get(sys.argv[1]))
    await asyncio.sleep(0.2)

asyncio.new_event_loop().run_until_complete(leave(Resilience().async_client()))
"""
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]
EXCLUDED = {ROOT / pattern.lstrip("/") for pattern in HOOK["mypyc"]["exclude"]}
SOURCES = sorted({file for pattern in HOOK["mypyc"]["include"] for file in ROOT.glob(pattern.lstrip("/"))} - EXCLUDED)


def test_what_is_compiled_is_as_new_as_its_source():
    sources = {module: module.parent / f"{module.name.partition('.')[0]}.py" for module in COMPILED}
    changed = [source.name for module, source in sources.items() if source.stat().st_mtime > module.stat().st_mtime]
    assert not changed, "changed since they were compiled: `make compiled` compiles again, `make pure` takes it away"


def test_nothing_that_is_compiled_asks_a_clock_that_a_test_may_replace():
    asking = {file.name for file in SOURCES if re.search(r"\btime\.(time|monotonic)\(", file.read_text())}
    # Of connections, which a scripted upstream has none of.
    assert asking == {"http11.py", "lender.py", "patience.py", "sync_network.py"}


def test_nothing_that_is_compiled_waits_where_it_handles_an_exception():
    # Compiled coroutines have no such state of their own: others would see that exception as theirs, and it as its own.
    for source in SOURCES:
        for tried in ast.walk(ast.parse(source.read_text())):
            if isinstance(tried, ast.Try):
                handling = [*tried.finalbody, *(line for handler in tried.handlers for line in handler.body)]
                waits = [each for line in handling for each in ast.walk(line) if isinstance(each, WAITS)]
                assert not waits, f"{source.name}, line {waits[0].lineno}"
            assert not isinstance(tried, ast.AsyncWith), f"{source.name}, line {tried.lineno}"


def test_a_process_ends_well_with_calls_under_way(fault_server):
    server = fault_server(hang())
    ending = subprocess.run(
        [sys.executable, "-c", CUT_OFF, server.url], capture_output=True, text=True, timeout=30, check=False
    )
    assert ending.returncode == 0, ending.stderr


@pytest.mark.parametrize("pattern", [*HOOK["mypyc"]["include"], *HOOK["mypyc"]["exclude"]])
def test_what_is_to_be_compiled_is_there(pattern):
    assert list(ROOT.glob(pattern.lstrip("/")))
