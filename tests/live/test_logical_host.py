"""The logical host: http://payments/ names an upstream; Host, SNI, cookies, redirects and schemes follow from that."""

from __future__ import annotations

import httpx
import pytest

from resilient_http import Resilience
from tests.live.callers import Caller
from tests.live.servers import answer, echo, redirect


def upstream(*endpoints, **settings):
    return {"upstreams": {"payments": {"endpoints": list(endpoints), **settings}}}


def netloc(server):
    return f"{server.host}:{server.port}"


def test_the_host_header_is_the_endpoints_and_the_url_stays_logical(caller, fault_server):
    server = fault_server(echo())

    async def body(client):
        return await client.get("http://payments/charges/42?x=1")

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert server.requests[0].header("Host") == netloc(server)
    assert server.requests[0].target == "/charges/42?x=1"
    assert str(response.url) == "http://payments/charges/42?x=1"
    assert response.request.headers["host"] == "payments"


def test_the_setting_host_replaces_the_endpoints_name(caller, fault_server):
    server = fault_server(echo())

    async def body(client):
        await client.get("http://payments/")

    caller.run(caller.resilience(upstream(server.url, host="payments.example:8443")), body)

    assert server.requests[0].header("Host") == "payments.example:8443"


def test_a_host_header_of_the_users_wins(caller, fault_server):
    server = fault_server(echo())

    async def body(client):
        await client.get("http://payments/", headers={"Host": "mine.example"})

    caller.run(caller.resilience(upstream(server.url, host="payments.example")), body)

    assert [value for name, value in server.requests[0].headers if name.lower() == "host"] == ["mine.example"]


def test_tls_is_spoken_with_the_endpoints_name(caller, fault_server, tls):
    server = fault_server(echo(), tls=tls.server_context("localhost"))
    settings = upstream(f"https://localhost:{server.port}", tls={"verify": str(tls.ca_file)})

    async def body(client):
        return [await client.get(f"{scheme}://payments/") for scheme in ("http", "https")]

    responses = caller.run(caller.resilience(settings), body)

    assert [response.status_code for response in responses] == [200, 200]
    assert [str(response.url) for response in responses] == ["http://payments/", "https://payments/"]
    assert set(server.server_names) == {"localhost"}


def test_the_setting_host_is_the_name_in_tls_too(caller, fault_server, tls):
    server = fault_server(echo(), tls=tls.server_context("pay.example"))
    settings = upstream(f"https://127.0.0.1:{server.port}", host="pay.example", tls={"verify": str(tls.ca_file)})

    async def body(client):
        return await client.get("http://payments/")

    assert caller.run(caller.resilience(settings), body).status_code == 200
    assert server.server_names == ["pay.example"]
    assert server.requests[0].header("Host") == "pay.example"


def test_a_certificate_that_does_not_verify_is_not_retried(caller, fault_server, tls):
    server = fault_server(echo(), tls=tls.server_context("other.example"))
    settings = upstream(f"https://localhost:{server.port}", tls={"verify": str(tls.ca_file)})

    async def body(client):
        with pytest.raises(caller.module.ConnectError) as caught:
            await client.get("http://payments/")
        return caught.value

    error = caller.run(caller.resilience(settings), body)

    (attempt,) = error.journal.attempts
    assert not attempt.sent
    assert "certificate verify failed" in attempt.error


def test_https_to_an_http_endpoint_is_refused(caller, fault_server):
    server = fault_server(echo())
    errors = caller.errors

    async def body(client):
        with pytest.raises(errors.NoEndpoint, match=r"https://payments asks for TLS.*endpoints are http") as caught:
            await client.get("https://payments/")
        return caught.value

    error = caller.run(caller.resilience(upstream(server.url)), body)

    assert isinstance(error, caller.module.TransportError)
    assert server.requests == []


def test_a_location_that_names_an_endpoint_is_mapped_back(caller, fault_server):
    server = fault_server(lambda request: answer(200, "there") if request.target == "/b" else redirect("REPLACE"))
    server.play(lambda request: answer(200, "there") if request.target == "/b" else redirect(f"{server.url}/b"))

    async def body(client):
        return await client.get("http://payments/a", auth=("user", "password"), follow_redirects=True)

    response = caller.run(caller.resilience(upstream(server.url)), body)

    assert str(response.url) == "http://payments/b"
    assert response.text == "there"
    # httpx drops credentials when a redirect leaves the origin: they survive because it did not.
    assert all(request.header("Authorization") for request in server.requests)
    assert len(response.extensions["resilient_http"].attempts) == 2


