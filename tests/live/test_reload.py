"""A thousand reloads while calls are made: none fails, no circuit forgets, and nothing grows."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.live.reloading import KINDS, reload_while_calling


@pytest.mark.timeout(180)  # a thousand of them, beside other tests
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_reloads_during_calls_are_noticed_by_nobody(kind, nginx, refused_url):
    # The rate is that which two cores beside other tests reach; the whole of it: benchmarks/reload.py.
    outcome = reload_while_calling(kind, nginx().url, refused_url, rate=100.0, reloads=1000, every=0.005, quiet=0.2)
    assert outcome.failed == []
    assert len(outcome.busy) > 50
    assert len(outcome.reloads) == 1000
    assert outcome.open_circuit
    # One object that a reload leaves behind would be 475 in each half; what else comes and goes does not in both.
    objects, blocks = zip(*outcome.objects, strict=True)
    assert min(after - before for before, after in pairwise(objects)) < 250
    assert min(after - before for before, after in pairwise(blocks)) < 0.03 * blocks[0]
