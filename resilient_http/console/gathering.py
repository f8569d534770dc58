"""Gathering: the consoles of several processes, through the Redis that they share. A Sharer: see upstreams/sharing.py.

    PREFIX:console:wanted            somebody looks at a page; while it is there, processes say how they stand
    PREFIX:console:processes         a sorted set: who has a console, by when it last said so
    PREFIX:console:shows:PROCESS     JSON: how that process stands
    PREFIX:console:actions           a sorted set: the ids of actions, in their order
    PREFIX:console:action:ID         JSON: an action; it expires when the switch is over

Laws
    1. Nothing is written for nobody: while no page is open, a process only says that it is there.
    2. Every key expires, by Redis's own clock: an action lasts as long in each process, also in one that starts later.
    3. An action is done once in each process, in the order in which they were asked for, within a second.
    4. What another process has written is read as what a stranger says: what makes no sense is left out.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from resilient_http.console.actions import LIFT, Action, ActionRefused, carry_out, person, read_action
from resilient_http.console.foreign import is_call
from resilient_http.console.together import picture
from resilient_http.upstreams.sharing import Sharing

EVERY = 1.0  # seconds between two looks
PATIENT = 0.5  # seconds
WANTED = 10.0  # seconds that a page is taken to be open after it was last asked for
SAID = 5.0  # seconds that what a process says of itself is kept
LIFTED = 60.0  # seconds that the others have to hear of a lift
KEPT = 700_000.0  # seconds: longer than any switch
MOST = 1000  # actions at once

# In one step, or two actions of one instant could be done in another order elsewhere.
PUBLISH = """
local at = redis.call('incr', KEYS[3])
redis.call('pexpire', KEYS[3], ARGV[4])
redis.call('set', KEYS[2], ARGV[2], 'px', ARGV[3])
redis.call('zadd', KEYS[1], at, ARGV[1])
redis.call('pexpire', KEYS[1], ARGV[4])
return at
"""


class Gathering:
    """What this process tells the consoles of others, and hears of them. Thread-safe.

    Args:
        sharing: Whose thread runs it.
        stands: How this process stands: JSON-able.
        on: What has the kill switches; None once nobody holds it any more.

    Attributes:
        others: How the others stand, by their ids; as last heard.
    """

    def __init__(
        self, sharing: Sharing, stands: Callable[[], dict[str, Any] | None], on: Callable[[], Any | None]
    ) -> None:
        self._sharing = sharing
        self._stands = stands
        self._on = on
        self._prefix = f"{sharing.settings.prefix}:console"
        self._outbox: deque[tuple[str, Action, str, float]] = deque(maxlen=MOST)
        self._done: set[str] = set()
        self._asked_at = -WANTED
        self._next_at = 0.0
        self._hurries = False
        self._heard = threading.Event()
        self.others: dict[str, dict[str, Any]] = {}

    @property
    def process(self) -> str:
        """What this process is called."""
        return self._sharing.process

    def look(self) -> None:
        """A page of this process is open: hear how the others stand.

        Waits for it, `PATIENT` seconds at most: the requests of one page may go to a worker after the other.
        """
        now = time.monotonic()
        stale = now - self._asked_at > WANTED
        self._asked_at = now
        self._sharing.begin()
        if stale:
            self._heard.clear()
            self._hurry()
        self._heard.wait(PATIENT)

    def publish(self, action: Action, by: str) -> None:
        """It has been done here; the others are to do it too. Kept until Redis is there."""
        name = uuid.uuid4().hex
        self._done.add(name)
        self._outbox.append((name, action, by, time.monotonic()))
        self._sharing.begin()
        self._hurry()

    def _hurry(self) -> None:
        self._hurries = True
        self._sharing.wake()

    # In the thread of Sharing

    def exchange(self, redis: Any) -> None:
        """Say, hear, act; now and then."""
        now = time.monotonic()
        if now < self._next_at and not self._hurries:
            return
        self._hurries = False
        self._send(redis, now)
        looks = now - self._asked_at < WANTED
        pipe = redis.pipeline(transaction=False)
        if looks:
            pipe.set(f"{self._prefix}:wanted", "1", px=_milliseconds(WANTED))
        pipe.exists(f"{self._prefix}:wanted")
        pipe.zrange(f"{self._prefix}:actions", 0, -1)
        *_, wanted, names = pipe.execute()
        self._act(redis, names)
        if wanted:
            self._say(redis)
        self.others = self._hear(redis) if looks else {}
        if looks:
            self._heard.set()
        # Last: a round that failed is to be tried again at once, so that nobody believes that Redis is there.
        self._next_at = now + EVERY

    def alone(self) -> None:
        """Redis is away: this process is all that can be shown."""
        self.others = {}
        self._heard.set()

    def farewell(self, redis: Any) -> None:
        """This process is no longer one of them."""
        redis.delete(self._key("shows", self.process))
        redis.zrem(f"{self._prefix}:processes", self.process)

    def status(self) -> dict[str, Any]:
        """JSON-able: what is still to be told."""
        return {"actions_to_tell": len(self._outbox)}

    def _send(self, redis: Any, now: float) -> None:
        while self._outbox:
            name, action, by, at = self._outbox[0]
            left = LIFTED if action.seconds is None else action.seconds - (now - at)
            if left > 0.0:
                text = json.dumps({"action": action.model_dump(exclude={"by"}), "by": by})
                keys = (f"{self._prefix}:actions", self._key("action", name), f"{self._prefix}:order")
                redis.eval(PUBLISH, 3, *keys, name, text, max(1, _milliseconds(left)), _milliseconds(KEPT))
            self._outbox.popleft()

    def _act(self, redis: Any, names: list[str]) -> None:
        self._done.intersection_update({*names, *(name for name, *_ in list(self._outbox))})
        new = [name for name in names if name not in self._done]
        if not new:
            return
        pipe = redis.pipeline(transaction=False)
        for name in new:
            pipe.get(self._key("action", name))
            pipe.pttl(self._key("action", name))
        found = pipe.execute(raise_on_error=False)
        for name, text, left in zip(new, found[::2], found[1::2], strict=True):
            if isinstance(text, str) and isinstance(left, int) and left > 0:
                self._done.add(name)
                self._carry_out(text, left / 1000)
            else:
                redis.zrem(f"{self._prefix}:actions", name)

    def _carry_out(self, text: str, left: float) -> None:
        on = self._on()
        # A process with other settings may not know the upstream; and anybody may have written there.
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, ActionRefused):
            said = json.loads(text)
            action = read_action(said["action"])
            if on is not None:
                carry_out(action, on, person(str(said["by"])), None if action.what == LIFT else left)

    def _say(self, redis: Any) -> None:
        stands = self._stands()
        if stands is None:
            return
        processes = f"{self._prefix}:processes"
        seconds = redis.time()[0]
        pipe = redis.pipeline(transaction=False)
        pipe.set(self._key("shows", self.process), json.dumps(stands), px=_milliseconds(SAID))
        pipe.zadd(processes, {self.process: seconds})
        pipe.zremrangebyscore(processes, "-inf", seconds - 2 * SAID)
        pipe.pexpire(processes, _milliseconds(4 * SAID))
        pipe.execute()

    def _hear(self, redis: Any) -> dict[str, dict[str, Any]]:
        names = [name for name in redis.zrange(f"{self._prefix}:processes", 0, -1) if name != self.process]
        texts = redis.mget([self._key("shows", name) for name in names]) if names else []
        own = self._stands()
        found = {name: _read(text, name, own) for name, text in zip(names, texts, strict=True)} if own else {}
        return {name: said for name, said in found.items() if said is not None}

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"


def _read(text: str | None, name: str, own: dict[str, Any]) -> dict[str, Any] | None:
    """How another process stands; None where that makes no sense, or cannot be shown beside how this one does."""
    if text is None:
        return None
    try:
        said = json.loads(text)
        said["degraded"] = [each for each in said["degraded"] if is_call(each)]
        for shown in ([said], [own, said, said]):
            json.dumps(picture([own, said], shown), allow_nan=False)
    except Exception:  # noqa: BLE001 - another version's, or a stranger's
        return None
    found: dict[str, Any] = said
    return found if found["process"] == name else None


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
