"""A real run by krum with a hostile client: its pages say live whom the rule leaves out, and never take that one."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.platform import Platform, until
from tests.support.patience import PATIENCE

ROUNDS = 8


def test_a_hostile_client_is_left_out_and_named(
    platform: Platform, page: Page, accessible: Callable[[Page], None]
) -> None:
    """Four honest clients and one far away: a round counts one update, and never that one's."""
    federation = platform.federation(
        "with a hostile client", rounds=ROUNDS, min_clients=5, strategy={"name": "krum", "params": {"byzantine": 1}}
    )
    page.goto(f"/deployments/{federation}/")
    page.wait_for_selector("#link-state[data-state=live]")
    with platform.clients(federation, 4), platform.clients(federation, 1, prefix="hostile-", train="shift"):
        until(lambda: platform.state(federation) == "finished", PATIENCE)
    rows = page.locator("#participation tbody tr")
    expect(rows).to_have_count(5)  # in the open page, without a reload
    expect(rows.first).to_contain_text(f"hostile-0 look at it 0 {ROUNDS} of {ROUNDS}", use_inner_text=True)
    expect(page.locator("#grid td.o")).to_have_count(4 * ROUNDS)
    expect(page.locator("#grid td.a")).to_have_count(ROUNDS)
    expect(page.locator("#standing")).to_contain_text(f"hostile-0 in {ROUNDS} of its {ROUNDS} rounds")
    accessible(page)
    page.locator("#rounds tbody a").first.click()
    expect(page.locator("#updates")).to_contain_text("the sum of squared distances")
    page.get_by_role("link", name="Score", exact=True).click()
    expect(page.locator("#updates th[aria-sort=ascending]")).to_have_text("Score")
    updates = page.locator("#updates tbody tr")
    expect(updates.first).to_contain_text("counted")
    expect(updates.last).to_contain_text("hostile-0")
    expect(updates.last).to_contain_text("left out")
    expect(updates.get_by_text("left out", exact=True)).to_have_count(4)
    accessible(page)
    found = platform.api("GET", f"results/{federation}/participation/")["results"]
    assert [row["client"] for row in found if row["overlooked"]].count("hostile-0") == 1
