"""Sites with models of their own, in a browser: asked for in the form, and both models of each client side by side."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Watch
from tests.browser.platform import Platform
from tests.support.long_runs import HEAD

PHONE = {"width": 390, "height": 844}
MISSING = f"Each site keeps {HEAD.name} to itself: every version has version 0's values in its place."


def test_what_a_site_has_of_its_own(
    platform: Platform, open_page: Open, accessible: Callable[[Page], None], watch: Watch
) -> None:
    """The form's fields and their sentences; of a finished run the accuracy of both models, by client and by round,
    and what a version lacks, wherever one takes it; wide and on a phone."""
    watch.expect("400")  # what the form is refused with
    watch.expect("htmx:")  # a question that the next one overtook is given up
    platform.configuration()
    page = open_page()
    page.goto("/deployments/new/")
    page.locator("summary", has_text="What a site has of its own").click()
    patterns = page.get_by_label("Personal tensors")
    expect(patterns).to_be_hidden()
    page.get_by_label("A site's model").select_option("personal")
    patterns.fill("tail, classes")
    page.get_by_label("Ditto's lambda").fill("much")
    page.get_by_label("Ditto's lambda").press("Tab")
    expect(page.locator("#id_ditto-wrong")).to_contain_text("A valid number is required")
    page.get_by_label("Ditto's lambda").fill("0.1")
    expect(page.locator("#id_personal-wrong")).to_contain_text("'tail', which names no tensor of the model; there are")
    patterns.fill("classes")
    page.get_by_role("button", name="Deploy").click()
    expect(page.locator("#id_personal-wrong")).to_contain_text("classes/* is all of that layer")
    expect(patterns).to_have_value("classes")
    expect(page.get_by_label("Ditto's lambda")).to_have_value("0.1")
    accessible(page)
    patterns.fill("classes/*")
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url(re.compile(r"/deployments/[a-z0-9]{8}/$"))
    expect(page.locator("#standing")).to_contain_text("Each site keeps classes/kernel, classes/bias to itself")

    run = platform.long_run("ownmodel", "--clients", "3", "--rounds", "2", "--own")
    phone = open_page(viewport=PHONE)
    for shown in (page, phone):
        shown.goto(f"/deployments/{run}/")
        expect(shown.locator("#standing")).to_contain_text(MISSING)
        expect(shown.locator("#standing .facts")).to_contain_text(
            re.compile(r"0\.\d{4} 0\.\d{4} the sites' own models")
        )
        shown.locator("#rounds tbody a").first.click()
        expect(shown.locator(".facts")).to_contain_text("Version 1 at the clients accuracy 0.2", use_inner_text=True)
        expect(shown.locator(".facts")).to_contain_text("Their own models accuracy 0.3", use_inner_text=True)
        expect(shown.locator("#updates tbody tr").first).to_contain_text(
            re.compile("accuracy 0.2.+accuracy 0.3", re.DOTALL)
        )
        shown.goto(f"/deployments/{run}/clients/")
        expect(shown.locator("#members tbody tr").first).to_contain_text(
            re.compile("accuracy 0.3.+accuracy 0.4", re.DOTALL)
        )
        shown.locator("summary", has_text="What stays at each site: 1 of 2 tensors").click()
        expect(shown.get_by_role("row", name=HEAD.name)).to_contain_text("kept at the site")
        accessible(shown)
        for where in (f"/deployments/{run}/versions/", f"/inference/try/{run}/2/", f"/inference/deploy/{run}/2/"):
            shown.goto(where)
            expect(shown.locator("main .note").first).to_have_text(MISSING)
            wide = shown.evaluate("() => document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{where} is {wide} px too wide"
