"""Takes the pictures of docs/images from a platform that runs, light, dark and as a phone shows them.

    ./run.sh --demo                                          # in another terminal, until the run has finished
    .venv/bin/python tools/screenshots.py [--home .mainstem] [--federation ID]

The federation is the newest finished one unless another is named. Needs Chromium (or MAINSTEM_CHROMIUM) and Playwright.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from mainstem.platform.home import Home

IMAGES = Path(__file__).parents[1] / "docs" / "images"
LARGEST = 150_000
"""Bytes of a picture."""
WIDE, PHONE = {"width": 1280, "height": 930}, {"width": 390, "height": 844}
LOOKS: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}
PAGES: Mapping[str, tuple[str, tuple[str, ...], int]] = {
    "overview": ("/", ("light", "dark"), 700),
    "live": ("/deployments/{federation}/", ("light", "dark", "phone"), 930),
    "round": ("/deployments/{federation}/rounds/1/", ("light",), 800),
    "versions": ("/deployments/{federation}/versions/?a=1&b=5", ("light",), 930),
    "try": ("/inference/try/{federation}/5/", ("light", "phone"), 930),
    "recorder": ("/deployments/{federation}/recorder/?t=1000000", ("dark",), 930),
}
"""Name: address, the looks in which it is taken, and how many pixels of its top are shown."""
TWO = ((85, 95), (105, 60), (140, 45), (175, 60), (188, 95), (175, 130), (130, 180), (85, 230), (195, 230))
"""A stroke on the sheet of 280 x 280 on which digits are drawn."""


def main() -> int:
    """Take all of them; 1 where a picture is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="of the platform (default: MAINSTEM_HOME)")
    parser.add_argument("--federation", help="the run that is shown (default: the newest finished one)")
    options = parser.parse_args()
    home = Home.locate(options.home)
    running = home.running()
    if running is None:
        parser.error(f"nothing runs in {home.root}: start ./run.sh --demo")
    found = re.search(r"^MAINSTEM_ADMIN_PASSWORD=['\"]?([^'\"\n]+)", home.settings.read_text(), re.MULTILINE)
    if found is None:
        parser.error(f"{home.settings} holds no admin's password")
    program = os.environ.get("MAINSTEM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        large = [path for look in LOOKS for path in taken(browser, look, running.api, found[1], options.federation)]
        browser.close()
    for path in large:
        print(f"{path} has {path.stat().st_size:,} bytes; at most {LARGEST:,} are wanted", file=sys.stderr)
    return 1 if large else 0


def taken(browser: Browser, look: str, base: str, password: str, federation: str | None) -> list[Path]:
    """Take the pictures of one look; those that came out too large."""
    context = browser.new_context(base_url=base, **LOOKS[look])
    page = context.new_page()
    page.goto("/login/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    chosen = federation or newest(page)
    large = []
    for name, (address, looks, tall) in PAGES.items():
        if look in looks:
            page.goto(address.format(federation=chosen))
            if name == "try":
                recognised(page)
            page.wait_for_timeout(2500)  # the parts that come after the page
            path = IMAGES / f"{name}-{look}.png"
            size = page.viewport_size or WIDE
            page.screenshot(
                path=path, clip={"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], tall)}
            )
            if path.stat().st_size > LARGEST:
                large.append(path)
    context.close()
    return large


def recognised(page: Page) -> None:
    """Draw a two and ask the model what it is."""
    box = page.locator("#try-canvas").bounding_box()
    if box is None:
        return
    at = [(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280) for x, y in TWO]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=6)
    page.mouse.up()
    page.get_by_role("button", name="Predict", exact=True).click()
    page.locator("#try-winner").wait_for(timeout=60_000)
    page.evaluate("scrollTo(0, 0)")


def newest(page: Page) -> str:
    """The newest finished federation."""
    page.goto("/deployments/?state=finished")
    return page.locator("tbody tr td code").first.inner_text()


if __name__ == "__main__":
    sys.exit(main())
