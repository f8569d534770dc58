"""A server that loads the app before it forks: its workers share no connection with it, nor with each other."""

import json
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx

from tests.live.processes import served
from tests.live.servers import FaultServer, answer, gated

GUNICORN = ["gunicorn", "--preload", "--workers", "2", "--bind", "fd://FD", "tests.resilient_http_django.project.wsgi"]


def test_workers_of_a_preloaded_app_share_no_connection():
    all_workers_call = Event()

    def script(request):
        # Each worker handles one request at a time, so two that wait here at once are two workers.
        return answer() if request.target == "/before-fork" else gated(all_workers_call)

    with FaultServer(script) as upstream, served(GUNICORN, environment(upstream)) as server:

        def visit(_):
            return httpx.get(f"{server.url}/sync/charge", timeout=30).json()["pid"]

        with ThreadPoolExecutor(2) as pool:
            first = pool.map(visit, range(2))
            upstream.wait_for_requests(3, timeout=30)
            all_workers_call.set()
            workers = set(first)
            workers |= set(pool.map(visit, range(20)))

        callers = defaultdict(set)
        for request in upstream.requests:
            callers[request.connection].add(int(request.header("X-Pid")))

    before_fork = int(upstream.requests[0].header("X-Pid"))
    assert before_fork == server.process.pid
    assert len(workers) == 2
    assert before_fork not in workers
    # One connection for the master and one for each worker, each used by its own process alone.
    assert sorted(map(sorted, callers.values())) == sorted([[pid] for pid in (before_fork, *workers)])


def environment(upstream):
    settings = {"UPSTREAMS": {"payments": {"ENDPOINTS": [upstream.url], "POOL": {"KEEPALIVE_EXPIRY": 60}}}}
    return {"PROJECT_RESILIENT_HTTP": json.dumps(settings), "PROJECT_CALL_BEFORE_FORK": "yes"}
