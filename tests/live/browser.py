"""A real Chromium without a window, driven by Selenium."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

WITHIN = 40.0  # seconds
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_chromium() -> tuple[str, str] | None:
    """The paths of the browser and of what drives it."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return None if browser is None or driver is None else (browser, driver)


class Browser:
    """One running Chromium.

    Args:
        commands: Of find_chromium().
        profile: A directory of its own.

    Attributes:
        driver: Selenium's.
    """

    def __init__(self, commands: tuple[str, str], profile: Path) -> None:
        options = ChromeOptions()
        options.binary_location, driver = commands
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = Chrome(options=options, service=Service(driver))
        self.wide()

    def wide(self) -> None:
        """As on a desk."""
        self.screen(1280, 900, mobile=False)

    def phone(self) -> None:
        """As on a phone."""
        self.screen(390, 844, mobile=True)

    def screen(self, width: int, height: int, *, mobile: bool) -> None:
        """Of that size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefers(self, **features: str) -> None:
        """What its user prefers, as color_scheme="dark"."""
        told = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})

    def open(self, url: str) -> None:
        """Go there."""
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; what it returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """The first element of a CSS selector; waited for, as a page makes some of its parts when they are opened."""
        return self.until(lambda: self.all(selector), selector)[0]

    def all(self, selector: str) -> list[Any]:
        """All of them."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        """What it says, also where it is out of sight."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def until(self, true: Callable[[], Any], what: str) -> Any:
        """Wait for it; gives what it gives."""
        return WebDriverWait(self.driver, WITHIN, 0.05).until(lambda _: true(), f"{what} within {WITHIN:g} s")

    def complaints(self) -> list[str]:
        """What the browser has logged since it was asked last: errors, what the policy of the page has refused."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def picture(self, path: Path) -> None:
        """Write what is on the screen to a PNG."""
        self.driver.save_screenshot(str(path))

    def close(self) -> None:
        """End it."""
        self.driver.quit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
