"""Changes: what differs between two settings, for people; and what cannot change while a process runs.

Secrets are shown as ***; a function by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr

from resilient_http.errors import SettingsError, SettingsMistake, all_told
from resilient_http.settings.keys import ANEW, reloads
from resilient_http.settings.models import Settings
from resilient_http.settings.validation import Model

FIXED = tuple(name for name, reload in reloads(Settings).items() if reload == ANEW)
"""What the connections and threads of a process are made of, and who looks on."""

ABSENT: Final = "(none)"
ON: Final = "on"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs.

    Attributes:
        path: Where it stands: upstreams.payments.timeout.total.
        old: Its value before, as a person would write it; "(none)" where there was nothing, "on" for what had settings
            of its own, and is switched off now.
        new: Its value now, in the same way.
    """

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def changes(old: Settings, new: Settings) -> tuple[Change, ...]:
    """What differs, in the order of the settings."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    paths = [*before, *(path for path in after if path not in before)]
    return tuple(
        Change(path, _told(path, before), _told(path, after))
        for path in paths
        if before.get(path, ABSENT) != after.get(path, ABSENT)
    )


def check_reloadable(old: Settings, new: Settings) -> None:
    """Refuse what needs a new process.

    Raises:
        SettingsError: It names each such setting.
    """
    message = "cannot change while the process runs; start it anew"
    mistakes = tuple(SettingsMistake((key,), message) for key in FIXED if getattr(old, key) != getattr(new, key))
    if mistakes:
        raise SettingsError(all_told(mistakes), path=mistakes[0].path[0], mistakes=mistakes)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Model):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, tuple) and value and isinstance(value[0], Model) and hasattr(value[0], "url"):
        for each in value:  # endpoints are known by their URL, not by their place
            yield from _leaves(each, f"{path}[{each.url}]")
    else:
        yield path, value


def _told(path: str, leaves: Mapping[str, Any]) -> str:
    if path not in leaves:
        return ON if any(other.startswith(f"{path}.") for other in leaves) else ABSENT
    value = leaves[path]
    if path.endswith(".discovery.source") and not isinstance(value, (str, type, type(None))):
        value = type(value)  # an object of the user's may show what it holds
    return _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "***"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, Model):
        return "{" + ", ".join(f"{key}: {_shown(each)}" for key, each in value if each is not None) + "}"
    text = "none" if value is None else str(value)
    return text.lower() if isinstance(value, bool) else text
