"""Shed: a person has switched the upstream off in an incident, or a share of its calls; those are refused."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from resilient_http.call import Call
from resilient_http.errors import Refused
from resilient_http.policies import CallProceed
from resilient_http.state.switches import Switch
from resilient_http.state.tally import Tally


class ShedPolicy:
    """Refuses calls. It is in no ring but while it is switched on.

    Args:
        switch: Who has thrown it, until when, and the share.
        tally: Counts what was decided.
    """

    def __init__(self, switch: Switch, tally: Tally) -> None:
        self._switch = switch
        self._tally = tally

    def __call__(self, call: Call, proceed: CallProceed) -> Awaitable[Any]:
        """Raise Refused for the share of the calls that is shed."""
        switch, port = self._switch, call.port
        now = port.now()
        # What is over is told to whoever composes in a moment; a call does not wait for that.
        if now >= switch.until or (switch.share < 1.0 and port.rng.random() >= switch.share):
            return proceed(call)
        self._tally.add("switched off")
        left = switch.until - now
        whole = switch.share >= 1.0
        shed = "all of its calls are" if whole else f"{100 * switch.share:.3g} % of its calls are"
        message = f"{call.upstream} is switched off: {shed} shed for another {left:.3g} s, by {switch.by}"
        raise Refused(message, upstream=call.upstream, retry_in=left if whole else None)
