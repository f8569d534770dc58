"""Page: one document with all that it needs in it: no other file, and nothing of anybody else's, is loaded."""

from __future__ import annotations

import base64
import functools
import hashlib
from html import escape
from importlib.resources import files

SCRIPTS = ("elements.js", "charts.js", "waterfall.js", "rows.js", "dialog.js", "page.js")  # each knows those before it


@functools.cache
def _part(name: str) -> str:
    return files("resilient_http.console").joinpath("assets", name).read_text(encoding="utf-8")


@functools.cache
def _script() -> str:
    return "\n".join(map(_part, SCRIPTS))


@functools.cache
def policy() -> str:
    """What the page may do (Content-Security-Policy, level 3): run its own script, ask its own server, no more."""
    return "; ".join((
        "default-src 'none'", f"script-src {_hash(_script())}", f"style-src {_hash(_part('page.css'))}",
        "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
    ))  # fmt: skip


def page(*, csrf: str = "", acts: bool = True) -> str:
    """The document.

    Args:
        csrf: What it is to send as X-CSRFToken; "" for nothing.
        acts: Whether it offers actions.
    """
    head, _, rest = _part("page.html").partition("<!-- style -->")
    body, _, tail = rest.partition("<!-- script -->")
    body = body.replace("@csrf@", escape(csrf, quote=True)).replace("@acts@", "true" if acts else "false")
    return f"{head}<style>{_part('page.css')}</style>{body}<script>{_script()}</script>{tail}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
