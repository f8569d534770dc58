"""Beside the mocks that users have already: respx and pytest-httpx answer, and the clock makes the policies quick."""

from __future__ import annotations

import httpx
import pytest
import respx

from resilient_http import Resilience, journal_of

URL = "http://payments/charges/42"
PATIENT = {"retry": {"budget": None, "backoff": {"base": 3.0, "cap": 3.0}}, "timeout": {"total": 60}}
SETTINGS = {"upstreams": {"payments": {"endpoints": ["http://10.0.0.1:8080"], **PATIENT}}}


@respx.mock
def test_respx_and_the_clock(virtual_clock):
    route = respx.get(URL).mock(side_effect=[httpx.Response(502), httpx.ConnectError, httpx.Response(200)])
    with Resilience(SETTINGS) as resilience, resilience.client() as client:
        assert client.get(URL).status_code == 200
    assert route.call_count == 3
    assert virtual_clock.elapsed > 0.5


@respx.mock
async def test_respx_and_the_clock_in_tasks(virtual_clock):
    respx.get(URL).mock(side_effect=[httpx.Response(502), httpx.Response(200)])
    async with Resilience(SETTINGS) as resilience, resilience.async_client() as client:
        assert (await client.get(URL)).status_code == 200
    assert virtual_clock.elapsed > 0


def test_pytest_httpx_and_the_clock(virtual_clock, httpx_mock):
    httpx_mock.add_response(url=URL, status_code=502)
    httpx_mock.add_exception(httpx.ConnectError("refused"), url=URL)
    httpx_mock.add_response(url=URL, text="ok")
    with Resilience(SETTINGS) as resilience, resilience.client() as client:
        response = client.get(URL)
    assert (response.text, len(httpx_mock.get_requests())) == ("ok", 3)
    assert [entry.status for entry in journal_of(response).attempts] == [502, None, 200]
    assert virtual_clock.elapsed > 0.5


async def test_pytest_httpx_and_the_clock_in_tasks(virtual_clock, httpx_mock):
    httpx_mock.add_response(url=URL, status_code=502)
    httpx_mock.add_response(url=URL, text="ok")
    async with Resilience(SETTINGS) as resilience, resilience.async_client() as client:
        assert (await client.get(URL)).text == "ok"
    assert virtual_clock.elapsed > 0


def test_a_script_for_one_resilience_leaves_other_clients_to_the_mock(httpx_mock, scripted_upstream):
    httpx_mock.add_response(url="http://elsewhere/", text="from the mock")
    with Resilience(SETTINGS) as resilience, resilience.client() as client, httpx.Client() as other:
        scripted_upstream(resilience).reply(200, text="from the script")
        assert client.get(URL).text == "from the script"
        assert other.get("http://elsewhere/").text == "from the mock"


@pytest.mark.parametrize("streamed", [False, True])
def test_faults_are_injected_below_which_no_mock_is_asked(httpx_mock, inject_faults, streamed):
    with Resilience(SETTINGS) as resilience, resilience.client() as client:
        inject_faults(resilience, "payments", error={"status": 418, "body": "tea"})
        if streamed:
            with client.stream("GET", URL) as response:
                assert response.read() == b"tea"
        else:
            assert client.get(URL).text == "tea"
    assert httpx_mock.get_requests() == []
