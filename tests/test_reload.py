"""Reload: other settings while the process runs; all of them or none, and nothing that is known is lost."""

from __future__ import annotations

import contextvars
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import Future

import httpx
import pybreaker
import pytest

from resilient_http import CircuitOpen, Resilience, SettingsError
from resilient_http.events import EndpointsChanged, ReloadRejected, SettingsReloaded, SwitchEnded, SwitchThrown

N1, N2 = "http://n1", "http://n2"


class House:
    """A Resilience whose nodes answer what they are told to, and what it told."""

    def __init__(self, root=None, **own):
        self.answers, self.events = {}, []
        self.resilience = Resilience(self.settings(root, **own), listeners=[self.events.append])
        self.client = self.resilience.client(transport=httpx.MockTransport(self.answer))

    def settings(self, root=None, **own):
        return {**(root or {}), "upstreams": {"payments": {"endpoints": [N1], "retry": None, **own}}}

    def answer(self, request):
        return httpx.Response(self.answers.get("all", 200))

    def reload(self, root=None, *, by="", **own):
        return self.resilience.reload(self.settings(root, **own), by=by)

    def get(self, url="http://payments/"):
        return self.client.get(url)

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def payments(self):
        return self.resilience.status()["upstreams"]["payments"]


def test_other_settings_are_in_force_with_the_next_call_and_are_told():
    house = House()
    house.answers["all"] = 503
    assert len(house.get().extensions["resilient_http"].attempts) == 1
    changed = house.reload(by="ops", retry={"max_attempts": 2, "backoff": {"base": 0.001, "throttled_base": 0.001}})
    assert len(house.get().extensions["resilient_http"].attempts) == 2
    (event,) = house.told(SettingsReloaded)
    assert (event.by, event.changes) == ("ops", tuple(map(str, changed)))
    assert "upstreams.payments.retry.max_attempts: (none) -> 2" in event.changes


def test_the_same_settings_again_change_nothing_and_tell_nothing():
    house = House()
    assert house.reload() == ()
    assert house.events == []
    assert house.resilience.status()["reloads"] == {}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"timeout": {"total": -1}}, "upstreams.payments.timeout.total"),
        ({"retri": {}}, "upstreams.payments.retri"),
        ({"endpoints": []}, "upstreams.payments.endpoints"),
    ],
)
def test_what_is_wrong_leaves_everything_as_it_was(wrong, path):
    house = House()
    before = house.resilience.settings
    with pytest.raises(SettingsError) as caught:
        house.reload(by="ops", **wrong)
    assert caught.value.path == path
    assert house.resilience.settings is before
    (event,) = house.told(ReloadRejected)
    assert (event.by, path in event.why) == ("ops", True)
    assert house.resilience.status()["reloads"] == {"rejected": 1}
    house.reload(timeout={"total": 1})
    assert house.resilience.status()["reloads"] == {"rejected": 1, "applied": 1}


@pytest.mark.parametrize(
    "root", [{"backend": "httpx2"}, {"engine": "aiohttp"}, {"shared": {"redis": "redis://localhost"}}]
)
def test_what_needs_a_new_process_is_refused(root):
    house = House()
    with pytest.raises(SettingsError, match="start it anew"):
        house.reload(root)
    assert house.get().status_code == 200


def test_none_is_no_settings():
    house = House()
    with pytest.raises(SettingsError, match="None is none"):
        house.resilience.reload(None)
    assert house.get().status_code == 200


def test_a_circuit_keeps_its_state_when_a_number_of_it_changes():
    house = House()
    house.answers["all"] = 503
    for _ in range(5):
        house.get()
    with pytest.raises(CircuitOpen):
        house.get()
    circuit = house.resilience.circuits("payments")[N1]
    house.reload(circuit={"open_for": 30}, timeout={"total": 2})
    assert house.resilience.circuits("payments")[N1] is circuit
    with pytest.raises(CircuitOpen):
        house.get()
    assert circuit.reset_timeout == 30


def test_a_circuit_that_was_about_to_open_opens():
    house = House()
    house.answers["all"] = 503
    for _ in range(4):
        house.get()
    house.reload(circuit={"window": 50})
    house.get()
    with pytest.raises(CircuitOpen):
        house.get()


def test_circuits_are_switched_off_and_on():
    house = House()
    house.answers["all"] = 503
    for _ in range(5):
        house.get()
    house.reload(circuit=None)
    assert house.get().status_code == 503
    house.reload()
    for _ in range(5):
        house.get()
    with pytest.raises(CircuitOpen):
        house.get()


