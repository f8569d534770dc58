from __future__ import annotations

import threading

from resilient_http.state.tally import Tally


def test_it_counts_by_name_in_the_order_of_the_names():
    tally = Tally()
    for name in ("won", "lost", "won"):
        tally.add(name)
    assert list(tally.as_dict().items()) == [("lost", 1), ("won", 2)]


def test_no_thread_is_forgotten():
    tally = Tally()
    threads = [threading.Thread(target=lambda: [tally.add("made") for _ in range(2000)]) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.as_dict() == {"made": 32_000}
