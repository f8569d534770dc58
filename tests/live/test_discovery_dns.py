"""Nodes by a real dnsmasq: addresses, and SRV records."""

from __future__ import annotations

import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from resilient_http import NoEndpoint, Resilience
from resilient_http.settings.discovery import DnsSettings, SrvSettings
from resilient_http.upstreams.sources.dns import Dns
from resilient_http.upstreams.sources.source import SourceFailed
from resilient_http.upstreams.sources.srv import Srv
from tests.live.dnsmasq import BadNameServer
from tests.live.servers import FaultServer, echo, redirect
from tests.live.sharing_process import within

NAME = "payments.test"
SERVICE = "_http._tcp.payments.test"


def settings(kind, **own):
    given = {"timeout": 1.0, "max_backoff": 0.3, "confirm_after": 0.5}
    given |= {key: own.pop(key) for key in ("first_wait", "confirm_after") if key in own}
    more = {key: own.pop(key) for key in ("host", "tls", "retry") if key in own}
    return {"upstreams": {"payments": {"discovery": {kind: own, **given}, **more}}}


def status(resilience):
    return resilience.status()["upstreams"]["payments"]["discovery"]


def nodes(resilience):
    return resilience.status()["upstreams"]["payments"]["endpoints"]


def urls(resilience):
    return [each["url"] for each in nodes(resilience)]


@pytest.fixture
def fleet():
    """Servers on several loopback addresses, all on one port."""
    servers = []

    def start(count, **options):
        servers.append(FaultServer(echo(), **options))
        servers.extend(
            FaultServer(echo(), host=f"127.0.0.{i + 2}", port=servers[0].port, **options) for i in range(count - 1)
        )
        return servers

    yield start
    for server in servers:
        server.stop()


# Addresses


def test_the_addresses_of_a_name_are_the_nodes_and_they_follow_it(caller, name_server, fleet):
    servers = fleet(3)
    hosts = [server.host for server in servers]
    server = name_server({NAME: hosts[:2]})
    resilience = caller.resilience(settings("dns", name=NAME, port=servers[0].port, resolver=server.address))

    async def body(client):
        responses = [await client.get("http://payments/") for _ in range(20)]
        server.tell({NAME: hosts[1:]})
        within(10.0, lambda: urls(resilience) == [each.url for each in servers[1:]])
        before = len(servers[0].requests)
        responses += [await client.get("http://payments/") for _ in range(20)]
        assert len(servers[0].requests) == before
        return responses

    responses = caller.run(resilience, body)

    assert all(each.status_code == 200 for each in responses)
    assert all(server.requests for server in servers)
    # What the nodes are called is the name, and not their addresses.
    assert {dict(each.json()["headers"])["Host"] for each in responses} == {f"{NAME}:{servers[0].port}"}


def test_a_nodes_certificate_is_that_of_the_name(caller, name_server, fleet, tls):
    servers = fleet(1, tls=tls.server_context(NAME))
    server = name_server({NAME: [servers[0].host]})
    own = settings(
        "dns", name=NAME, port=servers[0].port, scheme="https", resolver=server.address,
        tls={"verify": str(tls.ca_file)},
    )  # fmt: skip

    async def body(client):
        return await client.get("https://payments/")

    assert caller.run(caller.resilience(own), body).status_code == 200
    assert servers[0].server_names == [NAME]


def test_a_location_that_says_the_name_means_the_upstream(name_server, fleet):
    servers = fleet(1)
    servers[0].play([redirect(f"http://{NAME}:{servers[0].port}/there"), echo()])
    server = name_server({NAME: [servers[0].host]})
    own = settings("dns", name=NAME, port=servers[0].port, resolver=server.address)
    with Resilience(own) as resilience, resilience.client(follow_redirects=True) as client:
        response = client.get("http://payments/")
    assert (response.status_code, str(response.url)) == (200, "http://payments/there")


def found(kind=Dns, timeout=1.0, **own):
    if kind is Dns:
        own = {"name": NAME, "port": 80, **own}
        return kind(DnsSettings(**own), timeout).resolve()
    return kind(SrvSettings(**{"name": SERVICE, **own}), timeout).resolve()


