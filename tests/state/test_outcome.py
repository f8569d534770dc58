"""The table of outcomes, row by row."""

from __future__ import annotations

import pytest

from resilient_http.state.outcome import FAILED, Fault, Outcome, judge_fault, judge_status


@pytest.mark.parametrize("status", [100, 200, 201, 204, 206, 301, 304, 307, 400, 401, 404, 409, 418, 425, 499])
def test_any_status_below_500_is_a_success(status):
    assert judge_status(status) is Outcome.SUCCESS


@pytest.mark.parametrize("status", [408, 429])
def test_an_endpoint_that_asks_for_patience_says_nothing_about_its_health(status):
    assert judge_status(status) is Outcome.NEUTRAL


def test_500_is_an_error_of_the_one_request():
    assert judge_status(500) is Outcome.ERROR


def test_501_says_that_the_endpoint_is_well_and_the_method_is_wrong():
    assert judge_status(501) is Outcome.SUCCESS


@pytest.mark.parametrize("status", [502, 503, 504, 505, 507, 511, 520, 599])
def test_any_other_5xx_is_a_failure(status):
    assert judge_status(status) is Outcome.FAILURE


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.UNTRUSTED, Fault.TIMEOUT, Fault.BROKEN])
def test_no_whole_answer_is_a_failure(fault):
    assert judge_fault(fault, stalled=False) is Outcome.UNANSWERED


@pytest.mark.parametrize("fault", [Fault.LOCAL, Fault.INVALID, Fault.FOREIGN, Fault.CANCELLED])
def test_what_we_or_the_user_caused_is_neutral(fault):
    assert judge_fault(fault, stalled=False) is Outcome.NEUTRAL


@pytest.mark.parametrize("fault", list(Fault))
def test_anything_that_happens_while_we_stall_is_neutral(fault):
    assert judge_fault(fault, stalled=True) is Outcome.NEUTRAL


def test_what_counts_against_an_endpoint():
    assert {outcome for outcome in Outcome if outcome in FAILED} == {
        Outcome.ERROR,
        Outcome.FAILURE,
        Outcome.UNANSWERED,
    }
