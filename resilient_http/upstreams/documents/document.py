"""Document: what a source gives, read as settings that are laid over others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from resilient_http.errors import SettingsError
from resilient_http.settings.files import READERS, SCHEMA, switched_off
from resilient_http.settings.models import Settings
from resilient_http.upstreams.sources.source import SourceFailed

MOST: Final = 1_000_000  # characters


def read_document(said: Any, written: str) -> dict[str, Any]:
    """The document; nothing where there is none.

    Args:
        said: A text, a mapping, or None.
        written: How a text is: "json", "toml" or "yaml".

    Raises:
        SettingsError: It is no document. What stands in it is not shown.
        SourceFailed: It is empty, as a file is that is about to be written.
    """
    if said is None:
        return {}
    if isinstance(said, (bytes, bytearray)):
        said = bytes(said).decode("utf-8", "replace")
    if isinstance(said, str):
        if not said.strip():
            raise SourceFailed("it is empty")
        said = _parsed(said, written)
    if not isinstance(said, Mapping):
        raise SettingsError(f"a mapping of settings is needed, not {type(said).__name__}")
    return {str(key): value for key, value in said.items() if key != SCHEMA}


def _parsed(text: str, written: str) -> Any:
    if len(text) > MOST:
        raise SettingsError(f"a document of more than {MOST} characters")
    try:
        return switched_off(READERS[f".{written}"](text), Settings)
    except (ValueError, RecursionError) as exc:
        at = getattr(exc, "lineno", None)
        line = "" if at is None else f" (line {at})"
        raise SettingsError(f"this is no {written.upper()}{line}") from None
