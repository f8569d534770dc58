"""Switches: what holds, for whom, and until when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.switches import ALL, AS_USUAL, Position, Switch, Switches, What

NODE = "http://n1"


def off(until=10.0, by="ops", what=What.RETRIES_OFF, **more):
    return Switch(what, until, by, **more)


def test_nothing_is_switched_at_first():
    assert Switches().position("payments") is AS_USUAL
    assert Switches().next_at() is None


def test_a_switch_holds_for_its_upstream_until_its_instant():
    switches = Switches()
    switches.throw("payments", off())
    assert switches.position("payments").retries == off()
    assert switches.position("search") == AS_USUAL
    assert switches.next_at() == 10.0
    assert switches.lapse(9.9) == []
    assert switches.lapse(10.0) == [("payments", off())]
    assert switches.position("payments") == AS_USUAL
    assert switches.lapse(11.0) == []


def test_the_same_one_again_has_another_instant():
    switches = Switches()
    switches.throw("payments", off(10.0))
    switches.throw("payments", off(20.0, by="dev"))
    assert switches.lapse(15.0) == []
    assert switches.position("payments").retries.by == "dev"


def test_one_circuit_is_open_or_closed_and_those_of_endpoints_are_apart():
    switches = Switches()
    switches.throw("payments", off(what=What.CIRCUIT_OPEN))
    switches.throw("payments", off(what=What.CIRCUIT_CLOSED))
    switches.throw("payments", off(what=What.CIRCUIT_OPEN, endpoint=NODE))
    assert [(switch.what, switch.endpoint) for switch in switches.position("payments").circuits] == [
        (What.CIRCUIT_CLOSED, None), (What.CIRCUIT_OPEN, NODE),
    ]  # fmt: skip


def test_the_one_upstream_counts_more_than_all_and_a_hand_more_than_afar():
    switches = Switches()
    for name, afar in ((ALL, True), (ALL, False), ("payments", True), ("payments", False)):
        switches.throw(name, off(by=f"{name} {afar}", afar=afar))
        assert switches.position("payments").retries.by == f"{name} {afar}"
    assert switches.position("search").retries.by == "* False"


def test_some_or_all_of_a_name_are_lifted():
    switches = Switches()
    switches.throw("payments", off())
    switches.throw("payments", off(what=What.SHED, share=0.5))
    switches.throw("search", off())
    assert switches.lift("payments", "shed") == [("payments", off(what=What.SHED, share=0.5))]
    assert switches.lift("payments") == [("payments", off())]
    assert switches.lift("payments") == []
    assert switches.position("search").retries is not None


def test_what_comes_from_afar_is_said_as_a_whole():
    switches = Switches()
    switches.throw("payments", off(what=What.SHED))
    first = off(afar=True)
    assert switches.say([("payments", first)]) == ([("payments", first)], [])
    assert switches.say([("payments", off(10.2, afar=True))]) == ([], [])  # read again, by another clock
    assert switches.position("payments").retries.until == 10.0
    other = off(60.0, afar=True)
    assert switches.say([("payments", other)]) == ([("payments", other)], [])
    assert switches.say([]) == ([], [("payments", other)])
    assert switches.position("payments") == Position(shed=off(what=What.SHED))


def test_a_position_tells_what_holds_for_how_long():
    switches = Switches()
    switches.throw("payments", off(10.0))
    switches.throw("payments", off(4.0, what=What.SHED, share=0.25))
    switches.throw("payments", off(8.0, what=What.CIRCUIT_OPEN, endpoint=NODE))
    assert switches.position("payments").status(3.0) == [
        {"what": "retries off", "by": "ops", "for": 7.0},
        {"what": "shed 0.25", "by": "ops", "for": 1.0},
        {"what": f"circuit open at {NODE}", "by": "ops", "for": 5.0},
    ]


def test_another_process_goes_on_with_what_holds():
    before = Switches()
    before.throw("payments", off())
    after = Switches(before.thrown)
    before.lift("payments")
    assert after.position("payments").retries == off()


THROWN = st.builds(
    Switch,
    st.sampled_from(What),
    st.integers(1, 50).map(float),
    st.sampled_from(["ops", "dev"]),
    endpoint=st.sampled_from([None, NODE]),
    afar=st.booleans(),
)


@given(st.lists(st.tuples(st.sampled_from(["payments", "search", ALL]), THROWN)), st.integers(0, 60).map(float))
def test_after_its_instant_none_holds_and_before_it_the_last_one_does(thrown, now):
    switches, last = Switches(), {}
    for name, switch in thrown:
        switches.throw(name, switch)
        last[name, switch.afar, switch.slot] = switch
    over = switches.lapse(now)
    left = {slot: switch for slot, switch in last.items() if switch.until > now}
    assert dict(switches.thrown) == left
    assert len(over) == len(last) - len(left)
    assert switches.next_at() == min((switch.until for switch in left.values()), default=None)
