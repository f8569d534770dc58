"""What the tests of a service need: an upstream that answers as they say, a clock that nobody waits for, faults.

With pytest they are fixtures: `scripted_upstream`, `virtual_clock`, `inject_faults` (plugin.py); without it, context
managers. See docs/testing.md. Nothing is imported before it is asked for.
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from resilient_http.testing.clock import VirtualClock
    from resilient_http.testing.faults import injected_faults
    from resilient_http.testing.installing import scripted, virtual_time
    from resilient_http.testing.script import ScriptedUpstream, Sent, Unscripted

__all__ = [
    "ScriptedUpstream",
    "Sent",
    "Unscripted",
    "VirtualClock",
    "injected_faults",
    "scripted",
    "virtual_time",
]

_HOMES = {
    "ScriptedUpstream": "script",
    "Sent": "script",
    "Unscripted": "script",
    "VirtualClock": "clock",
    "injected_faults": "faults",
    "scripted": "installing",
    "virtual_time": "installing",
}

if not typing.TYPE_CHECKING:

    def __getattr__(name: str) -> typing.Any:
        home = _HOMES.get(name)
        if home is None:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
