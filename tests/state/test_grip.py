from __future__ import annotations

import random
import threading
import time

from resilient_http.state.grip import Grip


class Socket:
    """Knows who holds it."""

    holder = None


def grip():
    severed = []
    return Grip(severed.append), severed


def test_what_it_holds_is_cut_once_and_who_lets_go_of_it_is_told():
    made, severed = grip()
    assert made.take("socket")
    made.cut()
    made.cut()
    assert severed == ["socket"]
    assert not made.release()


def test_what_it_has_let_go_of_is_not_cut():
    made, severed = grip()
    assert made.take("socket")
    assert made.release()
    made.cut()
    assert severed == []


def test_once_cut_it_gets_hold_of_nothing():
    made, severed = grip()
    made.cut()
    assert not made.take("socket")
    made.cut()
    assert severed == []
    assert not made.release()


def test_whoever_is_cut_holds_it_at_that_moment():
    """A socket goes from attempt to attempt, as from a pool, while each of them is cut at any time."""
    free, cuts, outcomes = [Socket() for _ in range(4)], [], []

    def attempt(rng):
        me = object()
        made = Grip(lambda sock: cuts.append((me, sock.holder)))
        cutter = threading.Thread(target=lambda: (time.sleep(rng.random() * 4e-4), made.cut()))
        cutter.start()
        sock = free.pop()
        sock.holder = me
        if made.take(sock):
            time.sleep(rng.random() * 2e-4)
            whole = made.release()
            outcomes.append((me, whole))
        sock.holder = None
        free.append(sock)
        return cutter

    def work(seed):
        rng = random.Random(seed)
        for cutter in [attempt(rng) for _ in range(200)]:
            cutter.join()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cuts) > 20
    assert all(cutter is holder for cutter, holder in cuts)
    told = {me for me, whole in outcomes if not whole}
    assert told == {cutter for cutter, _ in cuts}
    assert len(told) < len(outcomes)
