"""The fixtures of this library for pytest; installed with it, and loaded when a test asks for one.

scripted_upstream   an upstream that answers as the test says
virtual_clock       a clock that nobody waits for
inject_faults       faults, until the end of the test
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from resilient_http.resilience import Resilience
    from resilient_http.testing.clock import VirtualClock
    from resilient_http.testing.script import ScriptedUpstream


@pytest.fixture
def virtual_clock() -> Iterator[VirtualClock]:
    """The time of every Resilience passes without waiting; `virtual_clock.elapsed`, `.advance(seconds)`."""
    from resilient_http.testing import virtual_time  # noqa: PLC0415 - loaded when a test asks for it

    with virtual_time() as clock:
        yield clock


@pytest.fixture
def scripted_upstream() -> Iterator[Callable[..., ScriptedUpstream]]:
    """Makes upstreams that answer as the test says; each is verified at the end of the test.

    scripted_upstream() for `transport=`, scripted_upstream(resilience) for all calls of one, and
    scripted_upstream(everywhere=True) for those of every one. `all_asked=False` lets answers be left over.
    """
    from resilient_http.testing import ScriptedUpstream, scripted  # noqa: PLC0415

    with ExitStack() as ends:

        def make(own: Resilience | None = None, **options: Any) -> ScriptedUpstream:
            return ends.enter_context(scripted(ScriptedUpstream(), own, **options))

        yield make


@pytest.fixture
def inject_faults() -> Iterator[Callable[..., None]]:
    """Injects faults into the calls of an upstream, until the end of the test; see injected_faults()."""
    from resilient_http.testing import injected_faults  # noqa: PLC0415

    with ExitStack() as ends:

        def inject(own: Resilience, upstream: str, route: str | None = None, **faults: Any) -> None:
            ends.enter_context(injected_faults(own, upstream, route, **faults))

        yield inject
