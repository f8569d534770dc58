"""Kill switches: in force at once, over by themselves, and told."""

from __future__ import annotations

import os
import threading
import time

import httpx
import pytest

from resilient_http import CircuitOpen, Refused, Resilience
from resilient_http.events import CircuitOpened, SwitchEnded, SwitchThrown
from tests.live.sharing_process import within

N1, N2 = "http://n1", "http://n2"
QUICK = {"max_attempts": 3, "backoff": {"base": 0.001, "throttled_base": 0.001}, "budget": None}


class House:
    """A Resilience whose nodes answer what they are told to, and what it told."""

    def __init__(self, root=None, **own):
        self.status, self.asked, self.events = 200, [], []
        self.told = threading.Condition()
        self.resilience = Resilience(self.settings(root, **own), listeners=[self.hear])
        self.client = self.resilience.client(transport=httpx.MockTransport(self.answer))
        self.payments = self.resilience.switch("payments")

    def settings(self, root=None, **own):
        return {**(root or {}), "upstreams": {"payments": {"endpoints": [N1, N2], "retry": QUICK, **own}}}

    def hear(self, event):
        with self.told:
            self.events.append(event)
            self.told.notify_all()

    def answer(self, request):
        self.asked.append(request.url.host)
        return httpx.Response(self.status)

    def get(self, url="http://payments/", **options):
        return self.client.get(url, **options)

    def outcome(self):
        try:
            return self.get()
        except Refused as exc:
            return exc

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def switches(self, name="payments"):
        return self.resilience.status()["upstreams"][name]["switches"]

    def attempts(self):
        return len(self.get().extensions["resilient_http"].attempts)

    def ended(self):
        """Wait until a switch is over."""
        with self.told:
            assert self.told.wait_for(lambda: self.of(SwitchEnded), 10)


@pytest.fixture
def house():
    made = []

    def build(*args, **own):
        made.append(House(*args, **own))
        return made[-1]

    yield build
    for each in made:
        for name in ("*", "payments", "db", "http://stranger"):
            each.resilience._control.switching.lift(name, None, "the end")
        each.resilience.close()


def test_retries_are_off_and_come_back_by_themselves(house):
    it = house()
    it.status = 503
    assert it.attempts() == 3
    it.payments.retries_off(for_=0.3, by="ops")
    assert it.attempts() == 1
    assert it.get().extensions["resilient_http"].attempts[-1].why.endswith("retries are switched off by ops")
    assert it.of(SwitchThrown) == [SwitchThrown("payments", "retries off", "ops", pytest.approx(0.3, abs=0.1))]
    it.ended()
    assert it.of(SwitchEnded) == [SwitchEnded("payments", "retries off", "ops", "its time is over")]
    assert it.attempts() == 3
    assert it.switches() == []


def test_who_did_it_is_one_line_that_a_terminal_does_not_obey(house):
    it = house()
    it.payments.retries_off(for_=60, by="ops\nERROR forged \x1b[2J")
    it.payments.lift(by="ann\nERROR forged")
    (thrown,), (ended,) = it.of(SwitchThrown), it.of(SwitchEnded)
    assert (thrown.by, ended.why) == (r"ops\nERROR forged \x1b[2J", r"lifted by ann\nERROR forged")


def test_what_is_switched_stands_in_the_status(house):
    it = house()
    it.payments.retries_off(for_=60, by="ops")
    it.payments.shed(for_=30, by="ops", share=0.5)
    assert [(each["what"], each["by"]) for each in it.switches()] == [("retries off", "ops"), ("shed 0.5", "ops")]
    assert 50 < it.switches()[0]["for"] <= 60


def test_a_switch_holds_over_a_reload_and_for_the_settings_of_one_call(house):
    it = house()
    it.status = 503
    it.payments.retries_off(for_=60, by="ops")
    it.resilience.reload(it.settings(retry={**QUICK, "max_attempts": 2}))
    assert it.attempts() == 1
    own = it.get(extensions={"resilient_http": {"retry": {"max_attempts": 3}}})
    assert len(own.extensions["resilient_http"].attempts) == 1
    it.payments.lift(by="ops")
    assert it.attempts() == 2


def test_hedges_are_off(house):
    it = house(hedge={"delay": 0.01})
    order = it.resilience.status()["upstreams"]["payments"]["pipeline"]["call"]
    assert "hedge" in order
    it.payments.hedges_off(for_=60, by="ops")
    assert "hedge" not in it.resilience.status()["upstreams"]["payments"]["pipeline"]["call"]
    it.payments.lift("hedges", by="ops")
    assert it.resilience.status()["upstreams"]["payments"]["pipeline"]["call"] == order


