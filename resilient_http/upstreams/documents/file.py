"""File: a document in a file, that may be replaced, or be a symbolic link, as Kubernetes' ConfigMaps are.

It is looked at twice a second. With watchfiles (the extra `watch`) the kernel tells sooner of a change, in the folder
of the file and in that of what it leads to. Either way it is read anew every `interval` seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from os.path import realpath
from pathlib import Path
from stat import S_ISREG
from typing import Final

from resilient_http.upstreams.documents.document import MOST
from resilient_http.upstreams.sources.source import SourceFailed

LOOK: Final = 0.5  # seconds
STEP: Final = 100  # milliseconds in which several changes are taken for one


class FileDocument:
    """A document in a file.

    Args:
        path: Of the file.
        interval: Seconds after which it is read anew, whatever was told.
        told: Whether the kernel is asked to tell of changes; None for where that can be had.
    """

    def __init__(self, path: str, interval: float, *, told: bool | None = None) -> None:
        self._path = Path(path)
        self._interval = interval
        self._look = min(LOOK, interval)
        self._told = find_spec("watchfiles") is not None if told is None else told

    def watch(self, stop: threading.Event) -> Iterator[bytes]:
        """What stands in the file, now and after each change."""
        while not stop.is_set():
            # Before it is read: what comes between that and the first wait is a change too.
            folders, seen, until = self._folders(), self._seen(), time.monotonic() + self._interval
            waits = self._changes(folders, stop) if self._told else self._looks(stop)
            yield self._read()
            for told in waits:
                now = self._seen()
                if not told and now == seen and time.monotonic() < until:
                    continue
                seen, until = now, time.monotonic() + self._interval
                yield self._read()
                if self._folders() != folders:
                    break

    def _read(self) -> bytes:
        try:
            if not S_ISREG(self._path.stat().st_mode):  # a pipe would be waited for
                raise SourceFailed("it is no file")
            with self._path.open("rb") as file:
                return file.read(MOST + 1)
        except OSError as exc:
            raise SourceFailed(f"it cannot be read ({type(exc).__name__})") from None

    def _folders(self) -> set[Path]:
        """Where a change may happen: each link on the way is in one."""
        folders, path = set[Path](), self._path.absolute()
        for _ in range(40):  # as many links as Linux follows
            folders.add(_real(path.parent))
            if not path.is_symlink():
                break
            path = path.parent / path.readlink()
        folders.add(_real(self._path).parent)
        return folders

    def _changes(self, folders: set[Path], stop: threading.Event) -> Iterator[object]:
        from watchfiles import watch  # noqa: PLC0415 - an extra, imported only when used

        return watch(
            *sorted(folders),
            watch_filter=None,
            debounce=2 * STEP,
            step=STEP,
            stop_event=stop,
            rust_timeout=round(1000 * self._look),
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        )

    def _looks(self, stop: threading.Event) -> Iterator[object]:
        while not stop.wait(self._look):
            yield None

    def _seen(self) -> tuple[int, ...] | None:
        """What differs when somebody else's content stands there."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _real(path: Path) -> Path:
    """Where it leads to. Path.resolve() raises for links that go in a circle."""
    return Path(realpath(path))
