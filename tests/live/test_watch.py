"""Settings from afar: files, etcd, Consul, Redis, URLs and functions, by real servers where there is one to be had."""

from __future__ import annotations

import gc
import gzip
import logging
import os
import threading
import time
import weakref
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from resilient_http import Refused, Resilience
from resilient_http.events import (
    ReloadRejected,
    SettingsReloaded,
    SwitchEnded,
    SwitchThrown,
    WatchFailed,
    WatchRestored,
)
from resilient_http.upstreams.documents.file import FileDocument
from tests.live.consul import Consul
from tests.live.keepers import AtUrl, ByFunction, InConfigMap, InConsul, InEtcd, InFile, InRedis
from tests.live.servers import answer, drip_body
from tests.live.sharing_process import within

PATIENCE = 20.0  # seconds; a change is usually in force after less than one
KINDS = ("file", "configmap", "etcd", "consul", "redis", "http", "function")


def total(seconds):
    return {"upstreams": {"payments": {"timeout": {"total": seconds, "attempt": 0.5}}}}


class Watcher:
    """A Resilience that watches a document, and what it told."""

    def __init__(self, watch, endpoint, **own):
        self.events = []
        upstreams = {"payments": {"endpoints": [endpoint], **own}}
        self.settings = {"watch": watch, "upstreams": upstreams}
        self.resilience = Resilience(self.settings, listeners=[self.events.append])
        self.client = self.resilience.client()

    def call(self):
        return self.client.get("http://payments/")

    @property
    def total(self):
        return self.resilience.settings.upstreams["payments"].timeout.total

    @property
    def status(self):
        return self.resilience.status()["watch"]

    def sees(self, seconds):
        return within(PATIENCE, lambda: self.total == seconds)

    def hears(self):
        """Wait for its first answer."""
        within(PATIENCE, lambda: self.status["age"] is not None)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def keep(request, tmp_path):
    """Makes a place of that kind."""
    with ExitStack() as stack:
        kinds = {
            "file": lambda: InFile(tmp_path),
            "configmap": lambda: InConfigMap(tmp_path),
            "etcd": lambda: InEtcd(request.getfixturevalue("etcd_server")()),
            "consul": lambda: InConsul(stack.enter_context(Consul())),
            "redis": lambda: InRedis(request.getfixturevalue("redis_server")()),
            "http": lambda: AtUrl(stack),
            "function": ByFunction,
        }
        yield lambda kind: kinds[kind]()


