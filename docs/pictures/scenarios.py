"""Draw scenarios under the defaults beside plain retries, on the simulation's virtual clock.

make pictures        all of them; they come out alike each time
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from resilient_http import Settings
from resilient_http.simulate import load_scenario, plain, simulate, table_of
from resilient_http.simulate.picture import draw

HERE = Path(__file__).parent / "scenarios"
NAMES = ("metastable", "retry-storm", "slow-tier")
OURS = Settings(upstreams={"payments": {"endpoints": [f"http://10.0.0.{node}:8080" for node in (1, 2, 3)]}})


def main() -> None:
    HERE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NAMES:
        scenario = load_scenario(name)
        results = {"the defaults": simulate(OURS, scenario), "plain retries": simulate(plain(OURS), scenario)}
        draw(results, str(HERE / f"{name}.svg"))
        print(f"{table_of(results)}\n", flush=True)


if __name__ == "__main__":
    main()
