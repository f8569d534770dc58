"""Page: docs/performance.md, made of the results of the last runs, so that nobody copies a figure by hand.

python benchmarks/page.py           write it
python benchmarks/page.py --draw    draw the pictures anew too, for results that came from where matplotlib is not
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from harness import ROOT
from harness.machine import described
from harness.picture import Panel, draw
from harness.report import PICTURES, RESULTS, written

PAGE = ROOT / "docs" / "performance.md"
ORDER = (
    "overhead",
    "pipeline",
    "compiled",
    "policies",
    "request_client",
    "simulate",
    "throughput",
    "throughput_peers",
    "throughput_choices",
    "tail",
    "tail_at_scale",
    "choosing",
    "balance",
    "failover",
    "reload",
    "storm",
    "storm_503",
    "deadlines",
    "soak",
)
TITLES = {
    "overhead": "What a call costs",
    "pipeline": "What looking on, refusing, many upstreams and many threads cost",
    "compiled": "What the compiled build brings",
    "policies": "What each policy costs",
    "request_client": "What a client for each request costs",
    "simulate": "Simulated calls per second",
    "throughput": "Requests per second",
    "throughput_peers": "Requests per second, beside everybody else",
    "throughput_choices": "Requests per second, by what is yours to choose",
    "tail": "Hedging, at nodes with a heavy tail",
    "tail_at_scale": "Hedging, where the slowest of a thousand decides",
    "choosing": "What choosing an endpoint costs",
    "balance": "A slow node and a failing one",
    "failover": "A node that dies, or hangs, and comes back",
    "reload": "Settings that change while calls are made",
    "storm": "A storm: the upstream hangs",
    "storm_503": "A storm: the upstream answers 503",
    "deadlines": "How late calls end",
    "soak": "Whether anything grows",
}
HEAD = """# Performance

Made by `python benchmarks/page.py` of the results of the last runs (`benchmarks/results`); do not edit it. What the
benchmarks do, and how to repeat them: `make bench`, and `benchmarks/README.md`. Every figure is a median of interleaved
rounds in one run, over loopback, unless it says otherwise; a ratio is the median of the rounds' own ratios, and need
not be the quotient of two figures beside it. Compare figures of one table, never those of two runs: each section says
when it was measured, and a goal that is kept here and missed there is near its limit.
"""


def section(result: dict[str, Any]) -> str:
    """What one benchmark has found."""
    name = result["name"]
    parts = [f"## {TITLES[name]}", f"{result['question']} {sentence(result['method'])}. (`benchmarks/{script(name)}`)"]
    parts += [table(one) for one in result["tables"]]
    if result["goals"]:
        parts.append("\n".join(goal(one) for one in result["goals"]))
    if (PICTURES / f"{name}.svg").exists():
        parts.append(f"![{result['question']}]({(PICTURES / f'{name}.svg').relative_to(PAGE.parent)})")
    if result["left_out"]:
        parts.append("Left out: " + "; ".join(f"{who} ({why})" for who, why in result["left_out"].items()) + ".")
    parts.append("What this does not show:\n\n" + "\n".join(f"- {one}" for one in result["does_not_show"]))
    parts.append("Measured on: " + " ".join(described(result["machine"])))
    return "\n\n".join(parts)


def script(name: str) -> str:
    return {
        "throughput_peers": "throughput.py --peers",
        "throughput_choices": "throughput.py --choices",
        "storm_503": "storm.py --outage 503",
    }.get(name, f"{name}.py")


def sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def table(content: dict[str, Any]) -> str:
    columns = content["columns"]
    lines = [
        [content["title"], *(heading for heading, _ in columns)],
        ["---", *("---:" for _ in columns)],
        *(written(row, columns) for row in content["rows"]),
    ]
    note = [f"\n{content['note']}"] if content["note"] else []
    return "\n".join([*(f"| {' | '.join(cell(one) for one in line)} |" for line in lines), *note])


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def goal(one: dict[str, Any]) -> str:
    value = "-" if one["value"] is None else f"{one['value']:.3g}"
    return f"- {one['goal']}: {value}; {one['bound']} is the goal: **{one['verdict']}**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="draw the pictures anew too")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the results are (default: ours)")
    parser.add_argument("--to", type=Path, default=PAGE, help="the page (default: docs/performance.md)")
    options = parser.parse_args()
    files = [options.results / f"{name}.json" for name in ORDER]
    results = [json.loads(file.read_text()) for file in files if file.exists()]
    if options.draw:
        for result in results:
            draw([Panel(**panel) for panel in result["panels"]], PICTURES / f"{result['name']}.svg")
    missing = [file.stem for file in files if not file.exists()]
    unknown = [f"No results of: {', '.join(missing)}."] if missing else []
    options.to.write_text("\n\n".join([HEAD.rstrip(), *(section(result) for result in results), *unknown]) + "\n")
    print(
        f"written: {options.to.name}, of {len(results)} results"
        + (f"; none of {', '.join(missing)}" if missing else "")
    )


if __name__ == "__main__":
    main()
