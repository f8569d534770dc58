"""Transactions: whether a call is made inside `transaction.atomic()`, and by which view."""

from __future__ import annotations

from typing import Any

from django.db import connections

from resilient_http_django.clients import handled


def in_transaction() -> tuple[str, str] | None:
    """Which view has which transaction open in this thread, or None. Opens no connection.

    Those that Django's TestCase wraps around every test are none.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block and not all(map(_is_of_a_test, connection.atomic_blocks)):
            return _view(), _named(connection)
    return None


def _is_of_a_test(block: Any) -> bool:
    return bool(getattr(block, "_from_testcase", False))  # private; a test tells if it goes


def _named(connection: Any) -> str:
    by = ", by ATOMIC_REQUESTS or transaction.atomic()" if connection.settings_dict["ATOMIC_REQUESTS"] else ""
    return f"{connection.alias}{by}"


def _view() -> str:
    state = handled.get()
    view: Any = None if state is None else state.view
    if view is None:
        return ""
    view = getattr(view, "view_class", None) or getattr(view, "cls", None) or view  # of as_view()'s; REST framework's
    name = getattr(view, "__qualname__", type(view).__qualname__)
    return f"view {view.__module__}.{name}"
