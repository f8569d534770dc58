"""Alarms ring at their time, or were taken back; real threads, and waits of milliseconds."""

from __future__ import annotations

import random
import threading
import time

from resilient_http.engines.alarms import Alarms


class Bell:
    def __init__(self):
        self.prepared = 0
        self.rung = []
        self.heard = threading.Event()

    def prepare(self):
        self.prepared += 1

    def ring(self):
        self.rung.append(time.monotonic())
        self.heard.set()


def test_one_rings_at_its_time_and_cannot_be_taken_back_then():
    alarms, bell = Alarms(), Bell()
    at = time.monotonic() + 0.05
    alarms.arm(bell, at)
    assert bell.heard.wait(5)
    assert at <= bell.rung[0]
    assert bell.prepared == 1
    assert not alarms.disarm(bell)


def test_one_that_was_taken_back_does_not_ring():
    alarms, bell, later = Alarms(), Bell(), Bell()
    alarms.arm(bell, time.monotonic() + 0.02)
    alarms.arm(later, time.monotonic() + 0.06)
    assert alarms.disarm(bell)
    assert later.heard.wait(5)
    assert not bell.rung


def test_an_earlier_one_does_not_wait_for_a_later():
    alarms, later, bell = Alarms(), Bell(), Bell()
    alarms.arm(later, time.monotonic() + 1000.0)
    time.sleep(0.02)  # its thread sleeps by now
    alarms.arm(bell, time.monotonic() + 0.01)
    assert bell.heard.wait(5)
    assert not later.rung


def test_one_that_raises_silences_no_other(caplog):
    class Broken(Bell):
        def ring(self):
            raise RuntimeError("broken")

    alarms, bell = Alarms(), Bell()
    alarms.arm(Broken(), time.monotonic())
    alarms.arm(bell, time.monotonic() + 0.02)
    assert bell.heard.wait(5)
    assert "an alarm could not ring" in caplog.text


def test_of_many_each_rings_once_or_was_taken_back():
    alarms, rng, taken = Alarms(), random.Random(1), []
    bells = [Bell() for _ in range(2000)]

    def work(own):
        for bell in own:
            alarms.arm(bell, time.monotonic() + rng.random() * 0.01)
            time.sleep(rng.random() * 0.002)
            if rng.random() < 0.8:
                taken.append((bell, alarms.disarm(bell)))

    threads = [threading.Thread(target=work, args=(bells[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    back = {bell for bell, was in taken if was}
    for bell in bells:
        if bell not in back:
            assert bell.heard.wait(5)
    assert 100 < len(back) < 1900
    assert all(len(bell.rung) == (bell not in back) for bell in bells)
    assert all(bell.prepared for bell in bells if bell not in back)
