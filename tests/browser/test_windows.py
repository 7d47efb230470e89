"""Many windows of one browser: they share one stream, none of them is frozen out, and each says what it has heard."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from mainstem.protocol.messages import Stopped
from mainstem.rounds import successor
from mainstem.runtime.processes import descendants
from tests.browser.conftest import Watch
from tests.browser.platform import Platform
from tests.browser.synthetic import Tale
from tests.browser.test_streams import Stream, logged_in
from tests.support.patience import until

WINDOWS = 12
LIVE = "#link-state[data-state=live]"
WITHOUT = {"worker": [], "leader": ["SharedWorker"], "alone": ["SharedWorker", "BroadcastChannel"]}
"""What the browser lacks where pages hear in that way."""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_twelve_windows_show_a_stop(platform: Platform, page: Page, record_property: Any) -> None:
    """Twelve windows on a large run load, hold one stream together, and each shows the stop; other tabs load too."""
    tale = Tale(platform, "windows1", clients=100, rounds=100)
    tale.rounds(20)
    windows = [page, *(page.context.new_page() for _ in range(WINDOWS - 1))]
    for window in windows:
        look(window, tale)
    until(lambda: held(platform) <= 2, what="one stream for all windows, and what one of them asks just now")
    other = page.context.new_page()
    other.goto("/jobs/")
    expect(other.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    began = time.monotonic()
    stop(tale)
    for window in windows:
        expect(window.locator("#standing .state.stopped")).to_be_visible()
    record_property("seconds_until_all_show_the_stop", round(time.monotonic() - began, 2))


@pytest.mark.parametrize("way", WITHOUT)
def test_windows_hear_together(platform: Platform, page: Page, way: str) -> None:
    """Whatever the browser has: three windows, one closes, all are hidden and come back: no round is missed."""
    lacks = "".join(f"delete window.{name};" for name in WITHOUT[way])
    page.context.add_init_script(lacks)
    one, two = (joined(platform, f"{way:x<7}{number}") for number in (1, 2))
    first, second, third = page, page.context.new_page(), page.context.new_page()
    streams = way != "alone"
    state = "polling" if way == "alone" else "live"
    for window, tale in ((first, one), (second, one), (third, two)):
        look(window, tale, state)
    if streams:  # who only asks has a connection at one moment and none at another
        until(lambda: held(platform) == 1, what="one stream")
    one.rounds(1)
    two.rounds(2)
    for window, number in ((first, 1), (second, 1), (third, 2)):
        shows(window, number)
    first.close()  # the leader, where there is one
    one.rounds(1)
    two.rounds(1)
    shows(second, 2)
    shows(third, 3)
    for window in (second, third):
        window.evaluate(HIDE, True)
    until(lambda: held(platform) == 0, what="letting go")
    one.rounds(2)
    two.rounds(1)
    for window in (second, third):
        window.evaluate(HIDE, False)
    shows(second, 4)
    shows(third, 4)
    if streams:
        until(lambda: held(platform) == 1, what="one stream again")


def test_a_frozen_server_is_said(platform: Platform, page: Page, watch: Watch) -> None:
    """After 10 s without a word the page says for how long, as after an hour asleep; then it goes on."""
    watch.expect("net::ERR_")
    watch.expect("htmx:")
    tale = joined(platform, "frozen01")
    page.clock.install()
    look(page, tale)
    said = page.locator("#link-state")
    other = page.context.new_page()
    other.goto("/jobs/")
    with frozen(platform):
        page.clock.fast_forward(11_000)
        expect(said).to_have_text(re.compile("^not live: nothing heard for 1[05] s$"))
        expect(other.locator("#silent")).to_contain_text("This page is not live: nothing heard for ")
        page.clock.fast_forward(3_600_000)
        expect(said).to_have_text("not live: nothing heard for 60 min")
    expect(said).to_have_text("live")
    expect(other.locator("#silent")).to_have_count(0)
    tale.rounds(1)
    shows(page, 1)


def test_a_hidden_page_asks_for_nothing(page: Page) -> None:
    """Parts that are asked for every few seconds wait until somebody looks."""
    page.clock.install()
    page.goto("/jobs/")
    page.evaluate(HIDE, True)
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(10_000)
    assert asked == []
    page.evaluate(HIDE, False)
    with page.expect_request(re.compile("/jobs/")):
        page.clock.run_for(3_000)


def test_no_place_for_a_stream(platform: Platform, page: Page, watch: Watch) -> None:
    """Where all streams are taken, pages ask from time to time, say so, and have a stream when there is room."""
    watch.expect("503")
    tale = joined(platform, "noplace1")
    cookie, _ = logged_in(platform)
    with contextlib.ExitStack() as taken:
        while (stream := taken.enter_context(contextlib.closing(Stream(platform, [tale.federation], cookie)))).placed:
            pass
        assert b"Live streams: " in stream.answer.read()
        look(page, tale, "polling")
        expect(page.locator("#link-state")).to_have_text("live, asked for every 3 s")
        tale.rounds(1)
        shows(page, 1)
    page.wait_for_selector(LIVE)


def test_who_logs_out_in_one_window_is_out_in_all(platform: Platform, page: Page) -> None:
    """The stream ends with its session, and the other windows go to the login, which leads back to them."""
    tale = joined(platform, "loggedo1")
    other = page.context.new_page()
    look(other, tale)
    page.get_by_role("button", name="Log out").click()
    other.wait_for_url(re.compile(f"/login/.next=%2Fdeployments%2F{tale.federation}%2F$"))


def joined(platform: Platform, federation: str) -> Tale:
    """A run that two clients have joined."""
    tale = Tale(platform, federation, clients=2, rounds=90)
    tale.progress(1)
    return tale


def look(window: Page, tale: Tale, state: str = "live") -> None:
    """The window shows the run and hears of it."""
    window.goto(f"/deployments/{tale.federation}/")
    window.wait_for_selector(f"#link-state[data-state={state}]")


def shows(window: Page, number: int) -> None:
    """The grid and the table come to that round, and have each one before it."""
    expect(window.locator(f'#grid th[data-round="{number}"]:not(.open)')).to_be_visible()
    expect(window.locator("#rounds tbody tr")).to_have_count(number)
    expect(window.locator("#grid td.a")).to_have_count(2 * number)


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


@contextlib.contextmanager
def frozen(platform: Platform) -> Iterator[None]:
    """The web server's processes stand still, with their connections open."""
    running = platform.home.running()
    assert running is not None
    pid, _ = running.processes["web"]
    stopped = [pid, *descendants(pid)]
    for one in stopped:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in stopped:
            os.kill(one, signal.SIGCONT)
