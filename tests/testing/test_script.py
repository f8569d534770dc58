"""The scripted upstream: it answers as it is told, and says what was asked that it was not told of."""

from __future__ import annotations

import re
import threading
from http import HTTPStatus

import httpx
import pytest

from resilient_http import DeadlineExceeded, Resilience, SettingsError, journal_of
from resilient_http.testing import ScriptedUpstream, Unscripted, scripted
from tests.live.callers import Caller

URL = "http://payments/charges/42"
SETTINGS = {
    "upstreams": {
        "payments": {"endpoints": ["http://10.0.0.1:8080"], "attempt_header": "x-attempt"},
        "offers": {"endpoints": ["http://10.0.0.2:8080"]},
    }
}
CALLERS = [Caller(kind, backend) for kind in ("sync", "asyncio", "trio") for backend in ("httpx", "httpx2")]


@pytest.fixture(params=CALLERS, ids=str)
def caller(request):
    return request.param


def ask(caller, resilience, *urls, method="GET", **options):
    async def body(client):
        return [await client.request(method, url, **options) for url in urls]

    return caller.run(resilience, body)


def test_the_policies_see_each_answer_and_the_upstream_each_attempt(caller, virtual_clock, scripted_upstream):
    resilience = caller.resilience(SETTINGS)
    upstream = scripted_upstream(resilience)
    upstream.reply(503).fail(httpx.ConnectError).then(200, json={"paid": True})

    (response,) = ask(caller, resilience, URL)

    assert response.json() == {"paid": True}
    assert [entry.status for entry in journal_of(response).attempts] == [503, None, 200]
    assert [sent.headers["x-attempt"] for sent in upstream.requests] == ["1", "2", "3"]
    assert {(sent.method, sent.url, sent.path, sent.host) for sent in upstream.requests} == {
        ("GET", URL, "/charges/42", "10.0.0.1:8080")
    }


def test_a_client_may_have_it_as_its_transport(virtual_clock, scripted_upstream):
    with Resilience(SETTINGS) as resilience:
        upstream = scripted_upstream()
        upstream.reply(502).then(200, text="ok")
        with resilience.client(transport=upstream) as client:
            assert client.get(URL).text == "ok"
    assert virtual_clock.elapsed > 0


async def test_an_async_client_may_have_it_as_its_transport(virtual_clock, scripted_upstream):
    async with Resilience(SETTINGS) as resilience:
        upstream = scripted_upstream()
        upstream.reply(502).then(200, text="ok")
        async with resilience.async_client(transport=upstream) as client:
            assert (await client.get(URL)).text == "ok"


def test_rules_are_chosen_by_method_path_upstream_and_a_function(caller, scripted_upstream):
    resilience = caller.resilience(SETTINGS)
    upstream = scripted_upstream(resilience)
    upstream.on("GET", "/charges/{id}", upstream="payments").reply(200, text="a charge")
    upstream.on(path="/charges/*").reply(200, text="anything of charges", times=None)
    upstream.on(upstream="offers", matching=lambda request: request.url.params["q"] == "1").reply(200, text="an offer")
    upstream.reply(200, text="else")

    urls = [URL, URL, "http://payments/charges/1/lines", "http://offers/?q=1", "http://payments/"]
    told = [response.text for response in ask(caller, resilience, *urls)]

    assert told == ["a charge", "anything of charges", "anything of charges", "an offer", "else"]


def test_what_is_sent_is_kept(caller, scripted_upstream):
    resilience = caller.resilience(SETTINGS)
    upstream = scripted_upstream(resilience)
    upstream.answer(lambda request: caller.module.Response(201, content=request.content))

    (response,) = ask(caller, resilience, URL, method="POST", json={"amount": 1})

    assert (response.status_code, response.json()) == (201, {"amount": 1})
    assert upstream.requests[0].json() == {"amount": 1}


def test_a_delay_is_as_long_as_an_attempt_waits(caller, virtual_clock, scripted_upstream):
    resilience = caller.resilience(
        {
            "upstreams": {
                "payments": {"endpoints": ["http://n1"], "timeout": {"total": 5.0, "attempt": 2.0, "read": 1.0}}
            }
        }
    )
    upstream = scripted_upstream(resilience)
    upstream.delay(0.5).reply(200).delay(60.0).reply(200).then(200, text="at last")

    quick, patient = ask(caller, resilience, URL, URL)

    assert journal_of(quick).attempts[0].duration == pytest.approx(0.5)
    assert [entry.duration for entry in journal_of(patient).attempts] == pytest.approx([1.0, 0.0])
    assert "scripted to take 60 s" in str(journal_of(patient))


