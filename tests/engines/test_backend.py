"""Backend: what kind of failure an exception of httpx's is."""

from __future__ import annotations

import errno
import ssl

import pytest

from resilient_http import Cancelled
from resilient_http.call import Attempt, Call
from resilient_http.engines.backend import load_backend
from resilient_http.engines.exchange import failed
from resilient_http.ports.simulated import SimulatedPort
from resilient_http.state.outcome import Fault


def connect_error(library, *causes):
    """What httpx raises when a connect fails, for a chain of causes, the outermost first."""
    error = library.ConnectError("no connection")
    inner = error
    for cause in causes:
        inner.__cause__ = cause
        inner = cause
    return error


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM], ids=errno.errorcode.get
)
def test_no_file_descriptors_no_ports_and_no_memory_are_a_lack_of_our_own(backend, library, number):
    error = connect_error(library, RuntimeError("between"), OSError(number, "none left"))
    assert load_backend(backend).fault_of(error) is Fault.LOCAL


def test_one_in_a_group_is_found_too(backend, library):
    group = ExceptionGroup("all addresses failed", [OSError(errno.EMFILE, "none left")])
    assert load_backend(backend).fault_of(connect_error(library, group)) is Fault.LOCAL


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_what_the_network_refuses_is_unreachable(backend, library, number):
    assert load_backend(backend).fault_of(connect_error(library, OSError(number, "no"))) is Fault.UNREACHABLE


def test_a_certificate_that_does_not_verify_is_untrusted(backend, library):
    error = connect_error(library, ssl.SSLCertVerificationError("expired"))
    assert load_backend(backend).fault_of(error) is Fault.UNTRUSTED


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("ConnectTimeout", Fault.TIMEOUT),
        ("ReadTimeout", Fault.TIMEOUT),
        ("WriteTimeout", Fault.TIMEOUT),
        ("PoolTimeout", Fault.LOCAL),
        ("ConnectError", Fault.UNREACHABLE),
        ("ProxyError", Fault.UNREACHABLE),
        ("ReadError", Fault.BROKEN),
        ("WriteError", Fault.BROKEN),
        ("CloseError", Fault.BROKEN),
        ("RemoteProtocolError", Fault.BROKEN),
        ("LocalProtocolError", Fault.INVALID),
        ("UnsupportedProtocol", Fault.INVALID),
        ("InvalidURL", Fault.INVALID),
    ],
)
def test_each_exception_of_httpx_is_one_kind_of_failure(backend, library, name, fault):
    assert load_backend(backend).fault_of(getattr(library, name)("failed")) is fault


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), Cancelled("the caller has gone")])
def test_what_ends_it_from_outside_is_a_cancellation(backend, error):
    assert load_backend(backend).fault_of(error) is Fault.CANCELLED


def test_what_the_users_own_code_raises_is_foreign(backend):
    assert load_backend(backend).fault_of(ValueError("in a hook")) is Fault.FOREIGN


def test_an_attempt_that_lacked_resources_says_why_we_stalled(backend, library):
    attempt = Attempt(Call(SimulatedPort(None), "GET", started=0.0), 0.0)
    failed(
        attempt, connect_error(library, OSError(errno.EADDRNOTAVAIL, "no port")), load_backend(backend), watched=True
    )
    assert (attempt.fault, attempt.stalled) == (Fault.LOCAL, "lack of local resources")
