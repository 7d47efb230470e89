"""A site from its token to its revocation: the pages, the command that one of them shows, a run that names it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.conftest import Open, Watch
from tests.browser.platform import Platform
from tests.browser.test_audit_in_browser import let_time_pass, seen
from tests.browser.test_pages_fit import PHONE

WIDE: ViewportSize = {"width": 1360, "height": 900}


def both(page: Page, name: str) -> None:
    """A picture of a laptop and of a phone."""
    seen(page, f"{name}-wide")
    seen(page, f"{name}-phone", PHONE)
    page.set_viewport_size(WIDE)


def test_a_site_is_enrolled_admitted_and_revoked(
    platform: Platform, open_page: Open, watch: Watch, accessible: Callable[[Page], None], tmp_path: Path
) -> None:
    """By a person who clicks, and by the command that the page shows, as it stands there."""
    page = open_page()
    page.goto("/sites/")
    row = page.get_by_role("row", name=re.compile("^local"))
    expect(row).to_contain_text("this platform's own")
    accessible(page)
    page.get_by_role("link", name="Enrol a site").click()
    both(page, "site-token-form")
    accessible(page)
    page.get_by_label("Name of the site").fill("browser-north")
    let_time_pass(platform, page)
    page.get_by_role("button", name="Make the token").click()
    expect(page.get_by_role("heading", name="Your password again")).to_be_visible()
    page.get_by_label("Your password").fill(platform.admin_password)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Name of the site").fill("browser-north")
    page.get_by_role("button", name="Make the token").click()
    command = page.locator("#enrol-command").inner_text()
    both(page, "site-token")
    accessible(page)
    page.get_by_role("link", name="To the sites").click()
    expect(page.get_by_role("region", name="Tokens that nobody has used")).to_contain_text("browser-north")
    both(page, "sites")

    program, *arguments = shlex.split(command)
    assert program == "mainstem"
    done = subprocess.run(
        [sys.executable, "-m", "mainstem.cli", *arguments, "--out", "key"],
        env=platform.environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "key" / "site.json").read_text())
    page.reload()
    expect(page.get_by_role("row", name=re.compile("^browser-north"))).to_contain_text("enrolled")
    expect(page.get_by_role("region", name="Tokens that nobody has used")).to_have_count(0)

    configuration = platform.configuration()
    page.goto(f"/deployments/new/?configuration={configuration}")
    page.get_by_label("enrolled: clients of enrolled sites alone").check()
    page.get_by_label("browser-north").check()
    expect(page.locator("#preview")).to_contain_text("1 enrolled site: browser-north")
    page.get_by_role("group", name="Who takes part").scroll_into_view_if_needed()
    both(page, "site-deployment")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.wait_for_url(re.compile(r"/deployments/[a-z0-9]{8}/$"))
    federation = page.url.rstrip("/").rpartition("/")[2]
    expect(page.locator("dl.facts")).to_contain_text("1 enrolled site: browser-north")
    page.get_by_role("button", name="Change who may take part").click()
    expect(page.get_by_role("dialog").get_by_label("browser-north")).to_be_checked()
    seen(page, "site-run")

    page.goto("/sites/")
    page.get_by_role("link", name="browser-north").click()
    expect(page.locator("#site-key")).to_have_text(told["key"])
    expect(page.get_by_role("region", name="Runs that admit it")).to_contain_text(federation)
    page.get_by_label("Its streams may train for").fill("ddy6heod")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("is changed")
    both(page, "site")
    accessible(page)
    page.get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 run that is not over admits it")
    seen(page, "site-revoke")
    dialog.get_by_label("Why").fill("its disk was sold")
    dialog.get_by_role("button", name="Revoke it").click()
    expect(page.locator(".note.bad")).to_contain_text("its disk was sold")
    both(page, "site-revoked")
    accessible(page)
    (order,) = platform.api("GET", "audit/?action=deployment.admission")["results"]
    assert (order["object"], order["detail"]) == (federation, "nobody")
    platform.api("POST", f"deployments/{federation}/stop/")
