"""A headless Chromium that can be asked what a person would see: sizes, themes, keys, the console, screenshots."""

import base64
import shutil
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
]
DESK, PHONE = (1440, 900), (360, 780)
POLL_S = 0.05


class Failed(Exception):
    pass


def until(condition, what, limit=10.0):
    """Waits for the condition to give something true, and gives that."""
    end = time.monotonic() + limit
    while True:
        if found := condition():
            return found
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {limit} s")
        time.sleep(POLL_S)


class Browser:
    def __init__(self, screenshots):
        options = Options()
        for flag in FLAGS:
            options.add_argument(flag)
        options.binary_location = shutil.which("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(20)
        self.screenshots = Path(screenshots)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def open(self, url):
        self.driver.get(url)

    def leave(self):
        """Closes the page's feed while its server still answers: a page that sees it end reports that to the console."""
        self.open("about:blank")
        self.console()

    def run(self, script):
        return self.driver.execute_script(script)

    def text(self, selector):
        return self.run(f"return document.querySelector({selector!r})?.textContent ?? null")

    def texts(self, selector):
        return self.run(f"return [...document.querySelectorAll({selector!r})].map((node) => node.textContent)")

    def count(self, selector):
        return self.run(f"return document.querySelectorAll({selector!r}).length")

    def press(self, key):
        ActionChains(self.driver).send_keys(key).perform()

    def size(self, width, height):
        # Not as a mobile device: that zooms out until the widest part fits, so that nothing would stick out.
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=False,
                 deviceScaleFactor=2 if width < 500 else 1)
        until(lambda: self.run("return innerWidth") == width, f"a width of {width} px")

    def prefer(self, theme, motion="no-preference"):
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": motion}])

    def console(self):
        """What was written to the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def too_wide(self):
        """What sticks out on the right, and by how much the page scrolls sideways."""
        return self.run("""
            const wide = [...document.querySelectorAll("#board *, .bar *")].filter((node) => {
              const box = node.getBoundingClientRect();
              return box.width > 0 && box.right > innerWidth + 0.5 && !node.closest(".spoken, svg");
            }).map((node) => `${node.tagName}.${node.className} to ${node.getBoundingClientRect().right} px`);
            const page = document.documentElement.scrollWidth - innerWidth;
            return page > 0 ? [`the page by ${page} px`, ...wide] : wide;""")

    def screenshot(self, name, whole=False):
        options = {"captureBeyondViewport": whole}
        self.run("document.activeElement.blur(); scrollTo(0, 0)")
        if whole:
            width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
            options["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        image = self.cdp("Page.captureScreenshot", **options)["data"]
        (self.screenshots / f"{name}.png").write_bytes(base64.b64decode(image))

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)
