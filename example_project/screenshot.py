"""Screenshot: the live page as Chromium shows it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SIZE = (1200, 1100)  # pixels
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
    with tempfile.TemporaryDirectory(prefix="resilient-http-demo-", ignore_cleanup_errors=True) as profile:
        return await asyncio.to_thread(_take, url, path, browser, driver, profile)


def _take(url: str, path: Path, browser: str, driver: str, profile: str) -> str | None:
    from selenium.common import WebDriverException  # noqa: PLC0415 - the demo starts quicker without
    from selenium.webdriver import Chrome, ChromeOptions  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415
    from selenium.webdriver.common.by import By  # noqa: PLC0415
    from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415

    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    try:
        with Chrome(options=options, service=Service(driver)) as chrome:
            chrome.set_window_size(*SIZE)
            chrome.get(url)
            connection = chrome.find_element(By.ID, "connection")
            WebDriverWait(chrome, WAIT).until(lambda _: connection.text == "live")
            chrome.save_screenshot(str(path))
    except WebDriverException as exc:
        return f"Chromium says: {exc.msg or type(exc).__name__}"
    return None