def test_a_relative_location_stays_at_the_upstream(caller, fault_server):
    server = fault_server([redirect("/b", 307), answer(200)])

    async def body(client):
        return await client.post("http://payments/a", content=b"x", follow_redirects=True)

    assert str(caller.run(caller.resilience(upstream(server.url)), body).url) == "http://payments/b"
    assert [request.body for request in server.requests] == [b"x", b"x"]


def test_a_location_elsewhere_goes_elsewhere_under_its_own_state(caller, fault_server):
    other = fault_server(answer(200, "other"))
    server = fault_server(redirect(f"{other.url}/x"))
    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        return await client.get("http://payments/a", follow_redirects=True)

    response = caller.run(resilience, body)

    assert str(response.url) == f"{other.url}/x"
    assert other.url in resilience.status()["upstreams"]


def test_a_body_that_was_sent_is_not_sent_empty_to_where_a_redirect_leads(backend, fault_server):
    server = fault_server([redirect("/b", 307), answer(200)])
    caller = Caller("sync", backend)

    async def body(client):
        with pytest.raises(caller.module.StreamConsumed):
            await client.post("http://payments/a", content=iter([b"x"]), follow_redirects=True)

    caller.run(caller.resilience(upstream(server.url)), body)

    assert [request.body for request in server.requests] == [b"x"]


def test_cookies_belong_to_the_logical_host(caller, fault_server):
    one = fault_server(answer(200, headers={"Set-Cookie": "session=1; Path=/"}))
    two = fault_server(answer(200, headers={"Set-Cookie": "session=1; Path=/"}))

    async def body(client):
        for _ in range(10):
            await client.get("http://payments/")
        return [(cookie.domain, cookie.name) for cookie in client.client.cookies.jar]

    cookies = caller.run(caller.resilience(upstream(one.url, two.url)), body)

    assert cookies == [("payments.local", "session")]
    later = [*one.requests[1:], *two.requests[1:]]
    assert later
    assert all(request.header("Cookie") == "session=1" for request in later)


def test_an_explicit_port_is_an_ordinary_host(fault_server):
    server = fault_server(echo())
    settings = {"upstreams": {"localhost": {"endpoints": ["http://127.0.0.1:1"]}}}
    with Resilience(settings) as resilience, resilience.client() as client:
        assert client.get(f"http://localhost:{server.port}/").status_code == 200


def test_an_unknown_host_ends_in_the_connect_error_of_its_name(caller):
    async def body(client):
        with pytest.raises(caller.module.ConnectError) as caught:
            await client.get("http://no-such-upstream.invalid/")
        return caught.value

    error = caller.run(caller.resilience({"defaults": {"retry": {"backoff": {"base": 0.01}}}}), body)

    assert not any(entry.sent for entry in error.journal.attempts)
    assert "no-such-upstream.invalid" in str(error.journal)


def test_several_nodes_share_the_load(caller, fault_server):
    servers = [fault_server(answer(200)) for _ in range(3)]

    async def body(client):
        for _ in range(60):
            await client.get("http://payments/")

    caller.run(caller.resilience(upstream(*(server.url for server in servers))), body)

    assert all(len(server.requests) >= 8 for server in servers)


def test_mocks_see_the_logical_url():
    seen = []

    def handler(request):
        seen.append((str(request.url), request.headers["host"]))
        return httpx.Response(200, json={})

    mock = httpx.MockTransport(handler)
    with Resilience(upstream("http://10.0.0.1:8080")) as resilience, resilience.client(transport=mock) as client:
        client.get("http://payments/charges/42")

    assert seen == [("http://payments/charges/42", "10.0.0.1:8080")]


def test_an_https_endpoint_by_its_ipv6_address_is_verified_by_it(caller, fault_server, tls):
    server = fault_server(echo(), host="::1", tls=tls.server_context("::1"))
    settings = upstream(f"https://[::1]:{server.port}", tls={"verify": str(tls.ca_file)})

    async def body(client):
        return await client.get("http://payments/")

    assert caller.run(caller.resilience(settings), body).status_code == 200


def test_a_location_that_is_no_url_costs_no_permit(caller, fault_server):
    server = fault_server(redirect("http://xn--a/"))
    resilience = caller.resilience(upstream(server.url))

    async def body(client):
        with pytest.raises((ValueError, caller.module.HTTPError)):
            await client.get("http://payments/", follow_redirects=True)

    caller.run(resilience, body)

    assert resilience.status()["upstreams"]["payments"]["concurrency"]["in_flight"] == 0
