"""Pages of a run of 1,000 rounds by 100 clients: light, whole, and moved through without freezing.

No limit here is of the wall's clock: what the main thread has worked is counted in its processor's time.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests.browser.conftest import Open
from tests.browser.platform import Platform
from tests.browser.synthetic import Tale

WEIGHT = 150_000
"""Bytes over the wire of a page with all that it loads."""
WORK_SECONDS = 1.0
"""Of the main thread, for a jump from one end of the run to the other."""
ROUNDS, CLIENTS, SHOWN = 1000, 100, 50

BYTES = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter((entry) => !entry.name.includes('/events/')).reduce((sum, entry) => sum + entry.transferSize, 0)"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@pytest.fixture(scope="package")
def thousand(platform: Platform) -> str:
    """The run."""
    return platform.long_run("thousand", "--rounds", str(ROUNDS), "--clients", str(CLIENTS), "--scale", "150")


class Work:
    """What the page's main thread has done, in its processor's time."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        return {metric["name"]: metric["value"] for metric in self._session.send("Performance.getMetrics")["metrics"]}

    def done(self) -> dict[str, float]:
        """Since the last call: by the names of Chromium's metrics, seconds and counts."""
        now = self._read()
        found = {name: value - self._before[name] for name, value in now.items() if name in self._before}
        self._before = now
        return found


def test_the_recorder_jumps_through_a_long_run(page: Page, thousand: str, record_property: Any) -> None:
    """It opens on the last moment; from end to end is one layout or two, and less than a second of work."""
    page.goto(f"/deployments/{thousand}/recorder/")
    expect(page.locator("#now-state")).to_have_text("finished")
    expect(page.locator("#grid td.a")).to_have_count(SHOWN * CLIENTS)
    assert page.evaluate(BYTES) < WEIGHT
    page.locator("#at").focus()
    work = Work(page)
    for key, state, columns in (("Home", "opened", 0), ("End", "finished", SHOWN)):
        page.keyboard.press(key)
        expect(page.locator("#now-state")).to_have_text(state)
        page.evaluate(PAINTED)
        done = work.done()
        record_property(key, done["TaskDuration"])
        assert done["LayoutCount"] <= 6 and done["TaskDuration"] < WORK_SECONDS, done
        expect(page.locator("#grid thead th[scope=col]")).to_have_count(columns + 1)
    assert "t=" in page.url


def test_the_recorder_works_under_a_finger(open_page: Open, thousand: str) -> None:
    """On a phone the slider is as wide as the page, tall enough for a finger, and a tap moves it."""
    page = open_page("viewer", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(f"/deployments/{thousand}/recorder/")
    expect(page.locator("#now-state")).to_have_text("finished")
    box = page.locator("#at").bounding_box()
    assert box is not None and box["width"] > 250 and box["height"] >= 40, box
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#now-round")).to_have_text(re.compile("^[45][0-9][0-9]$"))
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_the_whole_curve_and_its_parts_have_addresses(page: Page, thousand: str) -> None:
    """The page is light; metric, rounds and cells change in place, keep the scroll, and come back by the address."""
    page.goto(f"/deployments/{thousand}/")
    expect(page.locator("#curves canvas")).to_be_visible()
    assert page.evaluate(BYTES) < WEIGHT
    expect(page.locator("#drawn-rounds")).to_contain_text("Rounds 1 to 1,000: of each 5 rounds")
    expect(page.locator("#link-state")).to_have_text("")
    page.evaluate("() => { window.same = true; scrollTo(0, 300); }")
    page.get_by_role("group", name="Metric").get_by_role("link", name="accuracy").click()
    expect(page.locator("#curves figcaption")).to_contain_text("accuracy")
    page.get_by_label("from", exact=True).fill("100")
    page.get_by_label("to", exact=True).fill("220")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#drawn-rounds")).to_have_text("Rounds 100 to 220; later ones are not shown.")
    page.get_by_role("group", name="What the cells show").get_by_role("link", name="loss").click()
    expect(page.locator("#grid.figures")).to_be_visible()
    assert page.evaluate("() => window.same && scrollY") == 300
    for part in ("metric=accuracy", "from=100", "to=220", "show=loss"):
        assert part in page.url
    page.reload()
    expect(page.locator("#drawn-rounds")).to_have_text("Rounds 100 to 220; later ones are not shown.")
    expect(page.locator("#grid.figures")).to_be_visible()
    expect(page.locator("#curves figcaption")).to_contain_text("accuracy")
    box = page.locator("#curves .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    expect(page.locator("#curves .tip")).to_contain_text("global model")


def test_a_past_range_takes_no_live_points(platform: Platform, page: Page) -> None:
    """While the run goes on, the page of earlier rounds tells of its state and draws nothing new."""
    tale = Tale(platform, "ongoing1", clients=3, rounds=500)
    tale.rounds(4)
    page.goto(f"/deployments/{tale.federation}/?upto=2")
    expect(page.locator("#past")).to_contain_text("These are the rounds up to 2")
    page.wait_for_selector("#link-state[data-state=live]")
    tale.rounds(2)
    expect(page.locator("#standing dd").nth(1)).to_contain_text("6 of 500")
    expect(page.locator("#grid thead th[data-round]")).to_have_count(2)
    expect(page.locator("#rounds tbody tr")).to_have_count(2)
    expect(page.locator("#drawn-rounds")).to_contain_text("Rounds 1 to 2")
    box = page.locator("#curves .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 5)
    expect(page.locator("#curves .tip")).to_contain_text("round 2:")
