"""What a health route says of the upstreams: ok, degraded or down, and why; without addresses, unless asked."""

import json
import time

import httpx
import pytest

from resilient_http import Resilience, SettingsError
from resilient_http.health_report import report_of
from tests.live.servers import answer

ALONE = {"retry": None, "circuit": {"streak": 2, "quiet_streak": 2, "open_for": 30, "jitter": 0}}
TWO = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"]


@pytest.fixture
def resilience():
    with Resilience({"upstreams": {"payments": {"endpoints": TWO}, "stock": {"endpoints": TWO}}}) as made:
        yield made


def open_first(resilience, count, upstream="payments"):
    for circuit in list(resilience.circuits(upstream).values())[:count]:
        circuit.open()


def test_all_is_ok_at_first(resilience):
    report = resilience.health(required=["payments"])
    assert (report.verdict, report.status_code, str(report)) == ("ok", 200, "ok")
    assert report.as_dict() == {
        "status": "ok",
        "upstreams": {"payments": {"status": "ok", "why": []}, "stock": {"status": "ok", "why": []}},
    }


def test_one_of_two_circuits_open_is_degraded_also_where_it_is_required(resilience):
    open_first(resilience, 1)
    report = resilience.health(required=["payments"])
    assert (report.verdict, report.status_code) == ("degraded", 200)
    assert report.upstreams["payments"].why == ("1 of 2 circuits open",)
    assert str(report) == "degraded: payments is degraded (1 of 2 circuits open)"


def test_all_circuits_open_is_down_but_the_service_is_only_where_that_is_asked_for(resilience):
    open_first(resilience, 2)
    assert resilience.health().verdict == "degraded"
    assert resilience.health(required=["stock"]).verdict == "degraded"
    report = resilience.health(required=["stock", "payments"])
    assert (report.verdict, report.status_code) == ("down", 503)
    assert report.upstreams["payments"].verdict == "down"
    assert report.upstreams["stock"].verdict == "ok"


def test_addresses_are_told_only_when_asked_for(resilience):
    open_first(resilience, 1)
    resilience.switch("payments").circuit("open", for_=60, by="me", endpoint=TWO[1])
    report = resilience.health()
    assert "10.0.0" not in json.dumps(report.as_dict()) + str(report)
    assert report.as_dict(details=True)["upstreams"]["payments"]["endpoints"] == {
        TWO[0]: "open",
        TWO[1]: "forced open",
    }
    assert report.upstreams["payments"].why == ("2 of 2 circuits open", "switched: circuit open")


def test_a_service_without_traffic_comes_back_when_a_probe_would_be_let_through(fault_server):
    server = fault_server(answer(503))
    settings = {"endpoints": [server.url], **ALONE, "circuit": {**ALONE["circuit"], "open_for": 0.2}}
    with Resilience({"upstreams": {"payments": settings}}) as resilience, resilience.client() as client:
        for _ in range(2):
            client.get("http://payments/")
        (circuit,) = resilience.circuits("payments").values()
        assert resilience.health(required=["payments"]).verdict == "down"
        _wait_for_probe(resilience)
        report = resilience.health(required=["payments"])

    assert circuit.current_state == "open"
    assert report.verdict == "degraded"
    assert report.upstreams["payments"].why == ("1 of 1 circuits not closed yet",)


def _wait_for_probe(resilience):
    until = time.monotonic() + 5
    while resilience.status()["upstreams"]["payments"]["endpoints"][0]["circuit"]["retry_in"]:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_real_outage_is_told_and_its_end_too(fault_server):
    server = fault_server(answer(503))
    settings = {"endpoints": [server.url], **ALONE, "circuit": {**ALONE["circuit"], "open_for": 0.1}}
    with Resilience({"upstreams": {"payments": settings}}) as resilience, resilience.client() as client:
        for _ in range(2):
            client.get("http://payments/")
        assert resilience.health(required=["payments"]).verdict == "down"
        server.play(answer(200))
        _wait_for_probe(resilience)
        for _ in range(2):
            client.get("http://payments/")
            _wait_for_probe(resilience)
        assert resilience.health(required=["payments"]).verdict == "ok"


def test_a_circuit_that_opened_on_slow_answers_is_no_outage():
    assert _verdict(circuit={"state": "open", "cause": "slow calls", "retry_in": 4.0, "observed": None}) == "degraded"
    assert _verdict(circuit={"state": "open", "cause": "failure rate", "retry_in": 4.0, "observed": None}) == "down"
    assert _verdict(circuit={"state": "forced open", "cause": "", "retry_in": None, "observed": None}) == "down"


def test_a_circuit_that_only_observes_is_none():
    assert _verdict(circuit={"state": "open", "cause": "failure rate", "retry_in": 4.0, "observed": "open"}) == "ok"
    assert _verdict(circuit={"state": "forced open", "cause": "", "retry_in": None, "observed": "closed"}) == "down"


def test_nodes_that_are_not_known_are_an_outage_once_they_were_asked_for():
    assert _verdict(endpoints=[], discovery={"failing": None, "where": "http://consul"}) == "ok"
    assert _verdict(endpoints=[], discovery={"failing": "refused", "where": "http://consul"}) == "down"
    assert _verdict(discovery={"failing": "refused", "where": "http://consul"}) == "degraded"


def test_what_is_full_is_degraded():
    full = {"limit": 2, "in_flight": 2, "queued": 1, "queue": 1}
    assert _verdict(concurrency=full) == "degraded"
    assert _verdict(concurrency={**full, "queued": 0}) == "ok"


def _verdict(circuit=None, **others):
    """Of an upstream with one endpoint; what it is made of stands in status() as told here."""
    with Resilience({"upstreams": {"payments": {"endpoints": TWO[:1]}}}) as resilience:
        status = resilience.status()
    upstream = status["upstreams"]["payments"] | others
    if circuit is not None:
        assert upstream["endpoints"][0]["circuit"].keys() == circuit.keys()
        upstream["endpoints"][0]["circuit"] = circuit
    return report_of({**status, "upstreams": {"payments": upstream}}).upstreams["payments"].verdict


def test_hosts_that_the_settings_do_not_name_do_not_count(refused_url):
    with Resilience({"defaults": ALONE}) as resilience, resilience.client() as client:
        for _ in range(3):
            with pytest.raises(httpx.HTTPError):
                client.get(refused_url)
        assert resilience.health().as_dict() == {"status": "ok", "upstreams": {}}


def test_a_guard_counts_by_its_name():
    with Resilience({"guards": {"inventory-db": {}}}) as resilience:
        open_first(resilience, 1, "inventory-db")
        assert resilience.health(required=["inventory-db"]).verdict == "down"


@pytest.mark.parametrize(
    ("required", "message"),
    [(["paymets"], "did you mean payments?"), ("payments", r"required takes names, as \['payments'\]")],
)
def test_what_is_required_is_checked(resilience, required, message):
    with pytest.raises(SettingsError, match=message):
        resilience.health(required=required)
