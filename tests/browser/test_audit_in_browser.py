"""Who did what on its page, and the password again before what cannot be undone."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import Open, Watch
from tests.browser.platform import Platform
from tests.browser.test_pages_fit import PHONE, fits

AGED = """
import sys, django
django.setup()
from django.contrib.sessions.backends.db import SessionStore
store = SessionStore(sys.argv[1])
store["confirmed_at"] = 0
store.save()
"""


def let_time_pass(platform: Platform, page: Page) -> None:
    """As if the session's password had been given long ago."""
    (key,) = [cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "sessionid"]
    signed = re.search(r"^MAINSTEM_SECRET_KEY=['\"]?([^'\"\n]+)", platform.home.settings.read_text(), re.MULTILINE)
    assert signed is not None
    own = {
        "MAINSTEM_HOME": str(platform.home.root),
        "MAINSTEM_SECRET_KEY": signed[1],
        "DJANGO_SETTINGS_MODULE": "backend.project.settings",
    }
    command = [sys.executable, "-c", AGED, key]
    done = subprocess.run(command, env=platform.environment | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def seen(page: Page, name: str, viewport: ViewportSize | None = None) -> None:
    """Keep a picture where MAINSTEM_PICTURES names a folder, and check the page's width."""
    if viewport is not None:
        page.set_viewport_size(viewport)
    assert fits(page) == []
    if folder := os.environ.get("MAINSTEM_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_token_is_made_after_the_password_and_the_page_tells(
    platform: Platform, open_page: Open, watch: Watch, accessible: Callable[[Page], None]
) -> None:
    """The password's time is let pass; then making a token asks for it, and the audit page has each step."""
    watch.expect("400 (Bad Request)")  # of the wrong password
    page = open_page()
    page.goto("/account/")
    seen(page, "account-wide")
    let_time_pass(platform, page)
    page.get_by_label("What it is for").fill("made in a browser")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_role("heading", name="Your password again")).to_be_visible()
    accessible(page)
    seen(page, "confirm-wide")
    seen(page, "confirm-phone", PHONE)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.get_by_label("Your password").fill("not the password")
    page.get_by_role("button", name="Confirm").click()
    expect(page.get_by_text("The password is wrong.")).to_be_visible()
    page.get_by_label("Your password").fill(platform.admin_password)
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url(re.compile(r"/account/$"))
    page.get_by_label("What it is for").fill("made in a browser")
    page.get_by_label("It may").select_option("read")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_role("status").first).to_contain_text("made in a browser")
    seen(page, "account-token")
    seen(page, "account-phone", PHONE)
    page.set_viewport_size({"width": 1360, "height": 900})

    page.get_by_role("link", name="Audit").click()
    table = page.get_by_role("table")
    newest = table.locator("tbody tr").first
    expect(newest).to_contain_text("made a token")
    expect(newest).to_contain_text("scope read, until")
    expect(table).to_contain_text("gave their password again")
    expect(table).to_contain_text("gave a wrong password")
    accessible(page)
    seen(page, "audit-wide")
    seen(page, "audit-phone", PHONE)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.get_by_label("Action").select_option("token.create")
    page.wait_for_url(re.compile("action=token.create"))
    expect(table).not_to_contain_text("gave a wrong password")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
    assert {row["action"] for row in rows} == {"token.create"} and "made in a browser of admin" in rows[0]["name"]
    page.get_by_label("Who").fill("nobody")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="No record is like that")).to_be_visible()
    seen(page, "audit-empty")
