"""Tasks: work of django.tasks is not cut with the request that enqueued it.

The immediate backend runs a task inside the request, in its context: under its deadline, and cancelled with it. So
while a task runs, it is detached; each of its calls still has its own `timeout.total`, and the trace goes on.
"""

from __future__ import annotations

from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

from resilient_http import detached

_running: ContextVar[tuple[Any, ...]] = ContextVar("resilient_http_django.tasks", default=())


def detach_tasks() -> None:
    """Have tasks run detached, where Django has them (6.0)."""
    if find_spec("django.tasks") is None:
        return
    from django.tasks import signals  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 - not in 5.2

    signals.task_started.connect(_begin, dispatch_uid="resilient_http_django.tasks")
    signals.task_finished.connect(_end, dispatch_uid="resilient_http_django.tasks")


def _begin(**_: Any) -> None:
    scope = detached()
    scope.__enter__()
    _running.set((*_running.get(), scope))


def _end(**_: Any) -> None:
    running = _running.get()
    if running:
        _running.set(running[:-1])
        running[-1].__exit__(None, None, None)
