"""Shortcut: whatever a user asks of a client of ours, its requests, responses, errors and log lines are httpx's."""

from __future__ import annotations

import functools
import gc
import gzip
import logging
import time

import anyio
import httpx
import httpx2
import pytest
import wrapt

from resilient_http import Resilience, shortcut

URL = "http://payments/charges/42?b=%20&a=1"
GZIPPED = gzip.compress(b"{}" * 100)

CLIENTS = {
    "as it comes": {},
    "headers": {"headers": {"X-Own": "1", "User-Agent": "me"}},
    "host": {"headers": {"Host": "elsewhere"}},
    "cookies": {"cookies": {"session": "1"}},
    "params": {"params": {"own": "1"}},
    "auth": {"auth": ("user", "secret")},
    "base_url": {"base_url": "http://payments/v1"},
    "timeout": {"timeout": 3.0},
    "redirects": {"follow_redirects": True},
    "encoding": {"default_encoding": "latin-1"},
    "hooks": {"event_hooks": {"request": [], "response": []}},
}
CALLS = {
    "get": ("GET", URL, {}),
    "lower case": ("get", URL, {}),
    "head": ("HEAD", "http://payments", {}),
    "delete": ("DELETE", "http://payments:80/x", {}),
    "options": ("OPTIONS", "http://payments/%7Efoo/../bar", {}),
    "post nothing": ("POST", URL, {}),
    "empty json": ("GET", URL, {"json": {}}),
    "empty params": ("GET", URL, {"params": {}}),
    "params": ("GET", URL, {"params": {"a": "2"}}),
    "content": ("GET", URL, {"content": b"x"}),
    "headers": ("GET", URL, {"headers": {"X-Call": "1"}}),
    "timeout": ("GET", URL, {"timeout": 1.0}),
    "no timeout": ("GET", URL, {"timeout": None}),
    "no auth": ("GET", URL, {"auth": None}),
    "redirects": ("GET", URL, {"follow_redirects": True}),
    "extensions": ("GET", URL, {"extensions": {"own": 1}}),
    "credentials in the url": ("GET", "http://user:secret@payments/", {}),
    "international": ("GET", "http://bücher.example/ä?ö=ü", {}),
    "port": ("GET", "http://other.example:8080/", {}),
    "invalid": ("GET", "http://payments:port/", {}),
}
EXPECTED = (RuntimeError, httpx.HTTPError, httpx2.HTTPError, httpx.InvalidURL, httpx2.InvalidURL, UnicodeError)
ANSWERS = {
    "well": (200, {"Content-Type": "text/plain"}, b"caf\xe9"),
    "gzipped": (200, {"Content-Encoding": "gzip"}, GZIPPED),
    "not really gzipped": (200, {"Content-Encoding": "gzip"}, b"plain"),
    "cookie": (200, {"Set-Cookie": "a=b; Path=/"}, b"ok"),
    "redirect": (302, {"Location": "/charges/43"}, b"there"),
    "redirect to nowhere": (302, {"Location": "http://[/"}, b"there"),
    "not modified": (304, {}, b""),
    "not found": (404, {}, b"no"),
}


def told_of_request(request):
    return (
        request.method, str(request.url), request.headers.raw, request.read(),
        request.extensions.get("timeout"), request.extensions.get("own"), repr(request),
    )  # fmt: skip


def told_of_response(response, client):
    return (
        response.status_code, response.headers.raw, response.content, response.text, response.encoding,
        [told_of_request(before.request) for before in response.history],
        response.next_request and told_of_request(response.next_request), told_of_request(response.request),
        response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded, response.elapsed.days,
        response.http_version, response.reason_phrase, str(response.url), dict(response.cookies), dict(client.cookies),
    )  # fmt: skip


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


class Side:
    """One of the two: a client over a transport that gives `answer`, and once it has, what that led to."""

    def __init__(self, library, answer):
        self.library = library
        self.answer = answer
        self.seen = []
        self.transport = library.MockTransport(self.handle)

    def handle(self, request):
        self.seen.append((request.method, str(request.url), request.headers.raw, request.read()))
        status, headers, body = self.answer if len(self.seen) == 1 or self.answer[0] != 302 else (200, {}, b"moved")
        # A stream, as from a network; what is given as `content` is decoded at once.
        return self.library.Response(status, headers=headers, stream=self.library.ByteStream(body))

    def ask(self, client, calls):
        with client:
            return [self._one(client, *call) for call in calls]

    def _one(self, client, method, url, options):
        try:
            return told_of_response(client.request(method, url, **options), client)
        except EXPECTED as exc:
            return told_of_error(exc)

    async def ask_async(self, client, calls):
        async with client:
            return [await self._one_async(client, *call) for call in calls]

    async def _one_async(self, client, method, url, options):
        try:
            return told_of_response(await client.request(method, url, **options), client)
        except EXPECTED as exc:
            return told_of_error(exc)


