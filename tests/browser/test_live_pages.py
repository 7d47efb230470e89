"""The run's pages as people see them: rows that change without a reload, streams that return, nothing out of reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.browser.conftest import Open, Watch
from tests.browser.platform import Platform, until

LIVE = "#link-state[data-state=live]"
GRID = """() => [
    [...document.querySelectorAll("#grid thead th[data-round]:not(.open)")].map((cell) => Number(cell.dataset.round)),
    document.querySelectorAll("#grid td.a").length,
]"""
"""The committed rounds of the grid and how many updates it shows as accepted."""


@pytest.fixture(scope="package")
def finished(platform: Platform) -> str:
    """A federation of three light clients that went through three rounds."""
    return platform.finished("finished run")


def stays(page: Page) -> list[str]:
    """The addresses that the page goes to from now on, a reload included: none, if all is well."""
    gone: list[str] = []
    page.on("framenavigated", lambda frame: gone.append(frame.url))
    return gone


def test_rows_come_without_a_reload(platform: Platform, open_page: Open) -> None:
    """Two people watch: clients join, rounds commit and the run ends in both browsers, and neither page reloads."""
    federation = platform.federation("watched by two", rounds=3, min_clients=3)
    pages = [open_page("admin"), open_page("viewer", viewport={"width": 390, "height": 844})]
    went = []
    for page in pages:
        page.goto(f"/deployments/{federation}/")
        expect(page.get_by_role("heading", name="Nobody has joined yet")).to_be_visible()
        page.wait_for_selector(LIVE)
        went.append(stays(page))
    with platform.clients(federation, 3, seconds=4.0):
        for page in pages:
            expect(page.locator("#grid tbody tr")).to_have_count(3)
            expect(page.locator("#grid td.t").first).to_be_visible()
        for page in pages:
            expect(page.locator("#standing .state.finished")).to_be_visible()
            expect(page.locator("#grid td.a")).to_have_count(9)
            expect(page.locator("#rounds tbody tr")).to_have_count(3)
            expect(page.locator("#lanes tbody tr")).to_have_count(3)
    assert went == [[], []]
    expect(pages[0].get_by_role("button", name="Stop")).to_have_count(0)
    expect(pages[0].get_by_role("button", name="Start anew")).to_be_visible()
    expect(pages[1].get_by_role("button", name="Start anew")).to_have_count(0)


def test_a_late_drawing_of_the_grid_misses_nothing(platform: Platform, page: Page) -> None:
    """The run goes through all its rounds while the server's drawing of the grid is on its way."""
    federation = platform.federation("drawn slowly", rounds=3, min_clients=2)
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/part/grid/**", lambda route: held.append((route, route.fetch())), times=1)
    page.goto(f"/deployments/{federation}/")
    page.wait_for_selector(LIVE)
    with platform.clients(federation, 2):
        expect(page.locator("#standing .state.finished")).to_be_visible()
    [(route, response)] = held
    route.fulfill(response=response)
    expect(page.locator("#grid td.a")).to_have_count(6)


def test_stream_returns_after_the_server(platform: Platform, page: Page, watch: Watch) -> None:
    """The web server is killed in mid-run: the page says so, comes back by itself, and misses no round."""
    for part in ("net::ERR_", "htmx:"):  # requests that met no server
        watch.expect(part)
    federation = platform.federation("survives its server", rounds=2000, min_clients=2)
    with platform.clients(federation, 2, seconds=1.0):
        page.goto(f"/deployments/{federation}/")
        page.wait_for_selector(LIVE)
        went = stays(page)
        expect(page.locator("#grid td.a").nth(5)).to_be_visible()
        platform.kill_web()
        reached = platform.api("GET", f"deployments/{federation}/")["round"] + 3
        last = "document.querySelector('#grid thead th:nth-last-child(2)').dataset.round"
        page.wait_for_function(f"() => Number({last}) >= {reached}")
    # both at one moment: a last round may commit while the clients leave
    rounds, cells = until(lambda: grid if len((grid := page.evaluate(GRID))[0]) * 2 == grid[1] else None)
    assert rounds == list(range(rounds[0], rounds[-1] + 1)) and cells == 2 * len(rounds)
    assert went == []


def test_people_act_on_a_run(platform: Platform, page: Page) -> None:
    """Stop, resume, another deadline, and a deletion that names what it destroys and wants the id typed."""
    federation = platform.federation("acted upon", rounds=500, min_clients=2)
    with platform.clients(federation, 2, seconds=0.5):
        page.goto(f"/deployments/{federation}/")
        expect(page.locator("#grid td.a").first).to_be_visible()
        page.get_by_role("button", name="Change the deadline").click()
        page.get_by_label("Seconds a round").fill("77")
        page.get_by_role("button", name="Change it").click()
        expect(page.get_by_text("Rounds now have 77 s.")).to_be_visible()
        expect(page.locator("#standing")).to_contain_text("77 s")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator("#standing .state.stopped")).to_be_visible()
        page.get_by_role("button", name="Resume").click()
        # it runs on, or waits: its light clients left when it stopped
        expect(page.locator("#standing .state.running, #standing .state.waiting")).to_be_visible()
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("versions of the model")
    expect(dialog).to_contain_text(f"FED-{federation}-model_data_topic")
    doom = dialog.get_by_role("button", name="Delete the federation")
    expect(doom).to_be_disabled()
    dialog.get_by_label("to confirm").fill(federation)
    doom.click()
    expect(page.get_by_text("is being deleted")).to_be_visible()
    until(lambda: not platform.api("GET", f"deployments/?federation={federation}")["results"], 60)


def test_a_round_is_proved_on_its_page(page: Page, finished: str) -> None:
    """The verify button re-derives the version from the log and fills in each update's norm and cosine."""
    page.goto(f"/deployments/{finished}/")
    page.locator("#rounds tbody a").first.click()
    expect(page.get_by_role("heading", name="Round 3", exact=True)).to_be_visible()
    page.get_by_role("button", name="Verify and measure").click()
    expect(page.locator("#proof .state.proved")).to_be_visible()
    cells = page.locator("table.bars tbody tr").first.locator("td.number").all_inner_texts()
    assert any(re.fullmatch(r"\d+\.\d{4}", cell) for cell in cells), cells


def test_versions_are_compared_and_rolled_back(platform: Platform, page: Page, finished: str) -> None:
    """Two versions side by side, by address; a rollback takes the run back and strikes out what it undid."""
    page.goto(f"/deployments/{finished}/versions/")
    page.get_by_label("1st: version 1", exact=True).click()
    page.get_by_label("2nd: version 3", exact=True).click()
    expect(page.get_by_role("heading", name="Version 1 beside version 3")).to_be_visible()
    assert "a=1" in page.url and "b=3" in page.url
    page.get_by_label("beside version", exact=True).fill("2")
    page.get_by_role("button", name="Compare the two").click()
    expect(page.get_by_role("heading", name="Version 1 beside version 2")).to_be_visible()
    run = platform.finished("rolled back", rounds=3, count=1)
    page.goto(f"/deployments/{run}/versions/")
    page.locator("#v1").get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("The run goes on from version 1.", exact=True)).to_be_visible()
    until(lambda: platform.api("GET", f"deployments/{run}/")["version"] == 1)
    page.reload()
    expect(page.get_by_text("rolled back", exact=True).first).to_be_visible()


def test_the_recorder_goes_through_time(page: Page, finished: str) -> None:
    """The slider shows the run at its start and at its end, forth and back, and keeps the time in the address."""
    page.goto(f"/deployments/{finished}/recorder/")
    slider = page.get_by_label("Time in the run")
    expect(slider).to_be_enabled()
    expect(page.locator("#now-state")).to_have_text("finished")  # it opens on the last moment
    expect(page.locator("#grid td.a")).to_have_count(9)
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#now-state")).to_have_text("opened")
    expect(page.locator("#grid td.a")).to_have_count(0)
    assert "t=" in page.url
    page.get_by_label("Speed").select_option("600")
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#now-state")).to_have_text("finished")


def test_runs_are_laid_over_each_other(platform: Platform, page: Page, finished: str) -> None:
    """Two runs are chosen by clicks; what differs in their settings stands first, and the choice is in the address."""
    other = platform.finished("other run", rounds=2, count=2)
    page.goto("/compare/")
    for federation in (finished, other):
        page.locator(f'input[value="{federation}"]').check()
    page.get_by_role("button", name="Compare").click()
    assert page.url.count("run=") == 2
    expect(page.locator("tr.changed").first).to_contain_text("rules.")


def test_filters_live_in_the_address(page: Page, finished: str) -> None:
    """A filtered list can be shared: the address alone brings it back; an empty one says what to do."""
    page.goto("/deployments/?state=finished&q=finished+run")
    expect(page.get_by_role("link", name="finished run").first).to_be_visible()
    expect(page.get_by_label("State")).to_have_value("finished")
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_role("heading", name="No deployment is like that")).to_be_visible()
    assert "state=failed" in page.url and "q=finished" in page.url


def test_pages_are_accessible(page: Page, finished: str, accessible: Callable[[Page], None]) -> None:
    """axe-core finds nothing serious on any page about a run, in light and in dark."""
    run = f"/deployments/{finished}/"
    own = (run, f"{run}rounds/1/", f"{run}versions/?a=1&b=2", f"{run}clients/", f"{run}recorder/")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        for path in ("/", "/deployments/", *own, f"/compare/?run={finished}", "/jobs/"):
            page.goto(path)
            accessible(page)


def test_the_login_is_accessible(open_page: Open, accessible: Callable[[Page], None]) -> None:
    """Nobody is kept out by the form itself."""
    page = open_page(None)
    page.goto("/login/")
    accessible(page)


def test_the_keyboard_reaches_everything(page: Page, finished: str) -> None:
    """The first Tab offers to skip to the content; the theme and a dialog work without a mouse."""
    page.goto(f"/deployments/{finished}/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("button", name="Theme").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    page.reload()
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Delete").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_an_ended_session_leads_to_the_login_and_back(page: Page, finished: str) -> None:
    """A fragment that is asked for after the session ended sends the page to the login, which leads back to it."""
    page.goto("/jobs/")
    page.context.clear_cookies()
    page.wait_for_url(re.compile("/login/"))
    assert "next=%2Fjobs%2F" in page.url


def test_exports_hold_the_run(page: Page, finished: str) -> None:
    """CSV and JSON hold every client's update."""
    page.goto(f"/deployments/{finished}/")
    with page.expect_download() as csv:
        page.get_by_role("link", name="CSV").click()
    assert len(csv.value.path().read_text().splitlines()) == 10
    with page.expect_download() as whole:
        page.get_by_role("link", name="JSON").click()
    assert len(json.loads(whole.value.path().read_text())["rounds"]) == 3
