"""What a client for each inbound request costs, beside a bare httpx client over a transport that is there already.

All contenders only make a client; nobody calls with it. Rounds are interleaved: each contender runs in each round. The
table shows medians over the rounds, of this process's CPU time.

    python benchmarks/request_client.py
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import django
import httpx
from django.conf import settings
from django.http import HttpRequest
from harness.command import parse, parser
from harness.picture import Panel
from harness.report import Report, Table
from harness.rounds import microseconds, ratio, run_sync

GOAL = 1.0  # times the bare client
DOES_NOT_SHOW = (
    "Calls: nobody calls with these clients, and closing them costs nothing, as they share one transport.",
    "The rest of a request: the framework's own middleware and dependencies cost more than these clients.",
)
HEADERS = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "x-envoy-expected-rq-timeout-ms": "2000",
    "user-agent": "python-httpx/0.28.1",
    "accept": "application/json",
}
UPSTREAMS = {"payments": {"endpoints": ["http://10.0.0.1:8080"]}}

settings.configure(RESILIENT_HTTP={"upstreams": UPSTREAMS})
django.setup()

# Django's settings have to be there first.
from resilient_http_django import get_async_client, get_client, get_resilience  # noqa: E402
from resilient_http_django.clients import ATTRIBUTE, state_of  # noqa: E402
from resilient_http_fastapi.middleware import RequestState  # noqa: E402

Make = Callable[[], object]
OWN = {"X-Tenant": "blue"}


def sync_contenders() -> dict[str, Make]:
    transport, request, resilience = get_resilience().transport(), django_request(), get_resilience()
    bounds = state_of(request).scope
    return {
        "httpx.Client(transport=...)": lambda: httpx.Client(transport=transport),
        "resilience.client(scope=...)": lambda: resilience.client(scope=bounds),
        "resilience.client(headers=..., timeout=...)": lambda: resilience.client(headers=OWN, timeout=2.0),
        "Django: get_client(request)": lambda: get_client(anew(request)),
        "FastAPI: get_sync_client": lambda: RequestState(resilience, bounds).client(),
    }


def async_contenders() -> dict[str, Make]:
    transport, request, resilience = get_resilience().async_transport(), django_request(), get_resilience()
    bounds = state_of(request).scope
    return {
        "httpx.AsyncClient(transport=...)": lambda: httpx.AsyncClient(transport=transport),
        "resilience.async_client(scope=...)": lambda: resilience.async_client(scope=bounds),
        "resilience.async_client(headers=..., timeout=...)": lambda: resilience.async_client(headers=OWN, timeout=2.0),
        "Django: get_async_client(request)": lambda: get_async_client(anew(request)),
        "FastAPI: get_client": lambda: RequestState(resilience, bounds).async_client(),
    }


def django_request() -> HttpRequest:
    request = HttpRequest()
    request.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()}
    return request


def anew(request: HttpRequest) -> HttpRequest:
    """The same request, as the middleware hands it on: with its scope, without a client."""
    state_of(request).clients.clear()
    return request


def without_scope(request: HttpRequest) -> HttpRequest:
    """The same request, as it comes to the middleware."""
    vars(request).pop(ATTRIBUTE, None)
    return request


def show(report: Report, kind: str, times: dict[str, list[float]]) -> None:
    bare = next(iter(times.values()))
    rows = [(name, statistics.median(own), ratio(own, bare)) for name, own in times.items()]
    report.table(Table(kind, [("µs per client", ".1f"), ("ratio", ".2f")], rows))
    report.goal(f"{kind}: times the bare client, the dearest one", max(worst for _, _, worst in rows[1:]), most=GOAL)
    report.raw[kind] = times
    series = {name: (range(1, len(own) + 1), sorted(own)) for name, own in times.items()}
    report.panels.append(Panel(kind, "rounds, the fastest first", "µs per client", series))


def main() -> None:
    own = parser(__doc__ or "")
    own.add_argument("--rounds", type=int, default=21, help="each contender runs once in each (default: 21)")
    own.add_argument("--clients", type=int, default=500, help="per contender and round (default: 500)")
    options = parse(own, {"rounds": 2, "clients": 20})
    report = Report(
        "request_client",
        "What does a client for each inbound request cost, beside a bare httpx client over a transport that is "
        "there already?",
        options,
        method=f"CPU time; medians of {options.rounds} interleaved rounds of {options.clients} clients",
        does_not_show=DOES_NOT_SHOW,
        packages=["django", "fastapi"],
    )

    def measure(contenders: dict[str, Make]) -> dict[str, list[float]]:
        return microseconds(contenders, options.rounds, options.clients, run_sync)

    show(report, "sync", measure(sync_contenders()))
    show(report, "async", measure(async_contenders()))
    request: Any = django_request()
    taken = measure({"scope": lambda: state_of(without_scope(request))})["scope"]
    row = ("the request's scope, from its headers", statistics.median(taken))
    report.table(Table("beside it, the middleware makes", [("µs", ".1f")], [row]))
    report.finish()


if __name__ == "__main__":
    main()
