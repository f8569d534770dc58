"""Screen: lines for the terminal, and one that changes while an act goes on. Colours and changes only on a terminal."""

from __future__ import annotations

import os
import shutil
import sys

BOLD, GREEN, RED, DIM = "1", "32", "31", "2"


class Screen:
    """Where the story is told."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._unfinished = False

    def line(self, text: str = "") -> None:
        """A line that stays."""
        self._clear()
        print(text, flush=True)

    def progress(self, text: str) -> None:
        """A line that the next one replaces; nothing when nobody is watching."""
        if not self._is_terminal:
            return
        self._clear()
        print(text[: shutil.get_terminal_size().columns - 1], end="", flush=True)
        self._unfinished = True

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour, on a terminal."""
        return f"\033[{colour}m{text}\033[0m" if self._is_terminal and "NO_COLOR" not in os.environ else text

    def _clear(self) -> None:
        if self._unfinished:
            print("\r\033[K", end="")
            self._unfinished = False