def told_of_error(error):
    request = getattr(error, "_request", None)
    return type(error).__name__, str(error), request and told_of_request(request)


@pytest.fixture
def compare(library, backend, kind, caplog):
    """Makes the same calls with a client of httpx's and one of ours, and gives what either one showed."""
    caplog.set_level(logging.INFO, logger=backend)
    resilience = Resilience({"backend": backend})

    def run(side, make, options, calls):
        client = make(**options, transport=side.transport)
        results = side.ask(client, calls) if kind == "sync" else anyio.run(side.ask_async, client, calls)
        lines = [record.getMessage() for record in caplog.records if record.name == backend]
        caplog.clear()
        return results, lines, side.seen

    def both(options, answer, calls):
        theirs, ours = (
            (library.Client, resilience.client) if kind == "sync" else (library.AsyncClient, resilience.async_client)
        )
        return (
            run(Side(library, answer), theirs, {"timeout": None, **options}, calls),
            run(Side(library, answer), ours, options, calls),
        )

    return both


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("options", CLIENTS)
def test_calls_look_as_they_would_with_httpx(compare, options, answer):
    calls = [("GET", URL, {}), ("GET", URL, {}), ("GET", "http://payments/other", {})]

    theirs, ours = compare(CLIENTS[options], ANSWERS[answer], calls)

    assert ours == theirs


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("options", ["as it comes", "base_url", "headers"])
def test_requests_look_as_they_would_with_httpx(compare, options, call):
    theirs, ours = compare(CLIENTS[options], ANSWERS["well"], [CALLS[call]] * 2)

    assert ours == theirs


@pytest.mark.parametrize("url", ["http:///x", "https://?a=1", "charges", "/charges?a=1", "http://elsewhere/"])
def test_relative_urls_are_merged_as_httpx_merges_them(compare, url):
    theirs, ours = compare(CLIENTS["base_url"], ANSWERS["well"], [("GET", url, {})] * 2)

    assert ours == theirs


def test_headers_that_are_changed_between_calls_are_sent_as_they_are_then(library, backend):
    side = Side(library, ANSWERS["well"])
    with Resilience({"backend": backend}).client(transport=side.transport) as client:
        client.get(URL)
        client.headers["X-New"] = "1"
        client.get(URL)
        del client.headers["X-New"]
        request = client.get(URL).request
        assert request.content == b""
        request.headers["X-Own"] = "1"
        client.get(URL)

    sent = [[name for name, _ in headers if name.lower().startswith(b"x-")] for _, _, headers, _ in side.seen]
    assert sent == [[], [b"X-New"], [], []]


def test_credentials_are_remembered_nowhere(library, backend):
    with Resilience({"backend": backend}).client(transport=Side(library, ANSWERS["well"]).transport) as client:
        del client.headers["User-Agent"]  # so that there are as many as ever
        client.headers["Authorization"] = "Bearer sesame"
        client.get(URL)
        client.get(URL)

    del client
    gc.collect()
    # By its type: isinstance() has Django's lazy objects, of other tests, set themselves up.
    kept = [headers for headers in gc.get_objects() if issubclass(type(headers), library.Headers)]
    assert not [headers for headers in kept if "Bearer sesame" in headers.values()]


def test_a_transport_that_somebody_has_wrapped_is_called_once_per_hop(library, backend):
    side, hops = Side(library, ANSWERS["cookie"]), []
    with Resilience({"backend": backend}).client(transport=side.transport) as client:
        inner = client._transport.handle_request

        def wrapped(request):
            hops.append(request)
            return inner(request)

        client._transport.handle_request = wrapped
        client.get(URL)

    assert len(hops) == 1


@pytest.mark.parametrize("follow", [False, True])
def test_a_body_for_the_other_kind_of_client_is_refused_as_httpx_refuses_it(compare, kind, follow):
    def parts():
        yield b"sync"

    async def async_parts():
        yield b"async"

    wrong = {"sync": async_parts, "async": parts}[kind]
    theirs, ours = compare({}, ANSWERS["well"], [("POST", URL, {"content": wrong(), "follow_redirects": follow})])

    assert ours == theirs
    assert theirs[0][0][0] == ours[0][0][0] == "RuntimeError"