def test_a_deadline_passes_without_waiting(caller, virtual_clock, scripted_upstream):
    resilience = caller.resilience(SETTINGS)
    upstream = scripted_upstream(resilience, all_asked=False)
    for _ in range(10):
        upstream.delay(2.9).reply(503)

    async def body(client):
        with pytest.raises(DeadlineExceeded):
            await client.get(URL)

    caller.run(resilience, body)
    assert virtual_clock.elapsed <= 10.0


def test_a_request_that_is_not_in_the_script_is_told_and_neither_repeated_nor_hidden(caller):
    own = {"endpoints": ["http://n1"], "fallback": {"response": {"status": 200}}}
    resilience, upstream = caller.resilience({"upstreams": {"payments": own}}), ScriptedUpstream()
    upstream.on("GET", "/health").reply(200)

    async def body(client):
        with pytest.raises(Unscripted) as caught:
            await client.get(URL)
        return str(caught.value)

    with pytest.raises(Unscripted), scripted(upstream, resilience):
        message = caller.run(resilience, body)
    assert message == f"no answer is scripted for GET {URL}; scripted: GET /health: 200 once (asked for 0 times)"
    assert len(upstream.requests) == 1


def test_what_a_view_swallows_is_told_at_the_end():
    with Resilience(SETTINGS) as resilience, resilience.client() as client:
        ends = scripted(ScriptedUpstream(), resilience)
        ends.__enter__()
        for _ in range(2):
            with pytest.raises(AssertionError):
                client.get(URL)
        with pytest.raises(Unscripted, match=r"GET http://payments/charges/42 \(and 1 more\)"):
            ends.__exit__(None, None, None)


def test_an_answer_that_was_not_asked_for_is_told_at_the_end():
    upstream = ScriptedUpstream()
    upstream.on("GET", "/a").reply(200, times=2)
    upstream.on("GET", "/b").reply(200, times=None)
    with pytest.raises(AssertionError, match=r"GET /a: 200 2 times \(asked for 0 times\); GET /b: 200 from then on"):
        upstream.verify()
    upstream.verify(all_asked=False)


def test_mistakes_in_a_script_are_told_at_once():
    upstream = ScriptedUpstream()
    with pytest.raises(ValueError, match="a route is a method"):
        upstream.on("GET", "charges")
    with pytest.raises(ValueError, match="at least once"):
        upstream.reply(200, times=0)
    upstream.reply(200, times=None)
    with pytest.raises(ValueError, match="nothing comes after"):
        upstream.then(500)


async def coroutine(request):
    return True


NAN = float("nan")


@pytest.mark.parametrize(
    ("tell", "message"),
    [
        *(
            (lambda rule, status=status: rule.reply(status), f"reply(status={status!r}): a status is a whole number")
            for status in (0, 99, 600, -200, 200.0, "200", True, None, NAN)
        ),
        *(
            (lambda rule, times=times: rule.reply(200, times=times), f"times={times!r}: how often it is given")
            for times in (0, -1, 1.5, NAN, "2", True)
        ),
        *(
            (lambda rule, late=late: rule.delay(late), f"delay(seconds={late!r}): finite seconds, 0 or more")
            for late in (-1, -0.001, NAN, float("inf"), "2", None, True)
        ),
        *(
            (lambda rule, error=error: rule.fail(error), f"fail(error={error!r}): an exception, or the class of one")
            for error in ("ConnectError", None, int, KeyboardInterrupt, 503)
        ),
        (lambda rule: rule.answer(coroutine), "answer(function=<function coroutine at "),
        (lambda rule: rule.answer(200), "answer(function=200): a plain function"),
        (lambda rule: rule.reply(text="a", json={}), "reply(text=, json=): an answer has one body"),
        (lambda rule: rule.reply(text=b"a"), "reply(text=b'a'): a text"),
        (lambda rule: rule.reply(content=5), "reply(content=5): bytes"),
        (lambda rule: rule.reply(json={"at": NAN}), "reply(json={'at': nan}): what JSON has is needed"),
        (lambda rule: rule.reply(json={1, 2}), "reply(json={1, 2}): what JSON has is needed"),
        (lambda rule: rule.reply(headers={"retry-after": 5}), "reply(headers={'retry-after': 5}): names and values"),
        (lambda rule: rule.reply(headers="x: y"), "reply(headers='x: y'): names and values"),
        (lambda rule: rule.delay(1.0).delay(2.0), "delay(seconds=2.0): there is one of 1 s already"),
    ],
)
def test_no_answer_that_cannot_be_is_scripted(tell, message):
    upstream = ScriptedUpstream()
    for rule in (upstream, upstream.on("GET", "/a")):
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            tell(rule)
    upstream.verify()  # nothing of it is left


