"""Every page with the longest names that there are: none is wider than its window, and what one needs is in reach."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import Open
from tests.browser.platform import Platform
from tests.support.long_names import FINISHED, WAITING

LAPTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
WIDER = """() => {
  const width = document.documentElement.clientWidth;
  const boxed = (node) => node.closest(".scroll, pre, .tabs, .rail nav, .editor, .hush, .switch, dialog:not([open])");
  const out = [...document.querySelectorAll("body *")].filter((node) => !boxed(node) && node.getClientRects().length
    && node.getBoundingClientRect().right > width + 1);
  return [document.documentElement.scrollWidth - width, out.slice(0, 3).map((node) => node.outerHTML.slice(0, 150))];
}"""
BARE_TIMES = r"""() => {
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const bare = /(?<![\d:])\d\d:\d\d(:\d\d)?(?![\d:])(?! (UTC|GMT[+-]|[A-Z]{3,4}\b))/;
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const said = !node.parentElement.closest("pre, code, textarea, script");
    if (said && bare.test(node.data)) found.push(node.data);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def long_pages(platform: Platform) -> list[str]:
    """The addresses of all pages, in a database of long names."""
    command = [sys.executable, "-m", "tests.support.long_names", "--home", str(platform.home.root)]
    made = subprocess.run(command, env=platform.environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[-2000:]
    addresses: list[str] = json.loads(made.stdout)
    return addresses


def fits(page: Page) -> list[str]:
    """What is wrong with the page's width, once its charts have taken the window's."""
    for _ in range(300):
        beyond, nodes = page.evaluate(WIDER)
        if beyond <= 0 and not nodes:
            break
        page.wait_for_timeout(100)
    return [f"{page.url}: {beyond} px too wide: {nodes}"] if beyond > 0 or nodes else []


def test_no_page_is_wider_than_its_window(open_page: Open, watch: Any, long_pages: list[str]) -> None:
    """On a laptop and on a phone; every time on them names its zone, here that of the reader."""
    watch.expect("404 (Not Found)")  # of the page that says so
    watch.expect("503 (Service Unavailable)")
    wrong: list[str] = []
    page = open_page(viewport=LAPTOP, timezone_id="Asia/Kolkata")
    for address in long_pages:
        page.goto(address, wait_until="load")
        page.set_viewport_size(LAPTOP)
        wrong += fits(page)
        page.set_viewport_size(PHONE)
        wrong += fits(page) + [f"{address}: {text!r} has no zone" for text in page.evaluate(BARE_TIMES)]
    assert wrong == []
    page.goto(f"/deployments/{FINISHED}/versions/")
    at = page.locator("#v1 time")
    expect(at).to_have_text("2026-09-21 19:43 GMT+5:30")
    expect(at).to_have_attribute("title", "2026-09-21 14:13:20 UTC")


def test_what_is_needed_is_in_reach(open_page: Open, long_pages: list[str]) -> None:
    """On 1280 x 800: the button that deploys, the tabs without a scrollbar, a version in a line, and its comparison."""
    page = open_page(viewport=LAPTOP)
    for address in ("/deployments/new/", f"/inference/deploy/{FINISHED}/1/"):
        page.goto(address)
        for _ in range(3):
            expect(page.get_by_role("button", name="Deploy", exact=True)).to_be_in_viewport(ratio=1)
            page.mouse.wheel(0, 400)
    page.goto(f"/deployments/{FINISHED}/versions/")
    expect(page.get_by_role("button", name="Compare the two")).to_be_in_viewport(ratio=1)
    assert page.locator("#v1").bounding_box()["height"] < 50  # type: ignore[index]
    bar = page.locator(".tabs").evaluate(
        "bar => [bar.scrollHeight - bar.clientHeight, bar.scrollWidth - bar.clientWidth]"
    )
    assert bar == [0, 0]


def test_starting_anew_asks_first(page: Page, platform: Platform, long_pages: list[str]) -> None:
    """Whoever leaves it has started nothing; a run that was started so names its parent, and the parent it."""
    page.goto(f"/deployments/{FINISHED}/")
    page.get_by_role("button", name="Start anew").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This run stays as it is.")
    dialog.get_by_role("button", name="Leave it").click()
    expect(dialog).to_be_hidden()
    assert platform.api("GET", f"deployments/?parent={FINISHED}")["count"] == 1
    page.locator(".head .lead").get_by_role("link").click()
    page.wait_for_url(re.compile(WAITING))
    expect(page.locator(".head .lead")).to_contain_text(f"{FINISHED}.")


def test_a_run_that_cannot_go_on_says_why(page: Page, long_pages: list[str]) -> None:
    """On its own page and in the overview; the sign of the Jobs is not green."""
    page.goto(f"/deployments/{WAITING}/")
    troubles = page.get_by_role("list", name="What stands in the way")
    expect(troubles).to_contain_text("Mend what is named, then retry on the Job's page.")
    expect(page.get_by_role("list", name="What it waits for")).to_contain_text("0 of 3 have joined")
    expect(page.get_by_role("link", name="Inject data").first).to_be_visible()
    page.goto("/")
    expect(page.locator(".signs li", has_text="Jobs").locator(".state.failing")).to_be_visible()