def test_an_upstream_is_shed_and_nothing_is_sent(house):
    it = house()
    it.payments.shed(for_=60, by="ops")
    with pytest.raises(
        Refused, match=r"payments is switched off: all of its calls are shed for another .* by ops"
    ) as no:
        it.get()
    assert 50 < no.value.retry_in <= 60
    assert it.asked == []
    assert it.resilience.status()["upstreams"]["payments"]["concurrency"]["decisions"] == {"switched off": 1}


def test_switches_that_come_and_go_at_once_are_all_over(house):
    it = house()
    for number in range(100):
        it.payments.retries_off(for_=0.001 * (1 + number % 7), by="ops")
        it.payments.hedges_off(for_=0.001 * (1 + number % 5), by="dev")
    within(20, lambda: it.switches() == [])
    assert len(it.of(SwitchThrown)) == 200


def test_a_share_of_the_calls_is_shed(house):
    it = house()
    it.payments.shed(for_=60, by="ops", share=0.5)
    refused = [exc for _ in range(200) if isinstance(exc := it.outcome(), Refused)]
    assert 60 < len(refused) < 140
    assert {exc.retry_in for exc in refused} == {None}
    assert len(it.asked) == 200 - len(refused)


def test_a_fallback_answers_for_what_is_shed(house):
    it = house(fallback={"response": {"body": "later"}})
    it.payments.shed(for_=60, by="ops")
    assert it.get().text == "later"


def test_circuits_are_held_open_and_then_let_probes_through(house):
    it = house()
    it.payments.circuit("open", for_=60, by="ops")
    with pytest.raises(CircuitOpen, match="held open by hand"):
        it.get()
    assert {event.upstream for event in it.of(CircuitOpened)} == {"payments"}
    it.payments.lift("circuit", by="ops")
    assert {circuit.current_state for circuit in it.resilience.circuits("payments").values()} == {"half-open"}
    for _ in range(200):  # which one is called is drawn at random
        it.get()
    assert {circuit.current_state for circuit in it.resilience.circuits("payments").values()} == {"closed"}


def test_the_circuit_of_one_endpoint_is_held_open(house):
    it = house()
    it.payments.circuit("open", for_=60, by="ops", endpoint=f"{N1}/")
    used = {it.get().extensions["resilient_http"].attempts[0].endpoint for _ in range(20)}
    assert used == {N2}


def test_circuits_are_held_closed_and_begin_anew(house):
    it = house(retry=None)
    it.status = 503
    it.payments.circuit("closed", for_=60, by="ops")
    for _ in range(40):
        assert it.get().status_code == 503
    it.payments.lift(by="ops")
    assert {circuit.mode for circuit in it.resilience.circuits("payments").values()} == {"closed"}
    assert isinstance([it.outcome() for _ in range(40)][-1], CircuitOpen)


def test_endpoints_that_come_later_are_held_too(house):
    it = house()
    it.payments.circuit("open", for_=60, by="ops")
    it.resilience.reload(it.settings(endpoints=["http://n3"]))
    with pytest.raises(CircuitOpen):
        it.get()


def test_what_a_person_has_done_to_a_circuit_meanwhile_stands(house):
    it = house()
    it.payments.circuit("open", for_=60, by="ops")
    circuit = it.resilience.circuits("payments")[N1]
    circuit.disable()
    it.payments.lift(by="ops")
    assert circuit.mode == "disabled"


def test_all_upstreams_are_switched_at_once_unnamed_ones_and_guards_too(house):
    it = house()
    guard = it.resilience.guard("db")(lambda: 1)
    it.get("http://stranger/")
    it.resilience.switch("*").shed(for_=60, by="ops")
    for call in (it.get, lambda: it.get("http://stranger/"), lambda: it.get("http://another/"), guard):
        with pytest.raises(Refused, match="switched off"):
            call()
    it.resilience.switch("*").lift(by="ops")
    assert it.get().status_code == it.get("http://another/").status_code == 200
    assert guard() == 1


def test_hosts_that_are_new_are_held_open_and_a_listener_may_look_at_everything(house):
    it = house()
    looks = []
    it.resilience._hub.listeners = (lambda event: looks.append(it.resilience.status()),)
    it.resilience.switch("*").circuit("open", for_=60, by="ops")
    for url in ("http://payments/", "http://stranger/"):
        with pytest.raises(CircuitOpen):
            it.get(url)
    assert looks
    it.resilience.switch("*").lift(by="ops")
    assert it.get("http://stranger/").status_code == 200


