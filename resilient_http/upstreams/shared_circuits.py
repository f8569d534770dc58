"""Shared circuits: what Sharing exchanges for the circuits of this process. The decisions are SharedCircuit's.

    PREFIX:circuits:processes      a set: who takes part
    PREFIX:circuits:says:PROCESS   JSON: circuit to what that process says of it
    PREFIX:circuits:baton:CIRCUIT  who probes, or how that went

Every key expires, by Redis's own clock: no process's clock is compared with another's. A round is one write and one
read, and one more write when a baton moves.

What stands in a key of ours and is not ours (it cannot be read, is of another type, or a baton that never expires) is
deleted, if it is still there; a circuit whose baton it was goes on by itself meanwhile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from resilient_http.state.circuit import Circuit
from resilient_http.state.shared_circuit import (
    Move,
    Opinion,
    SharedCircuit,
    SharingRules,
    read_baton,
    read_opinion,
)
from resilient_http.upstreams.registry import Registry
from resilient_http.upstreams.sharing import Sharing
from resilient_http.upstreams.upstream import Upstream

# Only who has it changes it: a process that slept past its time must not take it from the next one.
IF_UNCHANGED = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('del', KEYS[1]) else redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) end
return 1
"""

# It is deleted only as it was seen: meanwhile the key may have been given what belongs there.
DROP_STRAY = """
local kind = redis.call('type', KEYS[1]).ok
if kind == ARGV[1] then
    if kind ~= 'string' or redis.call('get', KEYS[1]) ~= ARGV[2] then return 0 end
    if ARGV[3] == 'endless' and redis.call('pttl', KEYS[1]) ~= -1 then return 0 end
end
return redis.call('del', KEYS[1])
"""
ENDLESS = -1  # as PTTL says it


