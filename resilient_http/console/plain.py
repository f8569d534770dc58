"""Plain: texts of others as a terminal or a log may have them: what is not printable would be obeyed there."""

from __future__ import annotations

from typing import Any

from resilient_http.journal import visible


def plain(told: Any) -> Any:
    """The same JSON, in which each text, keys too, has escapes for what is not printable: ESC, line breaks."""
    if isinstance(told, str):
        return visible(told)
    if isinstance(told, list):
        return [plain(each) for each in told]
    if isinstance(told, dict):
        return {plain(key): plain(value) for key, value in told.items()}
    return told
