"""Promises: what resilient_http has to show in the demo."""

from __future__ import annotations

from example_project.figures import Run
from example_project.story import DEAD, DOWN

SUCCESS = 0.99
OVERRUN = 0.1
REACHED = 1.3


def broken(run: Run) -> list[str]:
    """A sentence for each promise that the run did not keep."""
    dead, down = run.acts[DEAD], run.acts[DOWN]
    sentences = []
    if dead.success < SUCCESS:
        sentences.append(
            f"While one of three nodes was dead, {dead.success:.2%} of the requests succeeded; "
            f"at least {SUCCESS:.0%} are promised."
        )
    # While the machine stands still nobody keeps time: not who answers, not who measures.
    if run.total.overrun - run.late > OVERRUN:
        sentences.append(
            f"An answer came {run.total.overrun * 1000:.0f} ms after its caller's deadline; "
            f"at most {OVERRUN * 1000:.0f} ms are promised. The demo itself was at most {run.late * 1000:.0f} ms late."
        )
    if down.reached > REACHED:
        sentences.append(
            f"While all nodes failed, {down.reached:.2f} requests reached them per request of a user; "
            f"at most {REACHED} are promised."
        )
    return sentences
