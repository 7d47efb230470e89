"""Many windows of one browser: they share one stream, none of them is frozen out, and each says what it has heard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from mainstem.messages import Stopped
from mainstem.rounds import successor
from tests.browser.conftest import Open, Watch
from tests.browser.platform import Platform
from tests.browser.synthetic import Tale
from tests.support.patience import PATIENCE, until

WINDOWS = 12
LIVE = "#link-state[data-state=live]"
PATIENCE_MS = PATIENCE * 1000


def test_twelve_windows_show_a_stop(platform: Platform, page: Page, record_property: Any) -> None:
    """Twelve windows on a large run load, hold one stream together, and each shows the stop; other tabs load too."""
    tale = Tale(platform, "windows1", clients=100, rounds=100)
    tale.rounds(50)
    windows = [page, *(page.context.new_page() for _ in range(WINDOWS - 1))]
    for window in windows:
        window.goto(f"/deployments/{tale.federation}/")
        window.wait_for_selector(LIVE, timeout=PATIENCE_MS)
    until(lambda: held(platform) == 1, what="one stream for all windows")
    other = page.context.new_page()
    other.goto("/jobs/")
    expect(other.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    began = time.monotonic()
    stop(tale)
    for window in windows:
        expect(window.locator("#standing .state.stopped")).to_be_visible(timeout=PATIENCE_MS)
    record_property("seconds_until_all_show_the_stop", round(time.monotonic() - began, 2))


def stop(tale: Tale) -> None:
    """The run is stopped."""
    stopped = successor(tale.head, Stopped, {"command": 0})
    assert isinstance(stopped, Stopped)
    tale.tell([stopped])


def held(platform: Platform) -> int:
    """Connections that the web server has open; those for single requests are closed 2 s after their last one."""
    ours = f"{platform.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{ours}") and row[3] == "01" for row in rows)
