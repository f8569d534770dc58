"""Reloads: the settings of a process change while it runs, by hand or by a document from afar.

Laws
    1. All or nothing. What is refused leaves everything as it was, is counted, and an event. What is interrupted by a
       signal goes on to its end.
    2. In force are the settings that were given last by hand, or that the process started with, under the last good
       document.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from resilient_http.errors import SettingsError
from resilient_http.events import Hub, ReloadRejected, SettingsReloaded
from resilient_http.settings.changes import Change, changes, check_reloadable
from resilient_http.settings.loading import load_settings
from resilient_http.settings.models import Settings
from resilient_http.settings.remote import SWITCHES, laid_over
from resilient_http.settings.switches import read_switches
from resilient_http.state.switches import Named, Switch, What
from resilient_http.state.tally import Tally
from resilient_http.upstreams.reading import reading
from resilient_http.upstreams.whole import whole


class Changing(Protocol):
    """What goes by settings."""

    def change(self, settings: Settings) -> None:
        """Go by other ones from now on; or raise SettingsError and change nothing."""

    def switchable(self, settings: Settings) -> Collection[str]:
        """The names of what can be switched."""

    def say(self, switches: Iterable[Named], by: str) -> None:
        """These are the switches from afar, all of them."""


class Reloads:
    """The settings in force, and how they change. Thread-safe.

    Args:
        settings: Those that the process starts with.
        hub: Where changes are told.

    Attributes:
        settings: Those in force.
        tally: Counts what was "applied" and "rejected".
    """

    def __init__(self, settings: Settings, hub: Hub) -> None:
        self.settings = settings
        self.tally = Tally()
        self._hub = hub
        self._own = settings
        self._document: Mapping[str, Any] = {}
        self._where = ""  # it comes from

    def begin(self, changing: Changing) -> None:
        """It is what goes by the settings from now on, in this process."""
        self._changing = changing
        self._lock = threading.Lock()  # a fork may have taken the other one along

    def by_hand(self, raw: Any, by: str) -> tuple[Change, ...]:
        """Go by these, under the document.

        Raises:
            SettingsError: They are refused.
        """
        try:
            own = _as_other_settings(raw)
            return whole(partial(self._go_by, own, by))
        except SettingsError as exc:
            self._reject(exc, by)
            raise

    def _go_by(self, own: Settings, by: str) -> tuple[Change, ...]:
        with self._hub.later(), self._lock:
            check_reloadable(self._own, own)
            changed = self._change(laid_over(own, self._document, self._where, endpoints=self._endpoints))
            self._own = own
        self._tell(changed, by)
        return changed

    def from_afar(self, document: Mapping[str, Any] | SettingsError, by: str) -> None:
        """Go by this document from now on.

        Raises:
            SettingsError: It is refused; or is that error.
        """
        try:
            if isinstance(document, SettingsError):
                raise document
            with self._hub.later(), self._lock:
                with reading():
                    new = laid_over(self._own, document, by, endpoints=self._endpoints)
                switches = read_switches(document, self._changing.switchable(new), time.time())
                changed = self._change(new)
                self._document = {key: value for key, value in document.items() if key != SWITCHES}
                self._where = by
        except SettingsError as exc:
            self._reject(exc, by)
            raise
        now = time.monotonic()
        self._changing.say(
            [
                (name, Switch(What(own.what), now + left, by, own.share, own.endpoint, afar=True))
                for name, own, left in switches
            ],
            by,
        )
        self._tell(changed, by)

    @property
    def _endpoints(self) -> bool:
        return self._own.watch is not None and self._own.watch.endpoints

    def _change(self, new: Settings) -> tuple[Change, ...]:
        changed = changes(self.settings, new)
        if changed:
            self._changing.change(new)
            self.settings = new
        return changed

    def _reject(self, error: SettingsError, by: str) -> None:
        self.tally.add("rejected")
        self._hub.announce(ReloadRejected("", by, str(error)))

    def _tell(self, changed: tuple[Change, ...], by: str) -> None:
        if changed:
            self.tally.add("applied")
            self._hub.announce(SettingsReloaded("", by, tuple(map(str, changed))))


def as_settings(settings: Any) -> Settings:
    """The settings that somebody gives, validated.

    Raises:
        SettingsError: Something is wrong.
    """
    if isinstance(settings, Settings):
        return settings
    if settings is None:
        return Settings()
    if isinstance(settings, (str, os.PathLike)):
        return load_settings(settings)
    if not isinstance(settings, Mapping):
        message = f"settings are a mapping, Settings(...) or the path of a file, not {type(settings).__name__}"
        raise SettingsError(message, value=settings)
    return Settings(**{str(key): value for key, value in settings.items()})


def _as_other_settings(settings: Any) -> Settings:
    if settings is None:
        message = "reload() takes all settings, and None is none; an empty file reads like that"
        raise SettingsError(message, value=None)
    return as_settings(settings)
