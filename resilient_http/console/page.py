"""Page: one document with all that it needs in it: no other file, and nothing of anybody else's, is loaded."""

from __future__ import annotations

import base64
import functools
import hashlib
from html import escape
from importlib.resources import files

HERE = files("resilient_http.console")


@functools.cache
def _part(name: str) -> str:
    return HERE.joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


STYLE, SCRIPT = _part("page.css"), _part("page.js")
POLICY = "; ".join((
    "default-src 'none'", f"script-src {_hash(SCRIPT)}", f"style-src {_hash(STYLE)}", "connect-src 'self'",
    "img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
))  # fmt: skip
"""What the page may do (Content-Security-Policy, level 3): run this script alone, ask its own server alone."""


def page(*, csrf: str = "", acts: bool = True) -> str:
    """The document.

    Args:
        csrf: What it is to send as X-CSRFToken; "" for nothing.
        acts: Whether it offers actions.
    """
    head, _, tail = _part("page.html").partition("<!-- script -->")
    before, _, after = head.partition("<!-- style -->")
    values = {"@csrf@": escape(csrf, quote=True), "@acts@": "true" if acts else "false"}
    for name, value in values.items():
        after = after.replace(name, value)
    return f"{before}<style>{STYLE}</style>{after}<script>{SCRIPT}</script>{tail}"