@pytest.fixture
def watch(fault_server):
    made = []

    def begin(keeper, **own):
        made.append(Watcher({**keeper.watch, **own}, fault_server(answer(200)).url))
        made[-1].call()
        return made[-1]

    yield begin
    for each in made:
        each.client.close()
        each.resilience.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_is_laid_over_the_settings_and_taken_away_again(keep, watch, kind):
    keeper = keep(kind)
    watcher = watch(keeper)
    watcher.hears()
    for seconds in (3.0, 4.0):
        keeper.put(total(seconds))
        took = watcher.sees(seconds)
        assert took < PATIENCE
    reloaded = watcher.of(SettingsReloaded)[-1]
    assert "upstreams.payments.timeout.total: 3.0 -> 4.0" in reloaded.changes
    assert (reloaded.by, reloaded.upstream) == (watcher.status["where"], "")
    keeper.put({})
    watcher.sees(10.0)
    assert watcher.call().status_code == 200


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_leaves_everything_as_it_was_and_the_watching_goes_on(keep, watch, kind):
    keeper = keep(kind)
    watcher = watch(keeper)
    keeper.put(total(3.0))
    watcher.sees(3.0)
    keeper.put({"upstreams": {"payments": {"timeout": {"total": 5.0}, "proxy": "http://u:hunter2@evil"}}})
    within(PATIENCE, lambda: watcher.of(ReloadRejected))
    (rejected,) = watcher.of(ReloadRejected)
    assert rejected.why == "upstreams.payments.proxy: cannot be changed from afar"
    assert watcher.status["refused"] == rejected.why
    assert watcher.total == 3.0
    assert watcher.resilience.status()["reloads"]["rejected"] == 1
    keeper.put(total(6.0))
    watcher.sees(6.0)
    within(PATIENCE, lambda: watcher.status["refused"] is None)  # said just after it is in force
    assert len(watcher.of(ReloadRejected)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_fails_is_told_once_and_the_last_good_document_stays(keep, watch, kind, caplog):
    keeper = keep(kind)
    watcher = watch(keeper)
    keeper.put(total(3.0))
    watcher.sees(3.0)
    with caplog.at_level(logging.INFO, logger="resilient_http"):
        keeper.fail()
        within(PATIENCE, lambda: watcher.of(WatchFailed))
        within(PATIENCE, lambda: (watcher.status["failing_for"] or 0) > 0.8)  # several tries
        assert watcher.total == 3.0
        assert watcher.call().status_code == 200
        keeper.mend()
        within(PATIENCE, lambda: watcher.of(WatchRestored))
    assert len(watcher.of(WatchFailed)) == 1
    assert watcher.status["failing"] is None
    assert "hunter2" not in caplog.text + str(watcher.events) + str(watcher.status)
    keeper.put(total(7.0))
    watcher.sees(7.0)


@pytest.mark.parametrize("kind", ["etcd", "consul", "redis", "function"])
def test_no_document_is_nothing_laid_over(keep, watch, kind):
    keeper = keep(kind)
    watcher = watch(keeper)
    watcher.hears()
    assert (watcher.total, watcher.status["failing"]) == (10.0, None)
    keeper.put(total(3.0))
    watcher.sees(3.0)
    if kind == "function":
        keeper.put(None)
    else:
        keeper.take_away()
    watcher.sees(10.0)


def test_every_way_of_calling_goes_by_it(caller, keep, fault_server):
    keeper = keep("function")
    server = fault_server(answer(503))
    own = {
        "endpoints": [server.url],
        "circuit": None,
        "retry": {"max_attempts": 2, "backoff": {"throttled_base": 0.01}},
    }
    resilience = caller.resilience({"watch": keeper.watch, "upstreams": {"payments": own}})

    async def body(client):
        assert len((await client.get("http://payments/")).extensions["resilient_http"].attempts) == 2
        keeper.put({"upstreams": {"payments": {"retry": None}}})
        within(PATIENCE, lambda: resilience.settings.upstreams["payments"].retry is None)
        assert len((await client.get("http://payments/")).extensions["resilient_http"].attempts) == 1

    caller.run(resilience, body)
    assert threading.get_ident() not in keeper.threads
    resilience.close()


def test_a_change_is_in_force_within_a_second_of_the_answer(keep, watch, record_property):
    for kind in ("file", "etcd", "redis"):
        keeper = keep(kind)
        watcher = watch(keeper)
        watcher.hears()
        took = []
        for step in range(5):
            seconds = 3.0 + step
            began = time.monotonic()
            keeper.put(total(seconds))
            while watcher.total != seconds:
                assert time.monotonic() - began < PATIENCE
                time.sleep(0.005)
            took.append(time.monotonic() - began)
        record_property(f"{kind}_seconds", took)
        assert min(took) < 1.0  # of five, so that a busy machine does not decide


def test_a_file_is_looked_at_where_nothing_tells_of_changes(tmp_path):
    keeper = InFile(tmp_path)
    stop = threading.Event()
    said = FileDocument(str(keeper.path), 30.0, told=False).watch(stop)
    assert next(said) == b"{}"
    timer = threading.Timer(0.2, keeper.write, ('{"enabled": false}',))
    timer.start()
    assert next(said) == b'{"enabled": false}'
    timer.join()
    stop.set()
    assert list(said) == []


@pytest.mark.parametrize(
    ("stands", "why"),
    [
        (os.mkfifo, "it is no file"),
        (os.mkdir, "it is no file"),
        (lambda path: path.symlink_to(path.name), "it cannot be read (OSError)"),
    ],
    ids=["pipe", "folder", "circle"],
)
def test_what_stands_in_the_place_of_a_file_is_told_and_the_next_file_is_read(tmp_path, fault_server, stands, why):
    path = tmp_path / "document.json"
    stands(path)
    watcher = Watcher({"file": str(path), "interval": 0.1, "max_backoff": 0.1}, fault_server(answer(200)).url)
    watcher.call()
    within(PATIENCE, lambda: watcher.status["failing"] == why)
    path.rename(tmp_path / "away")
    path.write_text('{"upstreams": {"payments": {"timeout": {"total": 3.0, "attempt": 0.5}}}}')
    watcher.sees(3.0)
    watcher.resilience.close()


def test_a_file_that_is_written_in_place_is_never_read_as_empty(keep, watch):
    keeper = keep("file")
    watcher = watch(keeper)
    keeper.put(total(3.0))
    watcher.sees(3.0)
    keeper.path.write_text("")
    within(PATIENCE, lambda: watcher.status["failing"] == "it is empty")
    assert watcher.total == 3.0
    keeper.put(total(4.0))
    watcher.sees(4.0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("s.toml", "[upstreams.payments.timeout]\ntotal = 3.0\nattempt = 0.5\n"),
        ("s.yaml", "upstreams:\n  payments:\n    timeout: {total: 3.0, attempt: 0.5}\n"),
    ],
)
def test_a_file_may_be_toml_or_yaml(tmp_path, fault_server, name, text):
    (tmp_path / name).write_text(text)
    watcher = Watcher({"file": str(tmp_path / name)}, fault_server(answer(200)).url)
    watcher.call()
    watcher.sees(3.0)
    (tmp_path / name).write_text("]: {")
    within(PATIENCE, lambda: watcher.of(ReloadRejected))
    assert watcher.of(ReloadRejected)[0].why.startswith(f"this is no {name[2:].upper()}")
    assert watcher.total == 3.0
    watcher.resilience.close()


