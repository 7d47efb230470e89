"""`python -m benchmarks.pages`: what the pages of a run of 1,000 rounds by 100 clients cost a browser.

Starts a platform of its own, writes the run into its database, and opens the pages under the system's Chromium.
`work` is of the page's main thread in its processor's time, `longest` of its tasks by the clock: on a machine that is
busy with other work that one measures the other work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.machine import description
from benchmarks.stats import emit
from tests.browser.conftest import CHROMIUMS, log_in
from tests.browser.platform import Platform

OBSERVED = """() => {
  window.tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({type: 'longtask'});
}"""
LOADED = """() => {
  const loads = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter((entry) => !entry.name.includes('/events/'));
  const [paint] = performance.getEntriesByName('first-contentful-paint');
  return {bytes: loads.reduce((sum, entry) => sum + entry.transferSize, 0), paint_ms: paint.startTime};
}"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
READY = {"": "#curves canvas", "recorder/": "#at:not([disabled])"}
MOVES = 60


def loaded(page: Page, path: str, ready: str, repeat: int) -> dict[str, float]:
    """Bytes over the wire and milliseconds to the first paint with an empty cache, the best of `repeat`."""
    found = []
    for _ in range(repeat):
        page.goto("about:blank")
        page.context.new_cdp_session(page).send("Network.clearBrowserCache")
        page.goto(path)
        expect(page.locator(ready)).to_be_visible()
        page.wait_for_load_state("load")
        found.append(page.evaluate(LOADED))
    return {name: min(one[name] for one in found) for name in found[0]}


def scrubbed(page: Page, path: str) -> dict[str, dict[str, float]]:
    """Home, End, and the slider drawn over the whole run: the main thread's work, layouts and longest task."""
    page.goto(path)
    expect(page.locator("#now-state")).to_have_text("finished")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.evaluate(OBSERVED)

    def measured(act: Any) -> dict[str, float]:
        before = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        act()
        page.evaluate(PAINTED)
        after = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        longest = page.evaluate("() => Math.max(0, ...window.tasks.splice(0))")
        work = (after["TaskDuration"] - before["TaskDuration"]) * 1000
        return {"work_ms": work, "layouts": after["LayoutCount"] - before["LayoutCount"], "longest_ms": longest}

    slider = page.locator("#at")
    slider.focus()
    found = {key: measured(lambda key=key: page.keyboard.press(key)) for key in ("Home", "End")}
    box = slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2

    def scrub() -> None:
        page.mouse.move(box["x"] + box["width"] - 8, middle)
        page.mouse.down()
        for step in range(MOVES):
            page.mouse.move(box["x"] + 8 + (box["width"] - 16) * abs(step * 2 - MOVES) / MOVES, middle)
        page.mouse.up()

    return found | {f"{MOVES} moves of the slider": measured(scrub)}


def main() -> int:
    """Print the table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    program = os.environ.get("MAINSTEM_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    with tempfile.TemporaryDirectory() as directory:
        platform = Platform(Path(directory) / "home")
        try:
            run = platform.long_run("longpage", "--rounds", str(options.rounds), "--clients", str(options.clients))
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program)
                page = browser.new_context(base_url=platform.base).new_page()
                page.set_default_timeout(120_000)
                log_in(page, platform, "admin")
                pages = {
                    f"/deployments/ID/{name}": loaded(page, f"/deployments/{run}/{name}", ready, options.repeat)
                    for name, ready in READY.items()
                }
                moves = scrubbed(page, f"/deployments/{run}/recorder/")
                browser.close()
        finally:
            platform.close()
    print("| page | KB over the wire | first paint, ms |\n| --- | ---: | ---: |", file=sys.stderr)
    for name, told in pages.items():
        print(f"| {name} | {told['bytes'] / 1000:.0f} | {told['paint_ms']:.0f} |", file=sys.stderr)
    print(
        "\n| in the recorder | work, ms | layouts | longest task, ms |\n| --- | ---: | ---: | ---: |", file=sys.stderr
    )
    for name, told in moves.items():
        figures = f"{told['work_ms']:.0f} | {told['layouts']:.0f} | {told['longest_ms']:.0f}"
        print(f"| {name} | {figures} |", file=sys.stderr)
    emit({"benchmark": "pages", **description(), **vars(options), "pages": pages, "recorder": moves})
    return 0


if __name__ == "__main__":
    sys.exit(main())
