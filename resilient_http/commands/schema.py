"""Write the JSON Schema of the settings, for editors.

In VS Code, or for taplo, a TOML file says `#:schema ./settings.schema.json` in its first line; JSON and YAML files say
`"$schema"`, which is left out when they are read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from resilient_http.settings.schema import schema


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="where to; without it to the standard output")


def run(options: argparse.Namespace) -> int:
    """Write it; the exit status."""
    text = json.dumps(schema(), indent=2)
    if options.file is None:
        print(text)  # noqa: T201
    else:
        Path(options.file).write_text(f"{text}\n", encoding="utf-8")
    return 0
