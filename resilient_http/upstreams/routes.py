"""Routes: which template a request fits; see settings/templates.py for what templates mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from resilient_http.settings.templates import ANY_METHOD, Template, parse_template


class RouteTable:
    """Finds the most specific template for a request, in one step however many there are. Immutable.

    Args:
        templates: As they were written; no two of them fit the same requests.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        parsed = sorted(map(parse_template, templates), key=lambda template: template.rank)
        methods = {template.method for template in parsed} | {ANY_METHOD}
        self._tables = {
            method: _Table([each for each in parsed if each.method in {method, ANY_METHOD}]) for method in methods
        }

    def find(self, method: str, raw_path: bytes) -> str | None:
        """The template as it was written, or None where none fits.

        Args:
            method: Of the request.
            raw_path: The path as it is sent; a query is no part of it.
        """
        table = self._tables.get(method)
        return (table or self._tables[ANY_METHOD]).find(raw_path.partition(b"?")[0])


class _Table:
    """The templates for one method, the most specific first, as one expression with a group for each."""

    def __init__(self, templates: Sequence[Template]) -> None:
        self._texts = [template.text for template in templates]
        pattern = "|".join(f"({template.pattern})" for template in templates)
        self._fits = re.compile((pattern or "(?!)").encode("ascii"), re.DOTALL).fullmatch

    def find(self, path: bytes) -> str | None:
        found = self._fits(path)
        return None if found is None or found.lastindex is None else self._texts[found.lastindex - 1]