def test_a_guard_and_an_origin_have_switches(house):
    it = house({"guards": {"db": {}}})
    it.resilience.switch("db").shed(for_=60, by="ops")
    it.resilience.switch("http://stranger").shed(for_=60, by="ops")
    with pytest.raises(Refused):
        it.resilience.guard("db")(lambda: 1)()
    with pytest.raises(Refused):
        it.get("http://stranger/")
    assert it.get().status_code == 200


def test_retries_of_a_guard_are_off(house):
    it = house({"guards": {"db": {"retry": {"backoff": {"base": 0.001}}}}})
    calls = []

    @it.resilience.guard("db", idempotent=True)
    def query():
        calls.append(1)
        raise OSError("down")

    it.resilience.switch("db").retries_off(for_=60, by="ops")
    with pytest.raises(OSError, match="down"):
        query()
    assert len(calls) == 1


def test_a_name_that_is_not_known_is_refused_with_those_that_are(house):
    with pytest.raises(KeyError, match=r"no upstream 'paymnts'; known: \*, payments"):
        house().resilience.switch("paymnts")


@pytest.mark.parametrize("for_", [0, -1, float("nan"), float("inf"), True, 700_000])
def test_a_switch_is_over_within_a_week(house, for_):
    with pytest.raises(ValueError, match="at most a week"):
        house().payments.retries_off(for_=for_, by="ops")


def test_other_arguments_are_checked(house):
    it = house()
    for wrong in (
        lambda: it.payments.retries_off(for_=1, by=""),
        lambda: it.payments.shed(for_=1, by="ops", share=0.0),
        lambda: it.payments.circuit("half-open", for_=1, by="ops"),
        lambda: it.payments.lift("everything", by="ops"),
    ):
        with pytest.raises(ValueError, match=r"by|share|position|about"):
            wrong()
    assert it.events == []


def test_lifting_what_is_not_thrown_is_nothing(house):
    it = house()
    it.payments.lift(by="ops")
    assert it.events == []


def test_nothing_is_in_the_way_of_calls_while_nothing_is_switched(house):
    it = house()
    before = it.resilience._control._registry.named["payments"]
    it.payments.retries_off(for_=60, by="ops")
    it.payments.lift(by="ops")
    after = it.resilience._control._registry.named["payments"]
    assert after.pipeline.order == before.pipeline.order
    within(10, lambda: not [each for each in threading.enumerate() if each.name == "resilient-http switches"])


def test_an_upstream_that_is_not_switched_is_not_touched(house):
    it = house()
    it.resilience.reload({"upstreams": {**it.settings()["upstreams"], "search": {"endpoints": ["http://s1"]}}})
    search = it.resilience._control._registry.named["search"]
    it.payments.retries_off(for_=60, by="ops")
    assert it.resilience._control._registry.named["search"] is search


def test_its_thread_keeps_nobody_alive():
    it = Resilience({"upstreams": {"payments": {"endpoints": [N1]}}})
    it.switch("payments").retries_off(for_=600, by="ops")
    del it
    within(20, _collected)


def _collected():
    import gc

    gc.collect()
    return not [each for each in threading.enumerate() if each.name == "resilient-http switches"]


def test_a_forked_child_goes_on_with_what_is_switched(house):
    it = house()
    it.payments.shed(for_=60, by="ops")
    it.payments.retries_off(for_=0.5, by="ops")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            until = time.monotonic() + 10
            while len(it.switches()) > 1 and time.monotonic() < until:
                time.sleep(0.01)
            try:
                it.get()
            except Refused:
                status = 0 if [each["what"] for each in it.switches()] == ["shed"] else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_an_origin_is_the_same_however_it_is_written(house):
    it = house()
    it.get("http://n1:8080/")
    it.resilience.switch("HTTP://N1:8080/").shed(for_=60, by="ops")
    with pytest.raises(Refused):
        it.get("http://n1:8080/")
    with pytest.raises(KeyError, match="no upstream 'http://n1/path'"):
        it.resilience.switch("http://n1/path")
    with pytest.raises(ValueError, match="an origin like"):
        it.payments.circuit("open", for_=60, by="ops", endpoint="n1")


def test_the_circuit_of_an_endpoint_is_found_however_that_is_written(house):
    it = house()
    it.payments.circuit("open", for_=60, by="ops", endpoint="HTTP://N1:80/")
    assert it.resilience.circuits("payments")["http://n1"].current_state == "open"
