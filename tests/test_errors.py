"""The exceptions: what catches them, what they carry, and that they pickle, over httpx and over httpx2."""

from __future__ import annotations

import copy
import importlib
import pickle

import httpx
import pybreaker
import pytest

from resilient_http import errors
from resilient_http.engines.backend import load_backend
from resilient_http.journal import Journal
from resilient_http.state.outcome import Fault

NAMES = ["Refused", "CircuitOpen", "RateLimited", "Saturated", "NoEndpoint", "DeadlineExceeded", "Cancelled"]
REFUSALS = ["Refused", "CircuitOpen", "RateLimited", "Saturated", "NoEndpoint"]


@pytest.fixture(params=["httpx", "httpx2"])
def backend(request):
    return load_backend(request.param)


def journal() -> Journal:
    told = Journal("GET")
    told.upstream, told.budget = "payments", 2.0
    entry = told.open_entry(0.0)
    entry.endpoint, entry.fault, entry.error = "http://n1", Fault.BROKEN, "ReadError: reset"
    entry.decide("retry", "broken off", 0.1)
    return told


def of(backend, name):
    """An exception of this backend, with all that it carries."""
    facts = {"upstream": "payments"}
    if name in REFUSALS:
        facts["retry_in"] = 7.5
    if name == "DeadlineExceeded":
        facts["budget"] = 2.0
    error = backend.errors[name]("payments: no", **facts)
    error.journal = journal()
    return error


CAUGHT_BY = {
    "Refused": ["TransportError", "RequestError", "HTTPError"],
    "CircuitOpen": ["TransportError", "HTTPError"],
    "RateLimited": ["TransportError", "HTTPError"],
    "Saturated": ["PoolTimeout", "TimeoutException", "TransportError", "HTTPError"],
    "NoEndpoint": ["TransportError", "HTTPError"],
    "DeadlineExceeded": ["TimeoutException", "TransportError", "HTTPError"],
    "Cancelled": ["TransportError", "HTTPError"],
}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_user_of_the_backend_catches_still_catches_it(backend, name):
    for theirs in CAUGHT_BY[name]:
        with pytest.raises(getattr(backend.module, theirs)):
            raise of(backend, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_user_of_ours_catches_it_whatever_the_backend(backend, name):
    for ours in (getattr(errors, name), errors.ResilienceError):
        with pytest.raises(ours):
            raise of(backend, name)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_caught_as_one_over_each_backend(backend, name):
    with pytest.raises(errors.Refused):
        raise of(backend, name)
    with pytest.raises(backend.errors["Refused"]):
        raise of(backend, name)


@pytest.mark.parametrize("name", NAMES)
def test_over_httpx2_it_is_also_caught_by_httpxs_own_classes(name):
    with pytest.raises(httpx.HTTPError):
        raise of(load_backend("httpx2"), name)


def test_an_open_circuit_is_pybreakers_error_too(backend):
    with pytest.raises(pybreaker.CircuitBreakerError):
        raise of(backend, "CircuitOpen")


@pytest.mark.parametrize("name", ["RateLimited", "NoEndpoint", "Saturated", "DeadlineExceeded", "Cancelled"])
def test_nothing_else_is(backend, name):
    assert not isinstance(of(backend, name), pybreaker.CircuitBreakerError)


@pytest.mark.parametrize("name", ["CircuitOpen", "RateLimited", "NoEndpoint"])
def test_a_refusal_is_no_timeout(backend, name):
    assert not isinstance(of(backend, name), backend.module.TimeoutException)


def test_a_deadline_is_no_refusal(backend):
    assert not isinstance(of(backend, "DeadlineExceeded"), errors.Refused)


def test_wrong_settings_are_a_value_error_and_nothing_of_a_calls():
    error = errors.SettingsError("retry.max_attempts: 0", path="retry.max_attempts", value=0)
    assert isinstance(error, ValueError)
    assert not isinstance(error, errors.ResilienceError)
    assert (error.path, error.value, error.mistakes) == ("retry.max_attempts", 0, ())


def test_a_foreign_await_is_a_runtime_error():
    assert issubclass(errors.ForeignAwait, RuntimeError)
    assert issubclass(errors.ForeignAwait, errors.ResilienceError)


def test_a_misplaced_call_is_a_mistake_of_the_program_and_pickles():
    error = errors.MisplacedCall("GET http://payments in a transaction", upstream="payments")
    assert isinstance(error, RuntimeError)
    assert not isinstance(error, httpx.HTTPError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.upstream) == ("GET http://payments in a transaction", "payments")


# What they carry


def carried(error):
    facts = {name: getattr(error, name, None) for name in ("upstream", "retry_in", "budget")}
    return str(error), facts, str(error.journal), error.journal.as_dict()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_it_pickles_and_copies_with_its_journal(backend, name, again):
    error = of(backend, name)
    other = again(error)
    assert type(other) is type(error)
    assert carried(other) == carried(error)


def test_settings_errors_pickle_with_each_mistake():
    mistake = errors.SettingsMistake(("retry", "max_attempt"), "unknown key (got 3)", ("max_attempts",))
    error = errors.SettingsError(str(mistake), path="retry.max_attempt", value=3, mistakes=(mistake,))
    other = pickle.loads(pickle.dumps(error))
    assert (str(other), other.path, other.value, other.mistakes) == (str(error), error.path, 3, (mistake,))


def test_outside_a_call_there_is_no_journal():
    assert errors.Refused("no").journal is None
    assert errors.Refused("no").upstream == ""
    assert errors.Refused("no").retry_in is None


@pytest.mark.parametrize("name", NAMES)
def test_over_httpx2_it_is_found_under_its_public_name(name):
    public = importlib.import_module("resilient_http.httpx2")
    assert getattr(public, name) is load_backend("httpx2").errors[name]


def test_over_httpx_it_is_our_own_class():
    for name in NAMES:
        assert load_backend("httpx").errors[name] is getattr(errors, name)


# From a policy to a user of httpx2


def test_a_policys_error_is_dressed_for_the_users_backend():
    cause = LookupError("why")
    plain = errors.CircuitOpen("circuit of payments is open", upstream="payments", retry_in=7.5)
    plain.journal = journal()
    try:
        raise plain from cause
    except errors.CircuitOpen as caught:
        dressed = load_backend("httpx2").dress(caught)
    assert type(dressed) is load_backend("httpx2").errors["CircuitOpen"]
    assert carried(dressed) == carried(plain)
    assert dressed.__cause__ is cause
    assert dressed.__traceback__ is not None


def test_over_httpx_it_stays_as_it_is():
    plain = errors.CircuitOpen("open")
    assert load_backend("httpx").dress(plain) is plain


def test_what_is_not_ours_is_not_dressed():
    foreign = LookupError("foreign")
    assert load_backend("httpx2").dress(foreign) is foreign


# Messages


def test_a_mistake_names_its_path_and_what_was_meant():
    mistake = errors.SettingsMistake(("retry", "max_attempt"), "unknown key (got 3)", ("max_attempts",))
    assert str(mistake) == "retry.max_attempt: unknown key (got 3); did you mean max_attempts?"
    several = errors.SettingsMistake(("xyz",), "unknown key", ("limit", "queue"))
    assert str(several) == "xyz: unknown key; known: limit, queue"
    assert str(errors.SettingsMistake((), "wrong")) == "settings: wrong"