def test_an_answer_that_has_not_changed_is_not_sent_again(keep, watch):
    keeper = keep("http")
    watcher = watch(keeper)
    keeper.put(total(3.0))
    watcher.sees(3.0)
    within(PATIENCE, lambda: keeper.unchanged >= 3)
    assert watcher.total == 3.0
    assert watcher.status["where"].endswith("/config")


@pytest.mark.parametrize(
    "nested", [total(3.0), '{"upstreams": {"payments": {"timeout": {"total": 3.0, "attempt": 0.5}}}}']
)
def test_a_document_stands_within_an_answer(keep, watch, nested):
    keeper = keep("http")
    keeper.put({"code": 0, "data": {"content": nested}})
    keeper.watch["http"] |= {"at": "data.content", "headers": {"Authorization": "Bearer hunter2"}}
    watcher = watch(keeper)
    watcher.sees(3.0)
    assert keeper.server.requests[0].header("Authorization") == "Bearer hunter2"
    keeper.put({"code": 500})
    within(PATIENCE, lambda: watcher.status["failing"] == "the answer has nothing at data.content")


def test_an_answer_without_end_is_left(fault_server, watch, keep):
    keeper = keep("http")
    keeper.server.play(answer(200, "x" * 1_100_000))
    watcher = watch(keeper)
    within(PATIENCE, lambda: watcher.status["failing"] == "it answered with more than 1000000 bytes")


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (drip_body(0.05), "it did not answer in time"),
        (
            answer(200, gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}),
            "it compressed its answer, which it was not asked to",
        ),
    ],
    ids=["drips", "bomb"],
)
def test_an_answer_that_would_cost_much_is_left(watch, keep, behaviour, why):
    keeper = keep("http")
    keeper.server.play(behaviour)
    watcher = watch(keeper)
    within(PATIENCE, lambda: watcher.status["failing"] == why)
    assert keeper.server.requests[0].header("Accept-Encoding") == "identity"


def test_a_tag_that_cannot_be_said_back_is_none(watch, keep):
    keeper = keep("http")
    keeper.server.play(answer(200, "{}", {"ETag": '"caf\u00e9"'}))
    watcher = watch(keeper)
    keeper.server.wait_for_requests(5)
    assert watcher.status["failing"] is None
    assert {request.header("If-None-Match") for request in keeper.server.requests} == {None}