def test_budget_latency_and_counts_go_on():
    retry = {"max_attempts": 2, "backoff": {"base": 0.001, "throttled_base": 0.001}}
    house = House(retry=retry)
    house.answers["all"] = 503
    house.get()
    before = house.payments
    house.reload(retry={**retry, "max_wait": 1, "budget": {"ratio": 0.0, "floor": 0.0}})
    after = house.payments
    assert after["retries"] == before["retries"]
    assert after["retry_budget"]["tokens"] == pytest.approx(before["retry_budget"]["tokens"], abs=0.1)
    assert after["endpoints"][0]["load"] > 0


def test_nodes_come_and_go_and_what_stays_keeps_its_circuit():
    house = House()
    circuit = house.resilience.circuits("payments")[N1]
    house.reload(endpoints=[{"url": N1, "weight": 3}, N2])
    assert house.resilience.circuits("payments")[N1] is circuit
    assert [each["weight"] for each in house.payments["endpoints"]] == [3, 1]
    assert house.told(EndpointsChanged) == [EndpointsChanged("payments", (N2,), ())]
    house.reload(endpoints=[N2])
    assert list(house.resilience.circuits("payments")) == [N2]


def test_upstreams_come_and_go():
    house = House()
    house.resilience.reload({"upstreams": {"search": {"endpoints": ["http://s1"]}}})
    assert house.get("http://search/").status_code == 200
    house.get()
    assert set(house.resilience.status()["upstreams"]) == {"search", "http://payments"}  # an ordinary host by now


def test_hosts_without_a_name_go_by_the_new_defaults_and_keep_their_state():
    house = House()
    house.get("http://stranger/")
    house.answers["all"] = 503
    circuit = house.resilience.circuits("http://stranger")["http://stranger"]
    house.reload({"defaults": {"retry": None, "circuit": {"quiet_streak": 2}}})
    assert house.resilience.circuits("http://stranger")["http://stranger"] is circuit
    for _ in range(2):
        house.get("http://stranger/")
    with pytest.raises(CircuitOpen):
        house.get("http://stranger/")


def test_policies_are_switched_off_and_on_for_all():
    house = House()
    house.answers["all"] = 503
    for _ in range(5):
        house.get()
    house.reload({"enabled": False})
    assert house.get().status_code == 503
    assert not house.resilience.enabled
    house.reload({"enabled": True})
    assert house.resilience.enabled
    for _ in range(5):
        house.get()
    with pytest.raises(CircuitOpen):
        house.get()


