"""The memory of good answers: bounded in every way, and never late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_http.state.response_memory import ResponseMemory
from resilient_http.state.stored_response import StoredResponse


def answer(size=0):
    return (StoredResponse(0.0, 0.0, 200, (), b"x" * size, ()),)


def test_what_is_kept_is_given_until_it_expires():
    memory = ResponseMemory(10, 1_000_000)
    memory.set("a", answer(), 0.0, ttl=5.0)
    assert memory.get("a", 5.0) == answer()
    assert memory.get("a", 5.1) == ()
    assert memory.as_dict() == {"entries": 0, "bytes": 0}
    assert memory.get("b", 0.0) == ()


def test_the_one_unused_for_longest_goes_first():
    memory = ResponseMemory(2, 1_000_000)
    for key in "ab":
        memory.set(key, answer(), 0.0, ttl=5.0)
    memory.get("a", 1.0)
    memory.set("c", answer(), 1.0, ttl=5.0)
    assert [bool(memory.get(key, 1.0)) for key in "abc"] == [True, False, True]


def test_what_is_too_large_is_not_kept_and_what_was_there_is_old():
    memory = ResponseMemory(10, 16_000)
    memory.set("a", answer(), 0.0, ttl=5.0)
    memory.set("a", answer(1000), 1.0, ttl=5.0)
    assert memory.get("a", 1.0) == ()


def test_what_is_forgotten_is_gone():
    memory = ResponseMemory(10, 16_000)
    memory.set("a", answer(), 0.0, ttl=5.0)
    memory.delete("a")
    memory.delete("b")
    assert memory.get("a", 0.0) == ()


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 1200), st.booleans()), max_size=60))
def test_it_is_never_larger_than_it_may_be(steps):
    memory = ResponseMemory(4, 20_000)
    for now, (key, size, goes) in enumerate(steps):
        if goes:
            memory.delete(key)
        else:
            memory.set(key, answer(size), float(now), ttl=10.0)
        told = memory.as_dict()
        assert told["entries"] <= 4
        assert 0 <= told["bytes"] <= 20_000
        assert (told["entries"] == 0) == (told["bytes"] == 0)