def test_a_url_without_a_host_is_merged_with_the_base_of_its_own_client(library, backend):
    resilience = Resilience({"backend": backend})
    asked = []
    for base in ("http://one/", "http://two/", "http://two/"):
        with resilience.client(base_url=base, transport=Side(library, ANSWERS["well"]).transport) as client:
            asked.append(str(client.get("http:///x").url))

    assert asked == ["http://one/x", "http://two/x", "http://two/x"]


@pytest.mark.parametrize("answer", ["well", "cookie", "not modified", "redirect"])
def test_the_time_that_an_answer_took_is_told(library, backend, kind, answer):
    side = Side(library, ANSWERS[answer])

    def handle(request):
        time.sleep(0.05)
        return side.handle(request)

    resilience = Resilience({"backend": backend})
    if kind == "sync":
        with resilience.client(transport=library.MockTransport(handle)) as client:
            response = client.get(URL)
    else:

        async def story():
            async with resilience.async_client(transport=library.MockTransport(handle)) as client:
                return await client.get(URL)

        response = anyio.run(story)

    assert 0.05 <= response.elapsed.total_seconds() < 1.0


@pytest.mark.parametrize(
    "url", ["http://user:sesame@payments/", "http://payments/?token=sesame@x", "http://payments/" + "sesame" * 400]
)
def test_urls_with_credentials_and_long_ones_are_not_remembered(library, backend, url):
    with Resilience({"backend": backend}).client(transport=Side(library, ANSWERS["well"]).transport) as client:
        client.get(url)
        client.get(url)

    assert not [kept for _, kept in shortcut._urls if "sesame" in kept]


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_send_that_somebody_has_wrapped_is_not_httpxs_own(library):
    def plain(self, request):
        return None

    @functools.wraps(library.Client.send)
    def wrapped(self, request):
        return None

    assert shortcut.is_httpxs_own(library.Client.send)
    assert shortcut.is_httpxs_own(library.AsyncClient.send)
    assert not shortcut.is_httpxs_own(plain)
    assert not shortcut.is_httpxs_own(wrapped)


def test_what_wrapt_wraps_is_told_from_what_it_was(library):
    send = library.Client.send
    assert shortcut.is_httpxs_own(send)

    wrapped = wrapt.FunctionWrapper(send, lambda wrapped, _instance, args, kwargs: wrapped(*args, **kwargs))

    assert wrapped == send  # so a cache would take the one for the other
    assert not shortcut.is_httpxs_own(wrapped)


def test_who_wraps_send_sees_plain_calls_too(monkeypatch):
    seen, original = [], httpx.Client.send

    def send(self, request, **options):
        seen.append(str(request.url))
        request.headers.update({"baggage": "theirs=1", "sentry-trace": "1-2-3"})
        return original(self, request, **options)

    up, got = httpx.MockTransport(lambda request: got.append(request.headers) or httpx.Response(200)), []
    with Resilience({"upstreams": {"payments": {"endpoints": ["http://n1"]}}}) as resilience:
        monkeypatch.setattr(httpx.Client, "send", send)
        with resilience.client(transport=up) as client:
            client.get("http://payments/")
            client.get("http://payments/", headers={"baggage": "mine=1"})
    assert seen == ["http://payments/"] * 2
    # What it has injected goes no further than `propagate` lets it; what the user wrote stays.
    assert [headers.get("baggage") for headers in got] == [None, "mine=1"]
    assert [headers["sentry-trace"] for headers in got] == ["1-2-3"] * 2


@pytest.mark.parametrize("follow", [False, True], ids=["kept", "followed"])
@pytest.mark.parametrize("name", ["cookie", "redirect", "not modified"])
@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_an_answer_that_needs_httpx_may_have_been_given_with_its_content(library, name, follow):
    def answer(request):
        if request.url.path == "/charges/43":
            return library.Response(200, content=b"done")
        status, headers, body = ANSWERS[name]
        return library.Response(status, headers=headers, content=body)

    async def ask(resilience):
        async with resilience.async_client(transport=library.MockTransport(answer), follow_redirects=follow) as client:
            return await client.get("http://payments/")

    with (
        Resilience({"backend": library.__name__}) as resilience,
        resilience.client(transport=library.MockTransport(answer), follow_redirects=follow) as client,
    ):
        responses = [client.get("http://payments/"), anyio.run(ask, resilience)]

    followed = follow and name == "redirect"
    assert [response.status_code for response in responses] == [200 if followed else ANSWERS[name][0]] * 2
    for response in responses:  # of the one that it was redirected to httpx itself knows no time
        assert 0 < (response.history[0] if followed else response).elapsed.total_seconds() < 60
