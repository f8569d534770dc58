"""Plain: the settings of a client that repeats what fails, and no more, to compare with."""

from __future__ import annotations

import json
from importlib.resources import files

from resilient_http.settings.models import Settings
from resilient_http.simulate.world import nodes_of


def plain(settings: Settings) -> Settings:
    """The same upstreams under plain retries: three attempts of a second each; no budget, no circuits, no deadlines.

    Connections, limits and the choice of an endpoint are those of the defaults. Deadlines of callers are not passed on.
    """
    raw = json.loads(files(__package__).joinpath("settings", "plain.json").read_text())
    upstreams = {
        name: {"endpoints": [each.model_dump() for each in nodes_of(own)]} for name, own in settings.upstreams.items()
    }
    return Settings(**raw, upstreams=upstreams)
