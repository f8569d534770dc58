"""Every benchmark runs, and says what it has to say. Nothing here looks at a figure: none is a timed test."""

import functools
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from harness.contenders import IN_TASKS, IN_THREADS
from harness.machine import installed

ROOT = Path(__file__).parents[2]
HELPERS = {"page"}
SCRIPTS = sorted(script.stem for script in (ROOT / "benchmarks").glob("*.py") if script.stem not in HELPERS)


def run(script, *arguments):
    # Behind the tests that run beside it, some of which look at the clock.
    return subprocess.run(
        ["nice", "-n", "19", sys.executable, ROOT / "benchmarks" / f"{script}.py", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Runs a script once, with --quick: where its results are, and what it printed."""
    results = tmp_path_factory.mktemp("results")

    @functools.cache
    def quick_run(script):
        finished = run(script, "--quick", "--results", str(results))
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return results, finished.stdout

    return quick_run


@pytest.mark.timeout(220)  # it is behind all others
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_quick_run_tells_where_it_was_measured_and_what_it_does_not_show(script, quick_run):
    if script == "storm" and installed("k6") is None:
        pytest.skip("k6 is not installed; make bench-tools installs it")

    results, printed = quick_run(script)

    result = json.loads((results / f"{script}.json").read_text())
    assert result["machine"]["packages"]["httpx"] == installed("httpx")
    assert result["does_not_show"]
    assert all(table["rows"] for table in result["tables"])
    assert all(heading in printed for table in result["tables"] for heading, _ in table["columns"])
    if find_spec("matplotlib") is not None:
        assert "<svg" in (results / f"{script}.svg").read_text()


@pytest.mark.timeout(220)
@pytest.mark.parametrize(
    ("script", "arguments", "name"),
    [
        ("throughput", ["--peers"], "throughput_peers"),
        ("throughput", ["--choices"], "throughput_choices"),
        ("storm", ["--outage", "503"], "storm_503"),
    ],
    ids=["peers", "choices", "503"],
)
def test_a_quick_run_of_another_kind_has_results_of_its_own(script, arguments, name, tmp_path):
    if script == "storm" and installed("k6") is None:
        pytest.skip("k6 is not installed; make bench-tools installs it")

    finished = run(script, "--quick", "--results", str(tmp_path), *arguments)

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert [file.name for file in tmp_path.glob("*.json")] == [f"{name}.json"]
    assert all(table["rows"] for table in json.loads((tmp_path / f"{name}.json").read_text())["tables"])


def test_a_quick_run_writes_nothing_unless_it_is_told_where():
    assert "written" not in run("request_client", "--quick").stdout


def test_the_page_holds_the_figures_of_the_results(quick_run, tmp_path):
    results, _ = quick_run("request_client")

    finished = run("page", "--results", str(results), "--to", str(tmp_path / "page.md"))

    assert finished.returncode == 0, finished.stderr
    page = (tmp_path / "page.md").read_text()
    (sync, *_) = json.loads((results / "request_client.json").read_text())["tables"]
    for name, microseconds, ratio in sync["rows"]:
        assert f"| {name} | {microseconds:.1f} | {ratio:.2f} |" in page
    assert "No results of: " in page


def test_the_page_in_the_docs_is_the_one_of_the_results(tmp_path):
    page = ROOT / "docs" / "performance.md"

    run("page", "--to", str(tmp_path / "page.md"))

    assert page.read_text() == (tmp_path / "page.md").read_text(), "run: python benchmarks/page.py"


def test_a_contender_whose_package_is_missing_says_so():
    (contender,) = (one for one in IN_TASKS.values() if one.name == "httpx2")

    assert contender.missing == ""
    assert type(contender)("x", contender.open, ("no-such-package",)).missing == "not installed: no-such-package"


def test_every_listed_contender_is_known_in_tasks_or_in_threads():
    from storm import TURNS

    assert all(name in (IN_TASKS if kind == "tasks" else IN_THREADS) for kind, name in TURNS.values())