def failure(**own):
    with pytest.raises(SourceFailed) as caught:
        found(**own)
    return caught.value.why


def test_both_families_and_their_ttl(name_server):
    server = name_server({NAME: ["10.0.0.2", "10.0.0.1", "fd00::1"]}, ttl=7)
    answer = found(resolver=server.address)
    assert sorted(answer.endpoints) == ["http://10.0.0.1:80", "http://10.0.0.2:80", "http://[fd00::1]:80"]
    assert answer.valid_for == 7.0
    assert found(resolver=server.address, min_ttl=10.0).valid_for == 10.0
    assert found(resolver=server.address, max_ttl=5.0).valid_for == 5.0
    assert found(resolver=server.address, family="ipv6", scheme="https", port=443).endpoints == [
        "https://[fd00::1]:443"
    ]
    assert len(list(found(resolver=server.address, family="ipv4").endpoints)) == 2


def test_it_is_asked_again_when_its_ttl_is_over_and_not_before(fleet):
    servers = fleet(1)

    def treat(question):
        answer = dns.message.make_response(question)
        if question.question[0].rdtype == 1:
            answer.answer.append(dns.rrset.from_text(NAME + ".", 2, "IN", "A", servers[0].host))
        return answer

    with BadNameServer(treat) as server:
        own = settings("dns", name=NAME, port=servers[0].port, resolver=server.address, family="ipv4")
        with Resilience(own) as resilience, resilience.client() as client:
            client.get("http://payments/")
            began = time.monotonic()
            within(15.0, lambda: len(server.asked) >= 3)
            assert 3.5 < time.monotonic() - began < 12.0


def test_a_truncated_answer_is_asked_for_again_over_tcp(name_server):
    addresses = [f"10.0.{i}.{j}" for i in range(4) for j in range(50)]
    server = name_server({NAME: addresses})
    assert len(list(found(resolver=server.address).endpoints)) == 200


def test_a_chain_of_aliases_is_followed_and_its_shortest_ttl_counts(name_server):
    lines = ["cname=alias.test,other.test,2", "cname=other.test,payments.test,5"]
    server = name_server({NAME: ["10.0.0.1"]}, lines, ttl=9)
    answer = found(name="alias.test", resolver=server.address)
    assert answer.endpoints == ["http://10.0.0.1:80"]
    assert answer.valid_for == 2.0


def test_a_name_that_is_not_there_one_without_addresses_a_refusal_and_silence_are_told_apart(name_server):
    server = name_server({}, ["txt-record=empty.test,hello"])
    assert failure(resolver=server.address) == "NXDOMAIN: there is no such name"
    assert failure(name="empty.test", resolver=server.address) == "the name has no address"
    with BadNameServer(lambda question: with_code(question, dns.rcode.SERVFAIL)) as bad:
        assert failure(resolver=bad.address) == "the name servers answered SERVFAIL"
    with BadNameServer(lambda question: with_code(question, dns.rcode.REFUSED)) as bad:
        assert failure(resolver=bad.address) == "the name servers answered REFUSED"
    with BadNameServer(lambda question: None) as bad:
        began = time.monotonic()
        assert failure(resolver=bad.address, timeout=0.3) == "no name server answered in time"
        assert time.monotonic() - began < 2.0
    assert failure(resolver="nobody.invalid:53") == "the name of the name server cannot be looked up"


def with_code(question, code):
    answer = dns.message.make_response(question)
    answer.set_rcode(code)
    return answer


def test_where_one_name_server_is_silent_the_other_one_is_asked(name_server):
    server = name_server({NAME: ["10.0.0.1"]})
    with BadNameServer(lambda question: None) as bad:
        assert found(resolver=[bad.address, server.address], family="ipv4").endpoints == ["http://10.0.0.1:80"]
        assert bad.asked


