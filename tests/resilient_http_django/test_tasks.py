"""Tasks of Django's own (6.0) are not cut with the request that enqueued them."""

import importlib.util

import pytest
from asgiref.sync import async_to_sync

from resilient_http import Cancellation, Scope, enter_scope
from resilient_http.scope import Deadline, current_scope

if importlib.util.find_spec("django.tasks") is None:
    pytest.skip("this Django has no tasks", allow_module_level=True)

from django.tasks import task

HEADERS = (("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)
seen = []


@task
def note():
    seen.append(current_scope())


@task
async def note_async():
    seen.append(current_scope())


@task
def fail():
    seen.append(current_scope())
    raise RuntimeError("as tasks do")


@task
def enqueue_another():
    note.enqueue()
    seen.append(current_scope())


@pytest.fixture(autouse=True)
def _in_the_process(settings):
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}
    seen.clear()


def spent_scope():
    return Scope(Deadline(0.0, 1.0), HEADERS, cancellation=Cancellation())


@pytest.mark.parametrize("work", [note, note_async, fail, enqueue_another], ids=lambda work: work.name)
def test_a_task_is_detached_and_keeps_the_trace(work):
    scope = spent_scope()

    with enter_scope(scope):
        work.enqueue()
        after = current_scope()

    assert seen
    assert all((own.deadline, own.cancellation, own.headers) == (None, None, HEADERS) for own in seen)
    assert after is scope


def test_a_task_that_async_code_enqueues_is_detached_too():
    scope = spent_scope()

    async def view():
        with enter_scope(scope):
            await note.aenqueue()
            return current_scope()

    assert async_to_sync(view)() is scope
    assert [own.deadline for own in seen] == [None]
