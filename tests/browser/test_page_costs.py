"""What the live page of a large run costs: bytes, time to the first paint, and memory after thousands of events."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.platform import Platform
from tests.browser.synthetic import Tale

WEIGHT = 150_000
"""Bytes over the wire of the live page with all that it loads, at 100 clients by 50 rounds."""
PAINT_MS = 1000
EVENTS, FIRST = 10_000, 1_000

COSTS = """() => {
  const sizes = performance.getEntriesByType('resource').map((entry) => entry.transferSize);
  const [page] = performance.getEntriesByType('navigation');
  const [paint] = performance.getEntriesByName('first-contentful-paint');
  return {bytes: page.transferSize + sizes.reduce((sum, size) => sum + size, 0), paint: paint.startTime};
}"""


@pytest.fixture(scope="package")
def large(platform: Platform) -> str:
    """A run of 100 clients by 50 rounds with two metrics."""
    tale = Tale(platform, "large001", clients=100, rounds=100)
    tale.rounds(50)
    return tale.federation


def test_a_large_run_is_light(page: Page, large: str, record_property: Any) -> None:
    """100 clients by 50 rounds weigh less than 150 KB, with every script, and are painted within a second."""
    paints: list[float] = []
    for _ in range(3):
        page.goto("about:blank")
        page.context.new_cdp_session(page).send("Network.clearBrowserCache")
        page.goto(f"/deployments/{large}/")
        expect(page.locator("#curves canvas")).to_be_visible()
        costs = page.evaluate(COSTS)
        paints.append(costs["paint"])
        if len(paints) == 1:
            record_property("bytes", costs["bytes"])
            assert costs["bytes"] < WEIGHT
    record_property("paint_ms", min(paints))
    expect(page.locator("#grid td")).to_have_count(100 * 51)
    assert min(paints) < PAINT_MS


@pytest.mark.slow
def test_ten_thousand_events_leave_no_trace(platform: Platform, page: Page, record_property: Any) -> None:
    """Between the thousandth and the ten-thousandth event the page grows neither in nodes nor in memory."""
    tale = Tale(platform, "endless1", clients=10, rounds=1000)
    tale.rounds(2)
    page.goto(f"/deployments/{tale.federation}/")
    page.wait_for_selector("#link-state[data-state=live]")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def grown(events: int) -> tuple[float, float]:
        for _ in range(events // 100):
            tale.progress(99)
            tale.rounds(1)
        number = tale.head.round
        expect(page.locator(f'#grid th[data-round="{number}"] a')).to_be_visible()
        page.wait_for_timeout(3000)  # the parts that are asked for once a second
        session.send("HeapProfiler.collectGarbage")
        found = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        return found["Nodes"], found["JSHeapUsedSize"]

    grown(5000)  # 50 rounds: every table is as long as it gets
    nodes, heap = grown(FIRST)
    nodes_after, heap_after = grown(EVENTS - FIRST)
    record_property("nodes", [nodes, nodes_after])
    record_property("heap", [heap, heap_after])
    assert nodes_after < nodes * 1.1
    assert heap_after < heap * 1.1 + 500_000
