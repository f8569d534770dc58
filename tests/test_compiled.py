"""What is compiled, where something is: docs/compiled.md."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILED = sorted((ROOT / "resilient_http").rglob("*.so"))
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]


@pytest.mark.parametrize("module", COMPILED, ids=lambda module: str(module.relative_to(ROOT)).partition(".")[0])
def test_what_is_compiled_is_as_new_as_its_source(module):
    source = module.parent / f"{module.name.partition('.')[0]}.py"
    assert source.stat().st_mtime <= module.stat().st_mtime, (
        f"{source.name} has changed since it was compiled: `make compiled` compiles it again, `make pure` takes it away"
    )


def test_nothing_that_is_compiled_asks_a_clock_that_a_test_may_replace():
    sources = {file for pattern in HOOK["mypyc"]["include"] for file in ROOT.glob(pattern.lstrip("/"))}
    asking = {file.name for file in sources if re.search(r"\btime\.(time|monotonic)\(", file.read_text())}
    # Of connections, which a scripted upstream has none of.
    assert asking == {"http11.py", "lender.py", "patience.py", "sync_network.py"}


@pytest.mark.parametrize("pattern", [*HOOK["mypyc"]["include"], *HOOK["mypyc"]["exclude"]])
def test_what_is_to_be_compiled_is_there(pattern):
    assert list(ROOT.glob(pattern.lstrip("/")))
