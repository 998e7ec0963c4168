"""Debian's Chromium, headless, driven by selenium: what a person sees of a page, and pictures.

    with Browser(folder) as browser:
        browser.open(f"{url}/assets")
        browser.wait_text(lambda text: "Materialized" in text)
        browser.picture(artefacts / "assets.png")

Everything it writes lies in `folder`.  It resolves no name and talks to 127.0.0.1 alone.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from selenium.webdriver import Remote
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.proxy import Proxy, ProxyType
from selenium.webdriver.remote.client_config import ClientConfig

CHROMIUM = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"
WAIT_S = 60.0
WINDOW = (1600, 1000)
_ARGUMENTS = (
    "--headless=new",
    # Root and containers cannot have Chromium's sandbox; it opens our own pages alone.
    "--no-sandbox",
    "--disable-dev-shm-usage",  # 64 MB in a container
    "--disable-gpu",
    "--force-device-scale-factor=1",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_OWN_SCHEMES = ("", "about", "blob", "chrome", "data", "devtools")


class Browser:
    """One window with a profile of its own; `folder` is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._driver: Any = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        home = os.environ | {"HOME": str(self._folder), "XDG_CONFIG_HOME": str(self._folder)}
        service = Service(DRIVER, env=home, log_output=str(self._folder / "driver.log"))
        with ExitStack() as stack:
            service.start()
            stack.callback(service.stop)
            address = ClientConfig(
                service.service_url, proxy=Proxy({"proxyType": ProxyType.DIRECT})
            )
            self._driver = Remote(
                service.service_url, options=self._options(), client_config=address
            )
            stack.callback(self._driver.quit)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def open(self, url: str, window: tuple[int, int] = WINDOW) -> None:
        """Load `url` in a window of this width and height; it may go on loading."""
        self._driver.set_window_size(*window)
        self._driver.get(url)

    @property
    def text(self) -> str:
        """What can be read on the page now, a line a piece; "" while it is being made."""
        told = str(self._driver.execute_script("return document.body?.innerText ?? ''"))
        pieces = told.replace("\t", "\n").splitlines()
        return "\n".join(piece.strip() for piece in pieces if piece.strip())

    def wait_text(self, claim: Callable[[str], bool], timeout_s: float = WAIT_S) -> str:
        """The text of the page, once `claim` holds for it; AssertionError with it otherwise."""
        deadline = time.monotonic() + timeout_s
        while not claim(text := self.text):
            assert time.monotonic() < deadline, (
                f"not seen at {self._driver.current_url} within {timeout_s:g} s; it says:\n{text}"
            )
            time.sleep(0.3)
        return text

    def run(self, script: str, *values: Any) -> Any:
        """The value that `script`, the body of an async function, returns in the page."""
        whole = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...values) => {{ {script} }})(...arguments)"
            ".then(done, error => done(`failed: ${error}`))"
        )
        return self._driver.execute_async_script(whole, *values)

    def picture(self, file: Path) -> None:
        """What is in the window now, as PNG; the file's folder is made."""
        file.parent.mkdir(parents=True, exist_ok=True)
        assert self._driver.save_screenshot(str(file)), f"{file} could not be written"

    def asked(self) -> set[str]:
        """Who was asked for anything since the last call, as `host:port`."""
        logged = self._driver.execute("getLog", {"type": "performance"})["value"]
        events = [json.loads(entry["message"])["message"] for entry in logged]
        urls = [
            urlsplit(event["params"]["request"]["url"])
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return {url.netloc for url in urls if url.scheme not in _OWN_SCHEMES}

    def _options(self) -> Options:
        options = Options()
        options.binary_location = CHROMIUM
        for argument in (*_ARGUMENTS, f"--user-data-dir={self._folder / 'profile'}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        return options
