"""Templates: names of routes, as `GET /charges/{id}`: a method, or `*` for any, and the path as it is sent.

`{name}` stands for one segment that is not empty, a `*` at the end for whatever follows; anything else for itself. A
template is a name of low cardinality: telemetry may use it where a path could not be used.

Of several templates that fit, the most specific one wins: compared segment by segment from the left, a literal one
comes before `{name}`, and that before `*`; then a method comes before any method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

ANY_METHOD = "*"
WRITTEN = re.compile(r"(\*|[A-Z][A-Z-]*) (/\S*)")
PLACEHOLDER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
SENT_AS_IT_IS = "/%:@!$&'()*+,;=~"  # RFC 3986, section 3.3: what may stand in a path, and what is encoded already
LITERAL, ONE, REST = range(3)


@dataclass(frozen=True, slots=True)
class Template:
    """A template, taken apart.

    Attributes:
        text: As it was written.
        method: The method, or "*".
        kinds: What each of its segments is; the lower, the more specific.
        pattern: A regular expression, without groups, of the paths that fit.
    """

    text: str
    method: str
    kinds: tuple[int, ...]
    pattern: str

    @property
    def rank(self) -> tuple[tuple[int, ...], bool]:
        """Sorts the most specific one first."""
        return self.kinds, self.method == ANY_METHOD


def parse_template(text: str) -> Template:
    """A template, taken apart.

    Raises:
        ValueError: It is none.
    """
    written = WRITTEN.fullmatch(text)
    if written is None or "?" in text or "#" in text:
        message = "a route is a method, or *, and a path, like GET /charges/{id}"
        raise ValueError(message)
    method, path = written.groups()
    segments = path[1:].split("/")
    kinds: list[int] = []
    patterns: list[str] = []
    for position, segment in enumerate(segments):
        kind, pattern = _segment(segment, last=position == len(segments) - 1)
        kinds.append(kind)
        patterns.append(pattern)
    return Template(text, method, tuple(kinds), "/" + "/".join(patterns))


def check_templates(texts: Iterable[str]) -> None:
    """Refuse templates that fit the same requests and of which none is more specific.

    Raises:
        ValueError: There are such.
    """
    seen: dict[tuple[str, str], str] = {}
    for text in texts:
        template = parse_template(text)
        other = seen.setdefault((template.method, template.pattern), text)
        if other != text:
            message = f"{other} and {text} fit the same requests; leave one out"
            raise ValueError(message)


def _segment(segment: str, *, last: bool) -> tuple[int, str]:
    if PLACEHOLDER.fullmatch(segment):
        return ONE, "[^/]+"
    if segment == "*" and last:
        return REST, ".*"
    if "{" in segment or "}" in segment or "*" in segment:
        message = f"{segment}: a segment is a text, a {{name}}, or a * at the end"
        raise ValueError(message)
    return LITERAL, re.escape(quote(segment, safe=SENT_AS_IT_IS))
