"""A real browser on a real platform. Every page that a test opens must be free of errors and of policy violations."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.browser.platform import PASSWORD, Platform
from tests.support.patience import PATIENCE

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
WIDE = {"width": 1360, "height": 900}

Open = Callable[..., Page]
expect.set_options(timeout=PATIENCE * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here start a broker and a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="package")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The whole platform, one for all browser tests: give what you make a name of its own."""
    running = Platform(tmp_path_factory.mktemp("platform") / "home")
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium; MAINSTEM_CHROMIUM names another one."""
    named = os.environ.get("MAINSTEM_CHROMIUM")
    program = named or next((found for name in CHROMIUMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail("No Chromium is on the PATH: install the package chromium, or name one in MAINSTEM_CHROMIUM.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--enable-precise-memory-info"])
        yield chromium
        chromium.close()


class Watch:
    """Notes what goes wrong in pages. A test that provokes an error names it with `expect`."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.expected: list[str] = []

    def expect(self, part: str) -> None:
        """Faults that hold this text are what the test is about."""
        self.expected.append(part)

    def follow(self, page: Page) -> None:
        """Note a page's console errors (violations of the policy are among them), exceptions, and server faults."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"exception at {page.url}: {error}"))
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" or "Content Security Policy" in message.text:
            self.faults.append(f"console at {message.location.get('url')}: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.faults.append(f"{response.status} from {response.url}")

    @property
    def unexpected(self) -> list[str]:
        """What no test asked for."""
        return [fault for fault in self.faults if not any(part in fault for part in self.expected)]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails the test on anything that went wrong in its pages."""
    watching = Watch()
    yield watching
    assert watching.unexpected == []


@pytest.fixture
def open_page(platform: Platform, browser: Browser, watch: Watch) -> Iterator[Open]:
    """Opens a page in a browser session of its own, logged in as a role (`admin`, `operator`, `viewer`) or as nobody.

    `open_page(role="admin", **options)`: the options are those of a browser context, such as `color_scheme`.
    """
    contexts: list[BrowserContext] = []

    def opened(role: str | None = "admin", **options: Any) -> Page:
        context = browser.new_context(**{"base_url": platform.base, "viewport": WIDE, **options})
        context.set_default_timeout(PATIENCE * 1000)
        contexts.append(context)
        page = context.new_page()
        watch.follow(page)
        context.on("page", watch.follow)
        if role is not None:
            log_in(page, platform, role)
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: Open) -> Page:
    """A page of the admin's."""
    return open_page()


def log_in(page: Page, platform: Platform, role: str) -> None:
    """Log in through the form."""
    name = "admin" if role == "admin" else platform.person(role)
    page.goto("/login/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(platform.admin_password if role == "admin" else PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()


@pytest.fixture
def accessible() -> Callable[[Page], None]:
    """Asserts that axe-core finds nothing serious or critical on the page."""

    def check(page: Page) -> None:
        page.evaluate(AXE.read_text())
        found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        told = [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in grave]
        assert told == [], f"{page.url}: {told}"

    return check
