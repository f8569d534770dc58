"""What the benchmarks share: rounds, reports, pictures, servers, and the clients that they compare with.

`import harness` puts the project that the benchmark belongs to first: its library, whatever else is installed, and the
servers of its tests.
"""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
ROOT = BENCHMARKS.parent

sys.path.insert(0, str(ROOT))
