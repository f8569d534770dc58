"""Document: what a source gives, read as settings that are laid over others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from resilient_http.errors import SettingsError
from resilient_http.settings.files import READERS, SCHEMA, switched_off
from resilient_http.settings.models import Settings
from resilient_http.settings.validation import TOO_DEEP
from resilient_http.upstreams.sources.source import SourceFailed

MOST: Final = 1_000_000  # bytes
PLACE: Final = re.compile(r"line \d+(,? column \d+)?")  # in the messages of parsers, which show what stands there


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
    if isinstance(said, (str, bytes, bytearray)):
        said = _decoded(said.encode("utf-8", "surrogatepass") if isinstance(said, str) else bytes(said))
        if not said.strip():
            raise SourceFailed("it is empty")
        said = _parsed(said, written)
    if not isinstance(said, Mapping):
        raise SettingsError(f"a mapping of settings is needed, not {type(said).__name__}")
    return {str(key): value for key, value in said.items() if key != SCHEMA}


def _parsed(text: str, written: str) -> Any:
    try:
        return switched_off(READERS[f".{written}"](text), Settings)
    except ValueError as exc:
        twice = ": a key is given twice" if "is given twice" in str(exc) else ""
        at = PLACE.search(str(exc))
        place = "" if at is None else f" ({at[0]})"
        raise SettingsError(f"this is no {written.upper()}{twice}{place}") from None
    except RecursionError:
        raise SettingsError(f"this is {TOO_DEEP}") from None


def _decoded(content: bytes) -> str:
    if len(content) > MOST:
        raise SettingsError(f"a document of more than {MOST} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise SettingsError(f"this is no UTF-8 (at byte {exc.start})") from None
