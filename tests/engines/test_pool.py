"""Guards on the private names of httpx and httpcore that the engines stand on."""

from __future__ import annotations

import pytest

from resilient_http.engines.async_network import AsyncNetwork
from resilient_http.engines.backend import load_backend
from resilient_http.engines.pool import EnginePool, lender_of, make_engine
from resilient_http.engines.sync_network import SyncNetwork
from resilient_http.state.endpoint import Endpoint


@pytest.mark.parametrize(("is_async", "network"), [(False, SyncNetwork), (True, AsyncNetwork)])
def test_the_network_backend_goes_in_where_httpcore_looks_for_it(backend, is_async, network):
    engine = make_engine(load_backend(backend), Endpoint("http", "127.0.0.1", 1), is_async=is_async)

    assert isinstance(lender_of(engine)._pool._network_backend, network)
    pool = lender_of(engine)._pool
    assert pool.create_connection(_origin(backend))._network_backend is pool._network_backend


def test_a_request_has_the_attributes_that_a_copy_of_it_takes(library):
    request = library.Request("POST", "http://a/", content=b"x")

    assert {"method", "url", "headers", "extensions", "stream"} <= request.__dict__.keys()
    assert request.headers._list[0] == (b"Host", b"host", b"a")
    assert request.headers.__dict__.keys() == {"_list", "_encoding"}


def test_a_body_that_is_here_is_where_it_is_looked_for(library):
    assert library.Response(200, content=b"x").stream._stream == b"x"


def test_engines_of_plain_http_read_no_certificates(backend):
    engine = make_engine(load_backend(backend), Endpoint("http", "127.0.0.1", 1), is_async=False)

    assert lender_of(engine)._pool._ssl_context.get_ca_certs() == []


def test_an_endpoint_that_left_after_it_was_chosen_keeps_no_engine(backend):
    pool, endpoint = EnginePool(load_backend(backend), is_async=False), Endpoint("http", "127.0.0.1", 1)
    engine = pool.engine(endpoint)
    assert pool.engine(endpoint) is engine
    endpoint.gone = True
    pool.retire(endpoint)
    pool.drain_retired()

    late = pool.engine(endpoint)

    assert pool.retired == [late]
    assert pool.take_all() == [late]


def _origin(backend):
    core = load_backend(backend).core
    return core.Origin(b"http", b"127.0.0.1", 1)
