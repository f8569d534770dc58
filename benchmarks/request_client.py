"""What a client for each inbound request costs, beside a bare httpx client over a transport that is there already.

All contenders only make a client; nobody calls with it. Rounds are interleaved: each contender runs in each round. The
table shows medians over the rounds, of this process's CPU time.

    python benchmarks/request_client.py
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import django
import httpx
from django.conf import settings
from django.http import HttpRequest

GOAL = 1.0  # times the bare client
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


def sync_contenders() -> dict[str, Make]:
    transport, request, resilience = get_resilience().transport(), django_request(), get_resilience()
    bounds = state_of(request).scope
    return {
        "httpx.Client(transport=...)": lambda: httpx.Client(transport=transport),
        "resilience.client(scope=...)": lambda: resilience.client(scope=bounds),
        "Django: get_client(request)": lambda: get_client(anew(request)),
        "FastAPI: get_sync_client": lambda: RequestState(resilience, bounds).client(),
    }


def async_contenders() -> dict[str, Make]:
    transport, request, resilience = get_resilience().async_transport(), django_request(), get_resilience()
    bounds = state_of(request).scope
    return {
        "httpx.AsyncClient(transport=...)": lambda: httpx.AsyncClient(transport=transport),
        "resilience.async_client(scope=...)": lambda: resilience.async_client(scope=bounds),
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


def measure(contenders: dict[str, Make], rounds: int, clients: int) -> dict[str, list[float]]:
    """Microseconds per client of each contender in each round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for make in contenders.values():
        run(make, clients)
    for _ in range(rounds):
        for name, make in contenders.items():
            gc.collect()
            times[name].append(run(make, clients) / clients * 1e6)
    return times


def run(make: Make, clients: int) -> float:
    started = time.process_time()
    for _ in range(clients):
        make()
    return time.process_time() - started


def print_table(kind: str, times: dict[str, list[float]]) -> None:
    print(f"{kind:<40}{'µs per client':>14}{'ratio':>8}")
    bare = next(iter(times.values()))
    worst = 0.0
    for name, own in times.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(own, bare, strict=True))
        worst = max(worst, ratio)
        print(f"{name:<40}{statistics.median(own):>14.1f}{ratio:>8.2f}")
    print(f"at most {GOAL:g} times the bare client: {'kept' if worst <= GOAL else 'MISSED'}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="What a client for each inbound request costs.")
    parser.add_argument("--rounds", type=int, default=21, help="each contender runs once in each (default: 21)")
    parser.add_argument("--clients", type=int, default=500, help="per contender and round (default: 500)")
    options = parser.parse_args()

    print(f"{platform.python_implementation()} {platform.python_version()}, httpx {httpx.__version__}")
    print(f"medians of {options.rounds} interleaved rounds of {options.clients} clients\n")
    print_table("sync", measure(sync_contenders(), options.rounds, options.clients))
    print_table("async", measure(async_contenders(), options.rounds, options.clients))

    request: Any = django_request()
    taken = measure({"scope": lambda: state_of(without_scope(request))}, options.rounds, options.clients)["scope"]
    print(f"Beside it, the middleware makes the request's scope from its headers: {statistics.median(taken):.1f} µs")


if __name__ == "__main__":
    main()
