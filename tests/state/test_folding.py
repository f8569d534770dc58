"""Folding with literals: what is said, and what is counted."""

from resilient_http.state.folding import KINDS, Folding


def test_the_first_of_a_kind_is_said_and_the_others_are_counted():
    folding = Folding(10.0)

    assert folding.admit("a", 0.0) == 0
    assert [folding.admit("a", now) for now in (1.0, 5.0, 9.9)] == [None, None, None]
    assert folding.admit("a", 10.0) == 3
    assert folding.admit("a", 21.0) == 0


def test_each_kind_is_folded_by_itself():
    folding = Folding(10.0)

    assert [folding.admit(kind, 0.0) for kind in ("a", "b", "a", "b")] == [0, 0, None, None]


def test_without_a_span_all_are_said():
    assert [Folding(None).admit("a", 0.0) for _ in range(3)] == [0, 0, 0]


def test_what_was_never_said_can_be_asked_for_once():
    folding = Folding(10.0)
    for kind in ("a", "a", "a", "b"):
        folding.admit(kind, 0.0)

    assert folding.take_rest() == {"a": 2}
    assert folding.take_rest() == {}


def test_kinds_are_bounded():
    folding = Folding(10.0)
    for kind in range(KINDS + 1):
        folding.admit(kind, 0.0)

    assert folding.admit(0, 1.0) == 0, "it was the oldest"
    assert folding.admit(KINDS, 1.0) is None
