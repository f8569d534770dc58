"""Switchboard: the kill switches of one upstream, for people in an incident."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Final, Literal

from resilient_http.journal import visible
from resilient_http.settings.endpoints import node_url
from resilient_http.state.switches import Switch, What
from resilient_http.upstreams.switching import Switching
from resilient_http.upstreams.whole import whole

LONGEST: Final = 604_800.0  # seconds: a week; what is to last belongs into the settings
ABOUT: Final = ("retries", "hedges", "circuit", "shed")

About = Literal["retries", "hedges", "circuit", "shed"]


class Switchboard:
    """Switches off, or forces, what an upstream's calls go by: at once, in this process, and for a time.

    Get one from `Resilience.switch("payments")`. A switch holds over reloads. When its time is over it falls back by
    itself. Each throw and each end is an event (SwitchThrown, SwitchEnded), and stands in status(). Thread-safe.

    Args:
        name: Of the upstream, or "*" for all.
        switching: The switches of the process.
    """

    def __init__(self, name: str, switching: Switching) -> None:
        self._name = name
        self._switching = switching

    def retries_off(self, *, for_: float, by: str) -> None:
        """Repeat nothing.

        Args:
            for_: Seconds after which it is over; at most a week.
            by: Who does it, for the events.

        Raises:
            ValueError: An argument is wrong.
        """
        self._throw(What.RETRIES_OFF, for_, by)

    def hedges_off(self, *, for_: float, by: str) -> None:
        """Send no hedges. Arguments as retries_off()."""
        self._throw(What.HEDGES_OFF, for_, by)

    def circuit(
        self, position: Literal["open", "closed"], *, for_: float, by: str, endpoint: str | None = None
    ) -> None:
        """Hold circuits open, so that nothing is sent; or closed, so that no rule opens them.

        One that was held open lets probes through when that is over; one that was held closed begins anew.

        Args:
            position: "open" or "closed".
            for_: As retries_off().
            by: As retries_off().
            endpoint: URL of the one endpoint, also of one that is still to come; None for all of them.
        """
        whats = {"open": What.CIRCUIT_OPEN, "closed": What.CIRCUIT_CLOSED}
        if position not in whats:
            message = f'position is "open" or "closed", not {position!r}'
            raise ValueError(message)
        self._throw(whats[position], for_, by, endpoint=None if endpoint is None else node_url(endpoint))

    def shed(self, *, for_: float, by: str, share: float = 1.0) -> None:
        """Refuse calls (Refused); a fallback answers them.

        Args:
            for_: As retries_off().
            by: As retries_off().
            share: Of the calls, drawn at random. 0 < share <= 1.
        """
        if not 0.0 < share <= 1.0:
            message = f"share is above 0 and at most 1, not {share!r}"
            raise ValueError(message)
        self._throw(What.SHED, for_, by, share=share)

    def lift(self, about: About | None = None, *, by: str) -> None:
        """Have it be over at once. What a document says is over too, until another one says so again.

        Args:
            about: "retries", "hedges", "circuit" or "shed"; None for all of them.
            by: As retries_off().
        """
        if about is not None and about not in ABOUT:
            message = f"about is one of {', '.join(ABOUT)}, not {about!r}"
            raise ValueError(message)
        whole(partial(self._switching.lift, self._name, about, visible(str(by))))

    def _throw(self, what: What, for_: float, by: str, *, share: float = 1.0, endpoint: str | None = None) -> None:
        if isinstance(for_, bool) or not math.isfinite(for_) or not 0.0 < for_ <= LONGEST:
            message = f"for_ is in seconds, above 0 and at most a week ({LONGEST:g}), not {for_!r}"
            raise ValueError(message)
        if not by:
            message = "by says who does it, and is needed"
            raise ValueError(message)
        switch = Switch(what, time.monotonic() + for_, visible(str(by)), share, endpoint)
        whole(partial(self._switching.throw, self._name, switch))