def test_where_one_family_fails_its_last_addresses_still_hold():
    works = {"AAAA": True}

    def treat(question):
        kind = {1: "A", 28: "AAAA"}[question.question[0].rdtype]
        if not works.get(kind, True):
            return with_code(question, dns.rcode.SERVFAIL)
        answer = dns.message.make_response(question)
        answer.answer.append(dns.rrset.from_text(NAME + ".", 5, "IN", kind, {"A": "10.0.0.1", "AAAA": "fd00::1"}[kind]))
        return answer

    with BadNameServer(treat) as server:
        source = Dns(DnsSettings(name=NAME, port=80, resolver=server.address), 1.0)
        both = sorted(source.resolve().endpoints)
        works["AAAA"] = False
        assert sorted(source.resolve().endpoints) == both == ["http://10.0.0.1:80", "http://[fd00::1]:80"]
        works["A"] = False
        with pytest.raises(SourceFailed, match="SERVFAIL"):
            source.resolve()
        fresh = Dns(DnsSettings(name=NAME, port=80, resolver=server.address), 1.0)
        works["A"] = True
        assert fresh.resolve().endpoints == ["http://10.0.0.1:80"]


def test_the_resolver_may_be_given_by_name(name_server):
    server = name_server({NAME: ["10.0.0.1"]})
    port = server.address.rpartition(":")[2]
    assert found(resolver=f"localhost:{port}").endpoints == ["http://10.0.0.1:80"]


def test_the_last_addresses_stay_while_the_name_server_is_away(name_server, fleet):
    servers = fleet(1)
    server = name_server({NAME: [servers[0].host]})
    own = settings("dns", name=NAME, port=servers[0].port, resolver=server.address)
    own["upstreams"]["payments"]["discovery"]["timeout"] = 0.3
    with Resilience(own) as resilience, resilience.client() as client:
        client.get("http://payments/")
        server.stop()
        within(15.0, lambda: status(resilience)["failing"])
        assert client.get("http://payments/").status_code == 200
        server.start()
        within(15.0, lambda: status(resilience)["failing"] is None)


def test_a_name_that_nobody_knows_says_so_to_the_first_call(caller, name_server):
    server = name_server({})
    own = settings("dns", name=NAME, port=80, resolver=server.address, first_wait=0.5)

    async def body(client):
        with pytest.raises(caller.errors.NoEndpoint, match=r"DNS for payments.test was asked .*NXDOMAIN") as caught:
            await client.get("http://payments/")
        return caught.value

    assert caller.run(caller.resilience(own), body).upstream == "payments"


# SRV


def test_the_lowest_priority_are_the_nodes_and_the_others_are_backups(caller, name_server, fleet):
    servers = fleet(3)
    port = servers[0].port
    lines = [
        f"srv-host={SERVICE},one.test,{port},0,3",
        f"srv-host={SERVICE},two.test,{port},0,0",
        f"srv-host={SERVICE},three.test,{port},10,0",
    ]
    server = name_server({"one.test": ["127.0.0.1"], "two.test": ["127.0.0.2"], "three.test": ["127.0.0.3"]}, lines)
    resilience = caller.resilience(settings("srv", name=SERVICE, resolver=server.address))

    async def body(client):
        for _ in range(30):
            assert (await client.get("http://payments/")).status_code == 200
        found = {each["url"]: (each["weight"], each["backup"]) for each in nodes(resilience)}
        assert found == {
            f"http://127.0.0.1:{port}": (3.0, False),
            f"http://127.0.0.2:{port}": (0.1, False),
            f"http://127.0.0.3:{port}": (1.0, True),
        }
        assert not servers[2].requests
        servers[0].stop()
        servers[1].stop()
        for _ in range(3):
            assert (await client.get("http://payments/")).status_code == 200
        assert servers[2].requests

    caller.run(resilience, body)


def test_the_targets_follow_the_records(name_server, fleet):
    servers = fleet(2)
    port = servers[0].port
    hosts = {"one.test": ["127.0.0.1"], "two.test": ["127.0.0.2"]}
    server = name_server(hosts, [f"srv-host={SERVICE},one.test,{port}"])
    own = settings("srv", name=SERVICE, resolver=server.address)
    with Resilience(own) as resilience, resilience.client() as client:
        client.get("http://payments/")
        assert urls(resilience) == [servers[0].url]
        server.start([f"srv-host={SERVICE},one.test,{port}", f"srv-host={SERVICE},two.test,{port}"])
        within(15.0, lambda: urls(resilience) == [servers[0].url, servers[1].url])


