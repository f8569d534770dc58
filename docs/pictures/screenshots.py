"""Take the pictures of docs/live-page.md: the page in Chromium, of a service whose upstreams have a bad minute.

make screenshots        a minute and a half; needs chromium and chromium-driver
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from resilient_http_fastapi import ResilientHttpMiddleware, dashboard
from tests.live.browser import Browser, find_chromium

HERE = Path(__file__).parent / "live-page"
RUNS = 62.0  # seconds: the charts are full then
QUIET = 40.0  # seconds until payments fails
COLORS = 256
LARGEST = 150_000  # bytes of a picture
NAMES = ("accounts", "catalogue", "images", "mail", "payments", "prices", "reviews", "search", "stock", "tax")
SETTINGS = {
    "console": {"span": 60.0},
    "upstreams": {
        name: {
            "endpoints": [f"http://{name}-{node}.internal:8080" for node in (1, 2, 3)],
            "timeout": {"total": 2.0, "attempt": 0.6},
            "hedge": {"delay": 0.15} if name == "search" else None,
        }
        for name in NAMES
    },
}


def main() -> None:
    commands = find_chromium()
    if commands is None:
        sys.exit("chromium is missing; install it with: apt-get install chromium chromium-driver")
    HERE.mkdir(exist_ok=True)
    with served() as url, tempfile.TemporaryDirectory() as profile, Browser(commands, Path(profile)) as browser:
        time.sleep(RUNS)
        browser.open(f"{url}/resilience/")
        browser.until(lambda: browser.text("#connection") == "live", "the page is live")
        take(browser, "page", 900)
        browser.find("#rows summary").click()
        take(browser, "upstream", 900)
        browser.run("document.querySelector('#rows summary').click(); window.scrollTo(0, 0)")
        browser.find("#pause").click()
        browser.run("document.querySelectorAll('#calls details')[arguments[0]].open = true", longest(browser))
        browser.screen(1180, 420, mobile=False)
        browser.until(lambda: browser.all("#calls .waterfall"), "it is drawn")
        browser.run("document.querySelector('#calls details[open]').scrollIntoView()")
        take(browser, "call", 420)
        browser.find("#pause").click()
        browser.run("window.scrollTo(0, 0); document.querySelector('#calls details[open]').open = false")
        browser.prefers(color_scheme="dark")
        browser.phone()
        browser.run("document.querySelector('#rows summary').click()")
        take(browser, "phone", 844, width=390)


def longest(browser: Browser) -> int:
    """The position of the longest of the calls that were tried most often."""
    calls = browser.run("return state.top.degraded.map((each) => [each.attempts.length, each.took])")
    return int(calls.index(max(calls)))


def take(browser: Browser, name: str, height: int, *, width: int = 1180) -> None:
    browser.screen(width, height, mobile=width < 500)
    time.sleep(1.5)
    path = HERE / f"{name}.png"
    browser.picture(path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLORS).save(path, optimize=True)
    size = path.stat().st_size
    if size > LARGEST:
        sys.exit(f"{path} has {size} bytes, more than {LARGEST}")
    print(f"wrote {path}, {size} bytes", flush=True)


@contextlib.contextmanager
def served() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(service(), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Upstreams:
    """They answer; after a while payments does not, and search is slow now and then."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        host, chance = request.url.host, random.random()
        await asyncio.sleep(random.lognormvariate(-3.6, 0.5))
        if host == "search" and chance < 0.03:
            await asyncio.sleep(0.4)
        if host == "payments" and time.monotonic() - self.begun > QUIET and chance < 0.55:
            await asyncio.sleep(1.0 if chance < 0.28 else 0.0)
            return httpx.Response(503)
        return httpx.Response(503 if host == "mail" and chance < 0.01 else 200)


def service() -> FastAPI:
    async def call(client: httpx.AsyncClient, name: str) -> None:
        with contextlib.suppress(httpx.HTTPError):
            await client.get(f"http://{name}/")

    async def load() -> None:
        while not hasattr(app.state, "resilient_http"):  # noqa: ASYNC110 - it is made with the first request
            await asyncio.sleep(0.05)
        made = app.state.resilient_http.async_client(transport=httpx.MockTransport(Upstreams()))
        async with made as client, asyncio.TaskGroup() as tasks:
            while True:
                for number, name in enumerate(NAMES):
                    if random.random() < 0.15 + 0.05 * number:
                        tasks.create_task(call(client, name))
                await asyncio.sleep(0.06)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(load())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = FastAPI(debug=True, lifespan=lifespan)
    app.add_middleware(ResilientHttpMiddleware, settings=SETTINGS)
    dashboard(app)
    return app


if __name__ == "__main__":
    random.seed(7)
    main()
