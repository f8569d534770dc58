"""What may be kept, and what may answer once its origin has failed: RFC 9111 and RFC 5861, sentence by sentence."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.stored_response import (
    StoredResponse,
    directives,
    fields_of,
    has_credentials,
    may_be_kept,
    pack,
    seconds_of,
    unpack,
    varying,
    with_variant,
    without_hops,
)

NOW = 1_800_000_000.0


def kept(asked=None, status=200, method="GET", owned=False, **headers):
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return may_be_kept(method, asked or {}, status, told, owned=owned)


def stored(*, took=0.0, vary=(), **headers):
    lines = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return StoredResponse(NOW, took, 200, lines, b"ok", vary)


def test_a_plain_good_answer_is_kept():
    assert kept()
    assert kept(cache_control="max-age=60, public", vary="accept")


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "get"])
def test_only_answers_to_get_are_kept(method):
    assert not kept(method=method)


@pytest.mark.parametrize("status", [206, 301, 304, 400, 404, 410, 500, 503])
def test_only_what_is_understood_and_good_is_kept(status):
    assert not kept(status=status)


@pytest.mark.parametrize(
    "control",
    [
        "no-store",
        "private",
        "no-cache",
        'private="x-user"',
        'no-cache="set-cookie"',
        "max-age=9,NO-STORE",
        "a=1 , private",
    ],
)
def test_what_its_origin_keeps_from_shared_caches_is_not_kept_even_for_an_owner(control):
    assert not kept(cache_control=control)
    assert not kept(cache_control=control, owned=True)


def test_a_quoted_directive_is_none():
    assert kept(cache_control='ext="a, no-store, b"')


@pytest.mark.parametrize("vary", ["*", "accept, *"])
def test_what_varies_with_anything_is_not_kept(vary):
    assert not kept(vary=vary)


def test_a_request_may_ask_not_to_be_kept():
    assert not kept({"cache-control": "no-store"})


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "x-api-key", "Api-Key", "apikey", "x-auth-token", "ocp-apim-subscription-key",
     "proxy-authorization", "x-amz-security-token", "x-session-id", "x-client-secret", "X-Jwt",
     "x-goog-iap-jwt-assertion", "x-amzn-oidc-data", "x-password", "x-access-key", "x-key", "X-Bearer", "x-pat", "DPoP",
     "client-cert", "x-ssl-client-verify", "x-forwarded-user", "x-user", "x-user-id", "x-email", "x-sid",
     "x-passphrase", "x-tenant-id", "x-account-key", "x-ms-client-principal", "x-csrf", "x-ticket", "signature-input",
     "x-ssl-client-s-dn", "x-remote-user", "remote_user"],
)  # fmt: skip
def test_a_request_with_credentials_is_kept_only_for_its_owner(name):
    assert has_credentials([name])
    assert not kept({name: "x"}, cache_control="public, s-maxage=60")
    assert kept({name: "x"}, owned=True)


def test_what_every_client_sends_is_no_credential():
    names = [
        "host",
        "accept",
        "accept-encoding",
        "connection",
        "user-agent",
        "traceparent",
        "idempotency-key",
        "tracestate",
        "baggage",
        "accept-language",
        "content-type",
        "if-none-match",
        "cache-control",
        "range",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-envoy-attempt-count",
        "sec-ch-ua-platform",
        "x-request-timeout",
        "grpc-timeout",
        "x-keyboard",
        "x-path",
        "x-sidecar",
        "priority",
        "referer",
    ]
    assert not has_credentials(names)


def test_an_answer_that_sets_a_cookie_is_kept_only_for_its_owner():
    assert not kept(set_cookie="a=b")
    assert kept(set_cookie="a=b", owned=True)


def test_fields_of_the_connection_are_not_kept():
    lines = (("connection", "close, X-Hop"), ("x-hop", "1"), ("keep-alive", "5"), ("etag", "x"), ("age", "4"),
             ("transfer-encoding", "chunked"))  # fmt: skip
    assert without_hops(lines, fields_of(lines)) == (("etag", "x"), ("age", "4"))
    assert without_hops(lines[3:4], {}) == (("etag", "x"),)


def test_lines_of_one_name_are_one_value():
    lines = (("cache-control", "max-age=9"), ("etag", "x"), ("cache-control", "private"))
    assert fields_of(lines) == {"cache-control": "max-age=9, private", "etag": "x"}
    assert not may_be_kept("GET", {}, 200, fields_of(lines), owned=True)
    twice = StoredResponse(NOW, 0.0, 200, (("cache-control", "max-age=9"), ("cache-control", "must-revalidate")), b"")
    assert not answers(twice, after=10)


# May it answer?


def answers(response, *, after, max_age=300.0, **asked):
    told = {name.replace("_", "-"): value for name, value in asked.items()}
    return response.answers(told, wall_now=NOW + after, max_age=max_age)


def test_it_answers_until_it_is_too_old():
    assert answers(stored(), after=300)
    assert not answers(stored(), after=301)
    assert not answers(stored(cache_control="max-age=9999"), after=301)


def test_its_own_stale_if_error_bounds_it_from_when_it_is_no_longer_fresh():
    response = stored(cache_control="max-age=10, stale-if-error=20")
    assert answers(response, after=30)
    assert not answers(response, after=31)
    assert not answers(stored(cache_control="stale-if-error=0"), after=1)


def test_a_request_may_bound_it_too():
    assert not answers(stored(), after=21, cache_control="stale-if-error=20")
    assert answers(stored(), after=20, cache_control="stale-if-error=20")
    assert not answers(stored(), after=1, cache_control="no-cache")
    assert not answers(stored(), after=6, cache_control="max-age=5")


@pytest.mark.parametrize("control", ["max-age=10, must-revalidate", "max-age=10, proxy-revalidate", "s-maxage=10"])
def test_what_must_be_revalidated_answers_only_while_it_is_fresh(control):
    assert answers(stored(cache_control=control), after=9)
    assert not answers(stored(cache_control=control), after=11)


def test_expires_says_how_long_it_is_fresh_where_max_age_does_not():
    fields = {"date": formatdate(NOW, usegmt=True), "expires": formatdate(NOW + 10, usegmt=True)}
    assert answers(stored(cache_control="must-revalidate", **fields), after=9)
    assert not answers(stored(cache_control="must-revalidate", **fields), after=11)
    assert not answers(stored(cache_control="must-revalidate, max-age=5", **fields), after=9)
    assert not answers(stored(cache_control="must-revalidate", date=fields["date"], expires="0"), after=1)


def test_its_age_counts_the_caches_between():
    assert stored(age="50", took=2.0).current_age(NOW + 5) == 57
    assert stored(date=formatdate(NOW - 100, usegmt=True), age="50").current_age(NOW) == 100
    assert stored(date=formatdate(NOW + 100, usegmt=True)).current_age(NOW) == 0
    assert stored(age="soon").current_age(NOW) == 0
    response = stored(age="50", cache_control="max-age=60, stale-if-error=0")
    assert answers(response, after=9)
    assert not answers(response, after=11)


def test_it_answers_the_request_that_vary_tells():
    asked = {"accept-language": "de,  en", "accept": "*/*"}
    response = stored(vary=varying({"vary": "Accept-Language"}, asked))
    assert answers(response, after=1, accept_language="de,en")
    assert not answers(response, after=1, accept_language="en")
    assert not answers(response, after=1)


def test_one_url_keeps_the_newest_answer_to_each_kind_of_request():
    def answer(language, body):
        vary = (("accept-language", language),)
        return StoredResponse(NOW, 0.0, 200, (), body, vary)

    both = with_variant((answer("de", b"1"),), answer("en", b"2"))
    newer = with_variant(both, answer("de", b"3"))
    assert [one.body for one in newer] == [b"3", b"2"]
    many = ()
    for i in range(20):
        many = with_variant(many, answer(str(i), b""))
    assert len(many) == 8
    assert with_variant(many, stored()) == (stored(),)
    assert len(with_variant((StoredResponse(NOW, 0.0, 200, (), b"", (("accept", ""),)),), answer("de", b""))) == 1


def test_seconds_that_are_malformed_count_as_none():
    assert seconds_of(directives("max-age=soon"), "max-age") == 0
    assert seconds_of(directives("max-age=-1"), "max-age") == 0
    assert seconds_of(directives('max-age="60"'), "max-age") == 60
    assert seconds_of(directives("max-age=99999999999999"), "max-age") == 2**31
    assert seconds_of(directives("public"), "max-age") is None


# For a store outside

names = st.text("abcxyz-09_", min_size=1, max_size=20)
values = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
lines = st.lists(st.tuples(names, values), max_size=4).map(tuple)
responses = st.builds(
    StoredResponse,
    received=st.floats(0, 1e10),
    took=st.floats(0, 1e9),
    status=st.sampled_from([200, 203, 204]),
    headers=lines,
    body=st.binary(max_size=100),
    vary=lines,
)


@given(st.lists(responses, max_size=4).map(tuple))
def test_what_is_packed_is_unpacked(kept):
    assert unpack(pack(kept)) == kept


@given(st.binary(max_size=60) | st.none() | st.text(max_size=9) | st.integers())
def test_what_somebody_else_wrote_is_nothing(packed):
    assert unpack(packed) == ()


def test_what_was_cut_off_or_is_of_another_version_is_nothing():
    packed = pack((stored(),))
    assert unpack(packed[:-1]) == ()
    assert unpack(packed.replace(b"[1,", b"[2,", 1)) == ()
    assert unpack(b"7") == ()
    assert unpack(b"[1,[[1]]]\n") == ()


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "facts",
    [
        *([NOW, 0, status, [], [], 0] for status in (INF, NAN, -1, 99, 99999, 302, 206, 500, 200.0, "200", True)),
        *([received, 0, 200, [], [], 0] for received in (INF, NAN, -1, 10**400, "now", None)),
        *([NOW, took, 200, [], [], 0] for took in (INF, NAN, -1, 1e308)),
        *([NOW, 0, 200, [[name, "x"]], [], 0] for name in ("x-é", "\ud800", "X-Upper", "a b", "a\n", "", "a:")),
        *([NOW, 0, 200, [["x", value]], [], 0] for value in ("\ud800", "a\r\nb: c", "a\nb", "\x00", "\x7f")),
        [NOW, 0, 200, [["x"]], [], 0],
        [NOW, 0, 200, [], [], -1],
        [NOW, 0, 200, [], [], 0.0],
    ],
)
def test_what_is_no_good_answer_is_nothing(facts):
    assert unpack(json.dumps([1, [facts]]).encode() + b"\n") == ()


def test_what_is_nested_too_deep_is_nothing():
    assert unpack(b"[" * 100_000 + b"]" * 100_000) == ()