def test_targets_are_in_the_additional_section_or_asked_for(name_server):
    lines = [f"srv-host={SERVICE},one.test,80", f"srv-host={SERVICE},gone.test,81", f"srv-host={SERVICE},two.test,82"]
    server = name_server({"one.test": ["10.0.0.1", "10.0.0.2"], "two.test": ["fd00::1"]}, lines)
    answer = found(Srv, resolver=server.address)
    assert sorted((each["url"], each["weight"]) for each in answer.endpoints) == [
        ("http://10.0.0.1:80", 0.5),
        ("http://10.0.0.2:80", 0.5),
        ("http://[fd00::1]:82", 1.0),
    ]


def test_without_a_resolver_of_ones_own_the_targets_names_are_kept(name_server):
    server = name_server({}, [f"srv-host={SERVICE},one.test,80"])
    source = Srv(SrvSettings(name=SERVICE), 1.0)
    source._ask._servers = (server.address,)
    (target,) = source.resolve().endpoints
    assert target["url"] == "http://one.test:80"


def test_a_service_that_is_not_to_be_had_says_so(name_server):
    server = name_server({}, ["txt-record=empty.test,hello", f"srv-host={SERVICE}"])
    assert failure(kind=Srv, resolver=server.address) == "the service is not to be had there"
    assert failure(kind=Srv, name="empty.test", resolver=server.address) == "the name has no SRV record"
    assert failure(kind=Srv, name="gone.test", resolver=server.address).startswith("NXDOMAIN")
    lonely = name_server({}, [f"srv-host={SERVICE},gone.test,80"])
    assert failure(kind=Srv, resolver=lonely.address) == "none of the targets has an address"


def test_many_targets_come_over_tcp(name_server):
    lines = [f"srv-host={SERVICE},n{i}.test,80" for i in range(60)]
    server = name_server({f"n{i}.test": [f"10.0.0.{i}"] for i in range(60)}, lines)
    assert len(list(found(Srv, resolver=server.address).endpoints)) == 60


def test_the_thread_is_beside_the_calls(name_server, fleet):
    """A name server that hangs holds up no call once nodes are known."""
    servers = fleet(1)
    silent = threading.Event()

    def treat(question):
        if silent.is_set():
            return None
        answer = dns.message.make_response(question)
        if question.question[0].rdtype == 1:
            answer.answer.append(dns.rrset.from_text(NAME + ".", 0, "IN", "A", servers[0].host))
        return answer

    with BadNameServer(treat) as server:
        own = settings("dns", name=NAME, port=servers[0].port, resolver=server.address, min_ttl=0.05)
        own["upstreams"]["payments"]["discovery"]["timeout"] = 3.0
        with Resilience(own) as resilience, resilience.client() as client:
            client.get("http://payments/")
            silent.set()
            ends, slowest = time.monotonic() + 1.5, 0.0
            while time.monotonic() < ends:
                began = time.monotonic()
                assert client.get("http://payments/").status_code == 200
                slowest = max(slowest, time.monotonic() - began)
            assert slowest < 2.0
            within(15.0, lambda: status(resilience)["failing"] == "no name server answered in time")


def test_the_systems_name_servers_are_asked_where_none_are_given(monkeypatch):
    read = []
    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", lambda self, path: read.append(path))
    with pytest.raises(SourceFailed):
        found(timeout=0.2)
    assert read


def test_a_first_call_that_is_refused_names_the_next_try(name_server):
    server = name_server({})
    own = settings("dns", name=NAME, port=80, resolver=server.address, first_wait=0.3)
    with Resilience(own) as resilience, resilience.client() as client:
        with pytest.raises(NoEndpoint):
            client.get("http://payments/")
        within(5.0, lambda: _retry_in(client) is not None)


def _retry_in(client):
    try:
        client.get("http://payments/")
    except NoEndpoint as exc:
        return exc.retry_in
    raise AssertionError("it went")
