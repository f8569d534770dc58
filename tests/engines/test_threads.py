"""Threads of our own: bounded, used again, and new after a fork."""

from __future__ import annotations

import os
import threading

from resilient_http.engines.threads import Threads


def test_no_more_than_the_limit_run_at_once_and_they_are_used_again():
    threads, gate, ran = Threads(2), threading.Event(), threading.Semaphore(0)
    idents = []

    def work():
        idents.append(threading.get_ident())
        gate.wait()
        ran.release()

    assert [threads.start(work) for _ in range(3)] == [True, True, False]
    gate.set()
    for _ in range(2):
        assert ran.acquire(timeout=5)
    for _ in range(200):
        while not threads.start(work):
            pass
        assert ran.acquire(timeout=5)
    assert len(idents) == 202
    assert len(set(idents)) == 2


def test_a_forked_child_starts_threads_of_its_own():
    threads, done = Threads(1), threading.Event()
    threads.start(done.set)
    assert done.wait(5)
    child = os.fork()
    if not child:
        own = threading.Event()
        os._exit(0 if threads.start(own.set) and own.wait(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_has_been_done_is_not_kept_alive():
    class Held:
        gone = threading.Event()

        def __del__(self):
            self.gone.set()

        def __call__(self):
            pass

    Threads(1).start(Held())
    assert Held.gone.wait(5)
