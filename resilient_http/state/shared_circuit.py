"""Shared circuit: when a circuit opens, probes and closes because of what other processes saw.

Laws
    1. Each process decides by its own memory. What others say only adds to it, beside the calls; nothing here waits or
       does I/O, and `now` is an argument (monotonic seconds).
    2. A vote is a circuit that opened by what its own process saw. One that followed others has none, so that a belief
       never feeds itself; one that a person switched has none, because that is meant for its process alone; and one
       that opened on slow answers has none, because how many of those may be open is each process's to bound.
    3. A closed circuit opens when `quorum` others voted, and they are `share` of those that know the endpoint lately,
       unless its own process sees success: within `veto` seconds, or since it heard of the quorum and nothing failed
       after it.
    4. At most one process has the baton, the right to probe. It is had for `expires` seconds from the instant at which
       it was asked for, so the holder stops before anybody else can begin. A holder that has no calls to probe with
       gives it to one that has.
    5. The holder's success closes all circuits that are open; its failure makes all of them rest as long as it does.
    6. Guidance lasts `expires` seconds from the last exchange. Who is out of touch for longer goes on by itself.

    nobody has the baton  -- due to probe -------------->  probes    (held for `expires`, renewed)
    probes                -- its circuit closed -------->  passed    (all close; for two `expires`)
    probes                -- its circuit opened again -->  failed    (nobody probes, for as long as it rests)
    probes                -- idle, and others want it -->  nobody has it
    any                   -- its time is over ---------->  nobody has it
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pybreaker

from resilient_http.state.circuit import NEVER, Circuit
from resilient_http.state.diagnosis import Cause

WANTS = "!"


@dataclass(frozen=True, slots=True)
class SharingRules:
    """The numbers of sharing. Their meaning, ranges and reasons: see SharedCircuitSettings and SharedSettings."""

    quorum: int = 2
    share: float = 0.5
    veto: float = 0.5
    expires: float = 2.0
    interval: float = 0.25


class Stance(StrEnum):
    """What a process says of an endpoint."""

    OPEN = "open"  # by what it saw itself
    FOLLOWS = "follows"  # open because others are
    CLOSED = "closed"  # and it called the endpoint lately


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a process says of an endpoint, and whether it has calls to probe it with but not the right to."""

    stance: Stance
    wants: bool = False

    def __str__(self) -> str:
        return f"{self.stance}{WANTS if self.wants else ''}"


def read_opinion(text: object) -> Opinion | None:
    """The opinion that was written as `text`; None for anything else: other processes may be of another version."""
    word = str(text)
    try:
        return Opinion(Stance(word.removesuffix(WANTS)), word.endswith(WANTS))
    except ValueError:
        return None


class Step(StrEnum):
    """How far the one prober is."""

    PROBES = "probes"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Baton:
    """The right to probe, and afterwards the result.

    Attributes:
        step: How far its holder is.
        holder: The process that has it.
        number: Which of the holder's.
        rest: Seconds that the holder's circuit rests for, when its probe failed.
    """

    step: Step
    holder: str
    number: int
    rest: float = 0.0

    def __str__(self) -> str:
        return f"{self.step} {self.holder} {self.number} {self.rest:.3f}"


def read_baton(text: str | None) -> Baton | None:
    """The baton that was written as `text`; None for anything else."""
    try:
        step, holder, number, rest = (text or "").split(" ")
        baton = Baton(Step(step), holder, int(number), float(rest))
    except ValueError:
        return None
    return baton if 0 <= baton.rest < math.inf else None


@dataclass(frozen=True, slots=True)
class Move:
    """Something to be done with the baton, if it is still as expected.

    Attributes:
        expected: What it is now; None when nobody has it.
        baton: What it becomes; None when nobody shall have it.
        lasts: Seconds for which it is so.
    """

    expected: Baton | None
    baton: Baton | None
    lasts: float = 0.0


