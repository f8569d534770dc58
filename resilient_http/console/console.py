"""Console: what a process shows of itself, and what can be done there. The adapters put it on a page.

Laws
    1. Nothing listens before somebody asks for the console, as an adapter does when its page is mounted.
    2. A forked child begins anew: it has seen nothing of its parent's calls.
    3. Where a Redis is shared, all processes that have a console are shown, and an action is done in all of them.
"""

from __future__ import annotations

import hmac
import os
import socket
import threading
import time
import uuid
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resilient_http.console.actions import ActionRefused, Switchable, carry_out, person, read_action
from resilient_http.console.gathering import Gathering
from resilient_http.console.recent import Recent
from resilient_http.console.rows import rows_of
from resilient_http.console.together import picture
from resilient_http.control import Control
from resilient_http.errors import SettingsMistake
from resilient_http.events import Hub
from resilient_http.settings.models import Settings
from resilient_http.telemetry.observers import Observers

if TYPE_CHECKING:
    from resilient_http.console.web import Web

ALL = "all"
FRESH = 0.5  # seconds that one look is good for, however many people look
KINDS = ("upstreams", "guards")


class Console:
    """The console of one process. Thread-safe.

    Args:
        on: What has the kill switches; not kept alive.
        settings: Those of the process, when it began.
        hub: Where calls are told.
        observers: Who tells of degraded calls.
    """

    def __init__(self, on: Switchable, settings: Settings, hub: Hub, observers: Observers) -> None:
        self.settings = settings.console
        self._on = weakref.ref(on)
        self._hub = hub
        self._observers = observers
        self._recent: Recent | None = None

    def begin(self, control: Control) -> None:
        """Look at this process, from now on."""
        before = self._recent
        recent = self._recent = Recent(self.settings, self._observers.labels)
        if before is not None:
            self._hub.remove(before)
        self._hub.add(recent)
        self._observers.keep = recent.keep
        self.__dict__.pop("web", None)  # whose streams were the parent's
        self._control = weakref.ref(control)
        self._lock = threading.Lock()
        self._last: tuple[float, dict[str, Any]] | None = None
        self._started = time.time()
        sharing = control.sharing
        self._gathering = None if sharing is None else Gathering(sharing, self._stands, self._on)
        self._process = uuid.uuid4().hex if sharing is None else sharing.process
        if sharing is not None and self._gathering is not None:
            sharing.add(self._gathering)
            sharing.begin()

    def snapshot(self, process: str = ALL) -> dict[str, Any]:
        """JSON-able: how everything stands; see docs/live-page.md for its shape.

        Where a Redis is shared it may wait for it, half a second at most: on an event loop, ask in a thread.

        Args:
            process: Id of the one process that it is of; "all" for all of them together, as far as they are known.

        Raises:
            KeyError: There is no such process (any more).
        """
        if self._gathering is not None:
            self._gathering.look()
        known = {self._process: self._own(), **(self._gathering.others if self._gathering is not None else {})}
        if process != ALL and process not in known:
            message = f"no process {process!r}; it may have ended. Known: {', '.join(known)}"
            raise KeyError(message)
        shown = list(known.values()) if process == ALL else [known[process]]
        drawn = picture(list(known.values()), shown)
        own = known[self._process]
        return {
            "time": own["time"],
            "shown": process,
            "answered_by": self._process,
            "gathered": self._gathering is not None,
            "processes": drawn["processes"],
            "actions": self.settings.actions,
            "shared": own["shared"],
            "watch": own["watch"],
            "upstreams": drawn["upstreams"],
            "degraded": drawn["degraded"][: self.settings.degraded],
        }

    def explained(self, name: str | None = None) -> list[dict[str, Any]]:
        """JSON-able: the settings in force, each with where it came from; secrets are masked.

        Args:
            name: Of an upstream or a guard; None for those of the process; of an unnamed one they are the defaults.

        Raises:
            KeyError: There is no such name.
        """
        on = self._alive()
        settings: Settings = on.settings
        if name is None:
            tops = [key for key in Settings.model_fields if key not in KINDS]
            return [each for key in tops for each in settings.explained(key)]
        if name == "other" or "://" in name:
            return settings.explained("defaults")
        for kind in KINDS:
            if name in getattr(settings, kind):
                return settings.explained(kind, name)
        if name in {*on.status()["guards"]}:
            return []  # it goes by the defaults of guards
        message = f"no upstream {name!r}; known: {', '.join([*settings.upstreams, *settings.guards]) or 'none'}"
        raise KeyError(message)

    def act(self, raw: Any, by: str = "") -> dict[str, Any]:
        """Do what is asked for: a kill switch (see actions.py), here and in the processes that share a Redis.

        Args:
            raw: A mapping, as it was received.
            by: Who does it; where it is "", the action says so.

        Returns:
            JSON-able: what was done, by whom, and where.

        Raises:
            ActionRefused: It makes no sense, or the settings do not allow it.
        """
        if not self.settings.actions:
            raise ActionRefused(SettingsMistake(("console", "actions"), "is false: this page only shows"))
        action = read_action(raw)
        name = person(by or action.by)
        carry_out(action, self._alive(), name)
        if self._gathering is not None:
            self._gathering.publish(action, name)
        with self._lock:
            self._last = None
        reaches = "this process" if self._gathering is None else "all processes that share the Redis, within a second"
        done = action.model_dump(exclude={"by"}, exclude_none=True)
        return {"done": done, "by": name, "reaches": reaches, "pid": os.getpid()}

    def flush(self, within: float) -> bool:
        """Wait until the other processes can hear of what was done here.

        Args:
            within: Seconds.

        Returns:
            False where their Redis does not answer in that time.
        """
        until = time.monotonic() + within
        while self._gathering is not None and self._gathering.status()["actions_to_tell"]:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def admits(self, authorization: str | None) -> bool:
        """Whether that header has the token of the settings."""
        token = self.settings.token
        if token is None or authorization is None:
            return False
        scheme, _, given = authorization.partition(" ")
        own = f"{token.get_secret_value()}".encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(errors="replace"), own)

    @cached_property
    def web(self) -> Web:
        """How it is asked over HTTP, for an adapter to a framework."""
        from resilient_http.console.web import Web  # noqa: PLC0415 - it knows this module

        return Web(self)

    def _alive(self) -> Any:
        on = self._on()
        if on is None:
            message = "the Resilience of this console is gone"
            raise RuntimeError(message)
        return on

    def _own(self) -> dict[str, Any]:
        found = self._stands()
        if found is None:
            message = "the Resilience of this console is gone"
            raise RuntimeError(message)
        return found

    def _stands(self) -> dict[str, Any] | None:
        """How this process stands; None once nobody holds it any more."""
        control, recent, now = self._control(), self._recent, time.monotonic()
        if control is None or recent is None:
            return None
        with self._lock:
            if self._last is None or now - self._last[0] > FRESH:
                self._last = now, self._look(control, recent, now)
            return self._last[1]

    def _look(self, control: Control, recent: Recent, now: float) -> dict[str, Any]:
        return {
            "process": self._process,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": round(self._started, 3),
            "time": round(time.time(), 3),
            "enabled": control.enabled,
            **control.beside(now),
            "upstreams": rows_of(control, recent, now),
            "degraded": recent.degraded(),
        }
