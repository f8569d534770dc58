"""Screenshot: the live page as Chromium shows it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = (1200, 1100)  # pixels
SHORT = "/tmp"  # a directory of its own is made there
LEAVES = 5.0  # seconds in which Chromium has ended
WAIT = 15.0  # seconds until the page has heard of its service


async def screenshot(url: str, path: Path) -> str | None:
    """Take a picture of the live page, once it has heard of its service.

    Args:
        url: Its address.
        path: Where the picture goes: a PNG.

    Returns:
        None, or why there is none.
    """
    commands = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in commands:
        return "there is no Chromium here (Debian's chromium and chromium-driver)"
    browser, driver = map(str, commands)
    return await asyncio.to_thread(_taken, url, path, browser, driver)


def _taken(url: str, path: Path, browser: str, driver: str) -> str | None:
    # Whatever TMPDIR says: Chromium makes a socket in it, and the path of one is at most 107 bytes long.
    directory = Path(tempfile.mkdtemp(prefix="resilient-http-page-", dir=SHORT))
    try:
        return _take(url, path, browser, driver, directory)
    finally:
        until = time.monotonic() + LEAVES
        while directory.exists() and time.monotonic() < until:
            shutil.rmtree(directory, ignore_errors=True)
            time.sleep(0.05)


def _take(url: str, path: Path, browser: str, driver: str, directory: Path) -> str | None:
    from selenium.common import WebDriverException  # noqa: PLC0415 - the demo starts quicker without
    from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415
    from selenium.webdriver.common.by import By  # noqa: PLC0415
    from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415

    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={directory / 'chromium'}"):
        options.add_argument(flag)
    try:
        with Chrome(options=options, service=Service(driver, env={**os.environ, "TMPDIR": str(directory)})) as chrome:
            chrome.set_window_size(*SIZE)
            chrome.get(url)
            connection = chrome.find_element(By.ID, "connection")
            WebDriverWait(chrome, WAIT).until(lambda _: connection.text == "live")
            chrome.save_screenshot(str(path))
    except WebDriverException as exc:
        return f"Chromium says: {exc.msg or type(exc).__name__}"
    return None