class SharedCircuit:
    """One circuit among those of other processes. Used by one thread; the circuit itself is everybody's.

    Args:
        circuit: This process's.
        rules: When others count.
        process: What this process is called; unique, without spaces.

    Attributes:
        votes: How many others had opened by what they saw, when it last heard.
        voters: How many knew the endpoint lately, this one included.
        baton: The right to probe while this process has it, else None.
    """

    def __init__(self, circuit: Circuit, rules: SharingRules, process: str) -> None:
        self.circuit = circuit
        self.votes = self.voters = 0
        self._rules = rules
        self._process = process
        self._others_want = False
        self._agreed_since: float | None = None
        self._calm_until = NEVER
        self._generation = circuit.generation  # as it last looked
        self._heard: Baton | None = None
        self._joined: Baton | None = None
        self.baton: Baton | None = None
        self._number = 0
        self._right_until = NEVER
        self._taken_at = 0  # the circuit's generation then
        self._busy_at = 0.0
        self._abstains_until = NEVER

    @property
    def concerned(self) -> bool:
        """Whether the baton matters to it now."""
        return not self.circuit.closed or self.baton is not None or self.votes > 0

    def opinion(self, now: float) -> Opinion | None:
        """What to tell others; None for nothing."""
        circuit = self.circuit
        if circuit.by_hand:
            return None
        if not circuit.closed:
            stance = Stance.FOLLOWS if circuit.cause in (Cause.OTHERS, Cause.SLOW) else Stance.OPEN
            return Opinion(stance, circuit.wanted)
        known = max(circuit.evidence()) >= now - circuit.rules.window_span
        return Opinion(Stance.CLOSED) if known else None

    def hear(self, opinions: Sequence[Opinion], baton: Baton | None, left: float, now: float) -> None:
        """What all others say, and who has the baton for how much longer."""
        circuit = self.circuit
        generation = circuit.generation
        if generation != self._generation and circuit.closed:
            # It has just closed, and what others said was said before they knew.
            self._calm_until = now + self._rules.expires
        self._generation = generation
        self._heard = baton
        if baton is not None and baton.holder != self._process:
            self._obey(baton, left, now)
        self._count(opinions, now)
        if self._agreed_since is None or now < self._calm_until or not circuit.closed:
            return
        if not self._sees_success(self._agreed_since, now):
            circuit.follow(now, generation)

    def next_move(self, now: float) -> Move | None:
        """What to do with the baton; tell moved() whether it could be done."""
        mine, rules, circuit = self.baton, self._rules, self.circuit
        if now >= self._right_until:
            mine = self.baton = None
        if mine is not None:
            return self._next_of_holder(mine, now)
        # Ahead of the instant, so that the first call after it finds the right here.
        due = circuit.due_in(now) <= 2 * rules.interval
        if due and self._heard is None and now >= self._abstains_until:
            self._number += 1
            return Move(None, Baton(Step.PROBES, self._process, self._number), rules.expires)
        return None

    def moved(self, move: Move, done: bool, asked: float) -> None:
        """Whether the move could be done, and when that was asked for."""
        baton = move.baton
        if not done or baton is None or baton.step is not Step.PROBES:
            self.baton, self._right_until = None, NEVER
            return
        if self.baton is None:
            self._taken_at, self._busy_at = self.circuit.generation, asked
        self.baton, self._right_until = baton, asked + self._rules.expires

    def guide(self, asked: float) -> None:
        """The exchange that began then is complete: until the next one, probe only with the baton."""
        self.circuit.guide(asked + self._rules.expires, self._right_until)

    def alone(self) -> None:
        """Others are out of reach: go on by itself."""
        self.baton, self._right_until, self._agreed_since, self._heard = None, NEVER, None, None
        self.votes = self.voters = 0
        self.circuit.guide(NEVER, NEVER)

    def _obey(self, baton: Baton, left: float, now: float) -> None:
        if baton.step is Step.FAILED:
            self.circuit.postpone(now + left, baton.rest)
        elif baton.step is Step.PASSED and baton != self._joined:
            # Once: who opens after it has reasons of its own.
            self._joined = baton
            self._calm_until = now + self._rules.expires
            self.circuit.join(now, self._generation)
            self._generation = self.circuit.generation

    def _count(self, opinions: Sequence[Opinion], now: float) -> None:
        rules, own = self._rules, self.opinion(now)
        self.votes = sum(opinion.stance is Stance.OPEN for opinion in opinions)
        closed = sum(opinion.stance is Stance.CLOSED for opinion in opinions)
        self.voters = self.votes + closed + (own is not None and own.stance is not Stance.FOLLOWS)
        self._others_want = any(opinion.wants for opinion in opinions)
        if self.votes < rules.quorum or self.votes < rules.share * self.voters:
            self._agreed_since = None
        elif self._agreed_since is None:
            self._agreed_since = now

    def _sees_success(self, agreed_since: float, now: float) -> bool:
        success, failure = self.circuit.evidence()
        return now - success < self._rules.veto or (success >= agreed_since and success > failure)

    def _next_of_holder(self, mine: Baton, now: float) -> Move:
        circuit, rules = self.circuit, self._rules
        if circuit.by_hand:
            return Move(mine, None)
        if circuit.closed:
            passed = Baton(Step.PASSED, mine.holder, mine.number)
            return Move(mine, passed if circuit.cause is Cause.PROBE else None, 2 * rules.expires)
        if circuit.current_state == pybreaker.STATE_OPEN and circuit.generation != self._taken_at:
            rests = circuit.due_in(now)
            failed = Baton(Step.FAILED, mine.holder, mine.number, circuit.rest)
            return Move(mine, failed if rests > 0 else None, rests)
        if circuit.probing(now) or circuit.due_in(now) > 0:
            self._busy_at = now
        elif self._others_want and now - self._busy_at >= rules.expires / 2:
            self._abstains_until = now + 2 * rules.expires
            return Move(mine, None)
        return Move(mine, mine, rules.expires)