def test_settings_that_are_given_by_hand_are_under_the_document(keep, watch):
    keeper = keep("function")
    watcher = watch(keeper)
    keeper.put({"defaults": {"retry": {"max_attempts": 1}}})
    payments = lambda: watcher.resilience.settings.upstreams["payments"]  # noqa: E731
    within(PATIENCE, lambda: payments().retry.max_attempts == 1)
    by_hand = {**watcher.settings, "defaults": {"timeout": {"total": 8.0}}}
    watcher.resilience.reload(by_hand, by="ops")
    assert (payments().retry.max_attempts, payments().timeout.total) == (1, 8.0)
    keeper.put({})
    within(PATIENCE, lambda: payments().retry.max_attempts == 3)
    assert payments().timeout.total == 8.0


def test_policies_are_switched_off_and_on_from_afar(keep, watch):
    keeper = keep("function")
    watcher = watch(keeper)
    keeper.put({"enabled": False})
    within(PATIENCE, lambda: not watcher.resilience.enabled)
    assert watcher.call().status_code == 200
    keeper.put({"enabled": True})
    within(PATIENCE, lambda: watcher.resilience.enabled)


def test_nodes_are_changed_from_afar_only_where_that_is_allowed(keep, watch, fault_server):
    other = fault_server(answer(201)).url
    keeper = keep("function")
    keeper.put({"upstreams": {"payments": {"endpoints": [other]}}})
    watcher = watch(keeper)
    within(PATIENCE, lambda: watcher.of(ReloadRejected))
    assert watcher.call().status_code == 200
    watcher = watch(keeper, endpoints=True)
    within(PATIENCE, lambda: watcher.call().status_code == 201)


def test_a_document_throws_kill_switches_and_they_are_over(keep, watch):
    keeper = keep("function")
    watcher = watch(keeper)
    until = datetime.now(UTC) + timedelta(seconds=60)
    said = {"switches": {"payments": [{"what": "shed", "until": until.isoformat()}]}}
    keeper.put(said)
    within(PATIENCE, lambda: watcher.of(SwitchThrown))
    with pytest.raises(Refused, match="switched off"):
        watcher.call()
    assert watcher.of(SwitchThrown)[0].by == watcher.status["where"]
    keeper.put({**said, **total(4.0)})  # it is said again, and is no other one
    watcher.sees(4.0)
    keeper.put(total(4.0))
    within(PATIENCE, lambda: watcher.of(SwitchEnded))
    assert watcher.call().status_code == 200
    assert len(watcher.of(SwitchThrown)) == 1
    keeper.put({"switches": {"payments": [{"what": "off"}]}, **total(5.0)})
    within(PATIENCE, lambda: watcher.of(ReloadRejected))
    assert watcher.total == 4.0


def test_it_ends_with_close_and_begins_anew_with_a_call(keep, watch):
    watcher = watch(keep("etcd"))
    watcher.hears()
    watcher.resilience.close()
    within(PATIENCE, lambda: "resilient-http watch" not in [each.name for each in threading.enumerate()])
    assert not watcher.status["running"]
    watcher.call()
    assert watcher.status["running"]


@pytest.mark.parametrize("kind", ["etcd", "redis", "file"])
def test_a_forked_child_watches_by_itself(keep, watch, kind):
    keeper = keep(kind)
    watcher = watch(keeper)
    keeper.put(total(3.0))
    watcher.sees(3.0)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert watcher.total == 3.0
            watcher.call()
            watcher.sees(4.0)
            status = 0
        finally:
            os._exit(status)
    within(PATIENCE, lambda: watcher.status["running"])
    time.sleep(0.3)
    keeper.put(total(4.0))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    watcher.sees(4.0)


def test_the_environment_switches_the_watching_off_too(keep, watch, monkeypatch):
    monkeypatch.setenv("RESILIENT_HTTP_ENABLED", "false")
    watcher = watch(keep("function"))
    assert not watcher.status["running"]


def test_it_keeps_nobody_alive(keep, fault_server):
    watcher = Watcher(keep("function").watch, fault_server(answer(200)).url)
    watcher.call()
    watcher.hears()
    watcher.client.close()
    watcher.resilience.sync_port.close()  # else Python complains of its connections
    seen = weakref.ref(watcher.resilience)
    del watcher
    within(PATIENCE, lambda: gc.collect() and seen() is None)
    within(PATIENCE, lambda: "resilient-http watch" not in [each.name for each in threading.enumerate()])
