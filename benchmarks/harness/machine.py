"""Machine: what a figure was measured on, and with which versions."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BUSY = "The machine was busy with other things: do not trust these times."


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """All that a reader needs to judge a figure.

    Args:
        packages: Distributions; those that are not installed are left out.
    """
    found = {package: known for package in packages if (known := installed(package))}
    if is_compiled():
        found["resilient-http"] = f"{found.get('resilient-http', '?')} (compiled)"
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": found,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "processor": _processor(),
        "load": round(os.getloadavg()[0], 2),
    }


def described(machine: dict[str, Any]) -> list[str]:
    """The same as lines for a person."""
    busy = [BUSY] if machine["load"] > machine["cpus"] else []
    versions = ", ".join(f"{package} {found}" for package, found in machine["packages"].items())
    return [
        f"{machine['python']}; {versions}",
        (
            f"{machine['system']}, {machine['cpus']} CPUs, {machine['processor']}; "
            f"load average {machine['load']:g} before it began; {machine['date']}"
        ),
        *busy,
    ]


def installed(package: str) -> str | None:
    """Its version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def is_compiled() -> bool:
    """Whether the modules that each call passes are compiled; see docs/compiled.md."""
    found = find_spec("resilient_http.call")
    return found is not None and not str(found.origin).endswith(".py")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
