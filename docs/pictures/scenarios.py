"""Draw scenarios under the defaults beside plain retries, and write the tables of docs/simulate.md anew.

make pictures                                       all of it; it comes out alike each time
python docs/pictures/scenarios.py --tables-only     without matplotlib
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from resilient_http import Settings, plan
from resilient_http.simulate import load_scenario, plain, simulate, table_of
from resilient_http.simulate.picture import draw

HERE = Path(__file__).parent / "scenarios"
PAGE = Path(__file__).parents[1] / "simulate.md"
SHOWN = "metastable"  # as a table on the page
NAMES = (SHOWN, "retry-storm", "slow-tier")
OURS = Settings(upstreams={"payments": {"endpoints": [f"http://10.0.0.{node}:8080" for node in (1, 2, 3)]}})


def main() -> None:
    tables_only = "--tables-only" in sys.argv
    for name in (SHOWN,) if tables_only else NAMES:
        scenario = load_scenario(name)
        results = {"the defaults": simulate(OURS, scenario), "plain retries": simulate(plain(OURS), scenario)}
        table = table_of(results)
        if name == SHOWN:
            write(scenario.title, table)
        if not tables_only:
            HERE.mkdir(exist_ok=True)
            draw(results, str(HERE / f"{name}.svg"))
        print(f"{table}\n", flush=True)
    (settings, *_) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    write("at 100 calls/s", plan(tomllib.loads(settings)).as_table())


def write(beginning: str, table: str) -> None:
    """Put it in the place of the table that begins so."""
    block = re.compile(rf"(?<=```text\n){re.escape(beginning)}.*?(?=\n```)", re.DOTALL)
    PAGE.write_text(block.sub(lambda _: table, PAGE.read_text(), count=1))


if __name__ == "__main__":
    main()