class SharedCircuits:
    """The circuits of one process that it shares. A Sharer.

    Args:
        sharing: Whose thread runs it.
        registry: The upstreams.
        guards: What is guarded, by name.
    """

    def __init__(self, sharing: Sharing, registry: Registry, guards: Mapping[str, Upstream]) -> None:
        self._sharing = sharing
        self._expires = sharing.settings.expires
        self._registry = registry
        self._guards = guards
        self._known: dict[str, SharedCircuit] = {}
        self._prefix = f"{sharing.settings.prefix}:circuits"
        self._says = f"{self._prefix}:says:{sharing.process}"

    def exchange(self, redis: Any) -> None:
        """One round: say, hear, move batons."""
        asked = time.monotonic()
        shared = self._known = self._shared()
        if not shared:
            return
        said, batons = self._say_and_hear(redis, shared, asked)
        strays = {name: found for name, found in batons.items() if _is_stray(*found)}
        for name in strays:
            shared[name].alone()
        if strays:
            self._drop(redis, strays)
        sound = {name: circuit for name, circuit in shared.items() if name not in strays}
        for name, circuit in sound.items():
            opinions = [opinion for each in said if (opinion := each.get(name)) is not None]
            text, left = batons.get(name, (None, 0))
            circuit.hear(opinions, read_baton(text), max(0, left) / 1000, asked)
        moves = {name: move for name, circuit in sound.items() if (move := circuit.next_move(time.monotonic()))}
        if moves:
            self._move(redis, shared, moves)
        for circuit in sound.values():
            circuit.guide(asked)

    def alone(self) -> None:
        """Every circuit goes on by itself."""
        for circuit in self._known.values():
            circuit.alone()

    def farewell(self, redis: Any) -> None:
        """What this process said is forgotten at once, and the batons that it has are another's."""
        pipe = redis.pipeline(transaction=False)
        for name, circuit in self._known.items():
            if circuit.baton is not None:
                pipe.eval(IF_UNCHANGED, 1, self._baton(name), str(circuit.baton), "", 1)
        pipe.delete(self._says)
        pipe.srem(f"{self._prefix}:processes", self._sharing.process)
        pipe.execute()

    def status(self) -> dict[str, Any]:
        """JSON-able: who says what of each circuit."""
        return {
            "circuits": {
                name: {"open": circuit.votes, "of": circuit.voters, "probes": circuit.baton is not None}
                for name, circuit in self._known.items()
            }
        }

    def _shared(self) -> dict[str, SharedCircuit]:
        # A guard's endpoint is guard://NAME: never that of an upstream, which another process may call by that name.
        return {
            (name := f"{upstream.name} {member.url}"): self._of(name, member.circuit, upstream)
            for upstream in (*self._registry.all().values(), *dict(self._guards).values())
            if upstream.settings.circuit is not None and upstream.settings.circuit.shared is not None
            for member in upstream.endpoints.members
            if member.circuit is not None
        }

    def _of(self, name: str, circuit: Circuit, upstream: Upstream) -> SharedCircuit:
        known = self._known.get(name)
        if known is not None and known.circuit is circuit:
            return known
        own, root = upstream.settings.circuit, self._sharing.settings
        numbers = {} if own is None or own.shared is None else own.shared.model_dump()
        rules = SharingRules(**numbers, expires=root.expires, interval=root.interval)
        return SharedCircuit(circuit, rules, self._sharing.process)

    def _say_and_hear(
        self, redis: Any, shared: Mapping[str, SharedCircuit], now: float
    ) -> tuple[list[dict[str, Opinion]], dict[str, tuple[Any, int]]]:
        """What each other process says, and the batons with the milliseconds that are left of them."""
        says = {name: str(opinion) for name, circuit in shared.items() if (opinion := circuit.opinion(now))}
        concerned = [name for name, circuit in shared.items() if circuit.concerned]
        processes = f"{self._prefix}:processes"
        pipe = redis.pipeline(transaction=False)
        pipe.set(self._says, json.dumps(says), px=_milliseconds(self._expires))
        pipe.sadd(processes, self._sharing.process)
        pipe.pexpire(processes, _milliseconds(2 * self._expires))
        pipe.smembers(processes)
        for name in concerned:
            pipe.get(self._baton(name))
            pipe.pttl(self._baton(name))
        results = pipe.execute(raise_on_error=False)
        members, found = results[3], results[4:]
        for result in results[:4]:
            if isinstance(result, Exception):
                redis.eval(DROP_STRAY, 1, processes, "set", "", "")
                raise result
        batons = dict(zip(concerned, zip(found[::2], found[1::2], strict=True), strict=True))
        others = sorted(set(members) - {self._sharing.process})
        if not others:
            return [], batons
        texts = redis.mget([f"{self._prefix}:says:{process}" for process in others])
        gone = [process for process, text in zip(others, texts, strict=True) if text is None]
        if gone:
            redis.srem(processes, *gone)
        return [read_says(text) for text in texts if text is not None], batons

    def _drop(self, redis: Any, strays: Mapping[str, tuple[Any, int]]) -> None:
        pipe = redis.pipeline(transaction=False)
        for name, (text, _) in strays.items():
            seen = text if isinstance(text, str) else ""
            pipe.eval(DROP_STRAY, 1, self._baton(name), "string", seen, "" if read_baton(seen) is None else "endless")
        pipe.execute(raise_on_error=False)

    def _move(self, redis: Any, shared: Mapping[str, SharedCircuit], moves: Mapping[str, Move]) -> None:
        asked = time.monotonic()
        pipe = redis.pipeline(transaction=False)
        for name, move in moves.items():
            key, lasts = self._baton(name), max(1, _milliseconds(move.lasts))
            if move.expected is None:
                pipe.set(key, str(move.baton), nx=True, px=lasts)
            else:
                pipe.eval(IF_UNCHANGED, 1, key, str(move.expected), str(move.baton or ""), lasts)
        for (name, move), done in zip(moves.items(), pipe.execute(), strict=True):
            shared[name].moved(move, bool(done), asked)

    def _baton(self, name: str) -> str:
        return f"{self._prefix}:baton:{name}"


def read_says(text: str) -> dict[str, Opinion]:
    """What another process says of each circuit; what cannot be read is left out."""
    try:
        says = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(says, dict):
        return {}
    return {name: opinion for name, said in says.items() if (opinion := read_opinion(said)) is not None}


def _is_stray(text: Any, left: int) -> bool:
    """Whether this is no baton of ours; what could not be got is an exception here."""
    return text is not None and (not isinstance(text, str) or read_baton(text) is None or left == ENDLESS)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