def test_a_limit_is_in_force_for_who_comes_and_who_waits():
    house = House(concurrency={"limit": 1, "queue": 1})
    within, go_on = threading.Semaphore(0), threading.Event()

    def answer(request):
        within.release()
        assert go_on.wait(10)
        return httpx.Response(200)

    client = house.resilience.client(transport=httpx.MockTransport(answer))
    threads = [threading.Thread(target=client.get, args=("http://payments/",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert within.acquire(timeout=10)
    assert not within.acquire(blocking=False)
    house.reload(concurrency={"limit": 2, "queue": 1})
    assert within.acquire(timeout=10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert house.payments["concurrency"]["in_flight"] == 0


def test_a_call_under_way_ends_as_it_began():
    house = House()
    within, go_on = threading.Event(), threading.Event()

    def answer(request):
        within.set()
        assert go_on.wait(10)
        return httpx.Response(503)

    client = house.resilience.client(transport=httpx.MockTransport(answer))
    got = []
    thread = threading.Thread(target=lambda: got.append(client.get("http://payments/")))
    thread.start()
    assert within.wait(10)
    house.reload(endpoints=[N2], retry={"max_attempts": 3})
    go_on.set()
    thread.join()
    (attempt,) = got[0].extensions["resilient_http"].attempts
    assert attempt.endpoint == N1


def test_a_guard_goes_by_the_new_settings_and_keeps_its_circuit():
    house = House({"guards": {"db": {"retry": None}}})
    calls = []

    @house.resilience.guard("db", idempotent=True)
    def query():
        calls.append(1)
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        query()
    (circuit,) = house.resilience.circuits("db").values()
    house.reload({"guards": {"db": {"retry": {"max_attempts": 2, "backoff": {"base": 0.001}}}}})
    with pytest.raises(OSError, match="down"):
        query()
    assert len(calls) == 3
    assert list(house.resilience.circuits("db").values()) == [circuit]


def test_an_upstream_with_the_name_of_a_guard_is_refused_and_nothing_has_changed():
    house = House()
    house.resilience.guard("db")(lambda: None)
    with pytest.raises(SettingsError, match="a guard has that name"):
        house.resilience.reload({"upstreams": {"db": {"endpoints": [N1]}}})
    assert list(house.resilience.status()["upstreams"]) == ["payments"]
    assert house.get().status_code == 200


def test_threads_that_reload_at_once_leave_the_settings_of_one_of_them():
    house = House()
    threads = [threading.Thread(target=house.reload, kwargs={"timeout": {"total": total}}) for total in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert house.resilience.settings.upstreams["payments"].timeout.total in range(1, 9)
    assert house.get().status_code == 200
    assert house.resilience.status()["reloads"]["applied"] <= 8


def test_a_listener_may_reload_and_hears_of_changes_when_no_lock_is_held():
    house = House(endpoints=[N1, N2])
    seen = []

    def again(event):
        if isinstance(event, EndpointsChanged) and not seen:
            seen.append(event)
            house.reload(endpoints=[N2])

    house.resilience._hub.listeners = (*house.resilience._hub.listeners, again)
    thread = threading.Thread(target=house.reload, kwargs={"endpoints": [N1]}, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert [each["url"] for each in house.payments["endpoints"]] == [N2]


def test_an_answer_that_comes_too_late_does_not_overrule_other_settings():
    house = House()
    nodes = house.resilience._control.upstreams()["payments"].nodes
    house.reload(endpoints=[N2])
    assert not nodes.replace(house.resilience.settings.upstreams["payments"].endpoints[:0], 1.0, lambda: False)
    assert [each["url"] for each in house.payments["endpoints"]] == [N2]


class Interrupted(BaseException):
    """What a handler of a signal raises."""


@pytest.fixture
def interrupting():
    """Has the main thread raise Interrupted in its waiting, once; to be called half-way, from another thread.

    In its waiting, because what a handler raises in a weakref's callback is lost, and a thread begins with some.
    """
    once = iter([True])

    def interrupt(*_):
        raise Interrupted

    def waits():
        frame = sys._current_frames()[threading.main_thread().ident]
        return any(frame.f_code is Future.result.__code__ for frame, _ in traceback.walk_stack(frame))

    def interrupting():
        for _ in once:
            soon(waits)
            signal.raise_signal(signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield interrupting
    signal.signal(signal.SIGUSR1, before)


class Closing:
    """A source of nodes; `close` is called when it is needed no more."""

    def __init__(self, close=lambda: None):
        self.close = close

    def resolve(self):
        return [N1]


def test_a_reload_that_a_signal_interrupts_half_way_is_in_force_as_a_whole(interrupting):
    def settings(limit, source):
        own = {"endpoints": [N1], "concurrency": {"limit": limit}}
        found = {**own, "discovery": {"source": source}}
        return {"upstreams": {"first": own, "payments": found, "last": own}}

    events = []
    with (
        Resilience(settings(7, Closing(interrupting)), listeners=[events.append]) as resilience,
        resilience.client(transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client,
    ):
        client.get("http://payments/")

        with pytest.raises(Interrupted):
            resilience.reload(settings(8, Closing()))

        soon(lambda: any(isinstance(event, SettingsReloaded) for event in events))
        assert resilience.settings.upstreams["last"].concurrency.limit == 8
        upstreams = resilience.status()["upstreams"]
        assert {upstreams[name]["concurrency"]["limit"] for name in ("first", "payments", "last")} == {8}


def test_a_switch_that_a_signal_interrupts_half_way_is_thrown_and_is_over(interrupting):
    class Interrupting(pybreaker.CircuitBreakerListener):
        def state_change(self, cb, old_state, new_state):
            interrupting()

    root, events = House().settings(), []
    with Resilience(root, listeners=[events.append], circuit_listeners=[Interrupting()]) as resilience:
        with pytest.raises(Interrupted):
            resilience.switch("payments").circuit("open", for_=0.2, by="ops")

        soon(lambda: any(isinstance(event, SwitchEnded) for event in events))
        assert any(isinstance(event, SwitchThrown) for event in events)
        assert resilience.status()["upstreams"]["payments"]["switches"] == []


def soon(true):
    until = time.monotonic() + 5.0
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_what_a_reload_tells_is_told_in_its_context():
    seen = []
    house = House()
    house.resilience._hub.add(lambda event: seen.append(who.get()))
    who.set("ops")
    house.reload(retry={"max_attempts": 2})
    assert seen == ["ops"]


who = contextvars.ContextVar("who", default=None)