@pytest.mark.parametrize(
    ("which", "message"),
    [
        *(({"method": each}, f"on(method={each!r}): a method") for each in ("", "*", "GET /a", 5)),
        *(
            ({"upstream": each}, f"on(upstream={each!r}): the name of an upstream")
            for each in ("", "http://payments", "payments/", "payments:80", 5)
        ),
        *(
            ({"path": each}, f"on(path={each!r}): a route is")
            for each in ("", "charges", "/a?b=1", "http://payments/a")
        ),
        ({"matching": coroutine}, "on(matching=<function coroutine at "),
        ({"matching": True}, "on(matching=True): a plain function"),
    ],
)
def test_no_rule_that_fits_nothing_or_all_by_mistake_is_made(which, message):
    upstream = ScriptedUpstream()
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        upstream.on(**which)


def test_what_is_allowed_is_taken():
    upstream = ScriptedUpstream()
    rule = upstream.on("purge", "/a", upstream="Payments", matching=lambda _: True)
    rule.reply(HTTPStatus.OK, json=None).delay(0).reply(599, content=b"x", headers=[("a", "b"), ("a", "c")])
    rule.fail(OSError).reply(204, headers=httpx.Headers({"a": "b"}), times=2)
    with httpx.Client(transport=upstream) as client:
        null = client.request("PURGE", "http://payments/a")
        assert (null.json(), null.headers["content-type"]) == (None, "application/json")
        assert client.request("PURGE", "http://payments/a").headers.get_list("a") == ["b", "c"]
        with pytest.raises(OSError, match="scripted"):
            client.request("PURGE", "http://payments/a")
        assert [client.request("PURGE", "http://payments/a").headers["a"] for _ in range(2)] == ["b", "b"]
    upstream.verify()


def test_an_answer_that_is_no_response_is_told(caller, scripted_upstream):
    resilience = caller.resilience(SETTINGS)
    scripted_upstream(resilience).answer(lambda _: "ok")
    with pytest.raises(ValueError, match=re.escape("answer(<lambda>='ok'): it is to give a Response of httpx")):
        ask(caller, resilience, URL)


def test_whose_calls_are_scripted_is_one_thing(scripted_upstream):
    with pytest.raises(ValueError, match=re.escape("scripted(own='payments'): a Resilience, or None")):
        scripted_upstream("payments")
    with Resilience(SETTINGS) as resilience, pytest.raises(ValueError, match="give one of the two"):
        scripted_upstream(resilience, everywhere=True)


@pytest.mark.parametrize(
    ("faults", "path"),
    [
        ({"latency": -1}, "latency"), ({"latency": NAN}, "latency"), ({"error": 99}, "error"),
        ({"error": {"status": 503, "share": 1.5}}, "share"), ({"eror": 503}, "eror"),
    ],
)  # fmt: skip
def test_faults_that_cannot_be_are_refused_as_settings_are(inject_faults, faults, path):
    with Resilience(SETTINGS) as resilience, pytest.raises(SettingsError, match=path):
        inject_faults(resilience, "payments", **faults)


def test_it_is_there_for_its_block_alone(fault_server):
    server = fault_server()
    with (
        Resilience({"upstreams": {"payments": {"endpoints": [server.url]}}}) as resilience,
        resilience.client() as client,
    ):
        with scripted(ScriptedUpstream(), resilience) as upstream:
            upstream.reply(418)
            assert client.get(URL).status_code == 418
        assert client.get(URL).status_code == 200
        assert len(server.requests) == 1


def test_threads_get_each_answer_once(scripted_upstream):
    with Resilience(SETTINGS) as resilience:
        upstream, found = scripted_upstream(resilience), []
        for number in range(40):
            upstream.reply(200, text=str(number))

        def work():
            with resilience.client() as client:
                found.extend(client.get(URL).text for _ in range(10))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found, key=int) == [str(number) for number in range(40)]


def test_it_serves_httpx_without_policies():
    upstream = ScriptedUpstream()
    upstream.reply(200, text="plain").fail(ValueError("mine"))
    with httpx.Client(transport=upstream) as client:
        assert client.get("http://anywhere/").text == "plain"
        with pytest.raises(ValueError, match="mine"):
            client.get("http://anywhere/")
