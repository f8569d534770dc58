"""A process with the real Sentry SDK, which sends real envelopes: it patches httpx for good, so it runs by itself.

    python -m tests.telemetry.sentry_process httpx sync SENTRY INBOUND NODE [NODE ...]

Writes what each call ended with, as JSON. INBOUND is "" for calls that no inbound request has a trace for.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import sentry_sdk

from resilient_http import Scope, deadline, enter_scope
from tests.live.callers import Caller

SECRET = "hunter2"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def set_up(sentry: str) -> None:
    """As docs/observe.md says."""
    os.environ["SENTRY_DSN"] = sentry.replace("http://", "http://key@") + "/1"
    page = (Path(__file__).parent.parent.parent / "docs/observe.md").read_text()
    (example,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "sentry_sdk.init" in each]
    exec(compile(example, "docs/observe.md", "exec"), {})


def main(library: str, kind: str, sentry: str, inbound: str, *nodes: str) -> None:
    set_up(sentry)
    caller, told = Caller(kind, library), []
    quick = {"backoff": {"base": 0.001, "throttled_base": 0.001}}
    own = {"retry": quick, "timeout": {"total": 0.5}, "circuit": None}
    names = ("payments", "partner", "silent")
    upstreams = {name: {"endpoints": [url], **own} for name, url in zip(names, nodes, strict=False)}
    upstreams["payments"]["propagate"] = "all"
    if "silent" in upstreams:
        upstreams["silent"]["propagate"] = "none"
    settings = {
        "upstreams": upstreams,
        "chaos": {"allowed": ["payments"], "key": f"{SECRET}-of-the-settings"},
    }
    resilience = caller.resilience(settings)

    async def body(client):
        for name in upstreams:
            try:
                response = await client.get(f"http://{name}/charges?card={SECRET}", headers={"x-api-key": SECRET})
                told.append(response.status_code)
            except Exception as exc:  # noqa: BLE001 - it is what the test asks for
                sentry_sdk.capture_exception(exc)
                told.append(type(exc).__name__)
        plain = await client.get("http://payments/plain")
        told.append(plain.status_code)

    scope = Scope(None, (("traceparent", PARENT), ("baggage", "user=7"))) if inbound else Scope()
    with sentry_sdk.start_transaction(name="checkout"), enter_scope(scope), deadline(9.0):
        caller.run(resilience, body)
        sentry_sdk.capture_message("done")  # with what it has noted till then
    sentry_sdk.flush(5.0)
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
