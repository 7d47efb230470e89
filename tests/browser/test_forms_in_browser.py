"""The whole of a first federation by clicks alone, and what forms do in a browser beyond sending."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from mainstem.aggregation.strategies import STRATEGIES
from tests.browser.conftest import Open, Watch
from tests.browser.drawing import draw
from tests.browser.platform import PASSWORD, Platform


def test_from_sign_in_to_the_result(platform: Platform, open_page: Open, tmp_path: Path) -> None:
    """Sign in, make a model, configure it, deploy it, inject digits, watch real Jobs train it, download the result.

    In the end a digit is drawn and recognised.
    """
    page = open_page(role=None)
    page.goto("/models/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("The user name or password is wrong.")
    page.get_by_label("Password").fill(platform.admin_password)
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("heading", name="Models")).to_be_visible()
    page.get_by_role("link", name="New model").click()
    page.get_by_label("Name", exact=True).fill("digits by clicks")
    page.get_by_label("Template", exact=True).select_option("cnn")
    page.get_by_role("button", name="Check it first").click()
    expect(page.get_by_role("heading", name="This model can be made")).to_be_visible()
    expect(page.locator("#checked tbody tr").first).to_be_visible()
    page.get_by_role("button", name="Make the model").click()
    expect(page.get_by_role("heading", name="digits by clicks")).to_be_visible()

    page.get_by_role("link", name="Use in a configuration").click()
    page.get_by_label("Name", exact=True).fill("digits by clicks")
    expect(page.get_by_label(re.compile("digits by clicks:"))).to_be_checked()
    page.get_by_role("button", name="Make the configuration").click()

    page.get_by_role("link", name="Deploy", exact=True).click()
    page.get_by_label("Name optional").fill("first run by clicks")
    page.get_by_label("Rounds", exact=True).fill("3")
    page.get_by_label("Clients, at least").fill("3")
    page.locator("#id_learning_rate").fill("0.003")
    page.locator("#id_learning_rate").press("Tab")
    expect(page.locator("#preview")).to_contain_text("3 to 1000")
    expect(page.locator("#preview")).to_contain_text("FED-xxxxxxxx-model_control_topic")
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url(re.compile(r"/deployments/[a-z0-9]{8}/$"))
    federation = page.url.rstrip("/").rpartition("/")[2]

    page.get_by_role("link", name="Data sources").click()
    page.get_by_label("Topic", exact=True).fill("digits-by-clicks")
    page.get_by_label("Samples to train, each").fill("200")
    page.get_by_role("button", name="Inject").click()
    expect(page.locator("#injections .state.succeeded")).to_be_visible()
    page.reload()
    page.get_by_role("link", name="Handwritten digits, client 3 of 3").first.click()
    expect(page.locator("#samples img")).to_have_count(12)
    expect(page.get_by_role("row", name=re.compile("first run by clicks"))).to_contain_text("fits")

    page.get_by_role("link", name="first run by clicks").click()
    expect(page.locator("#standing .state.finished")).to_be_visible()
    page.goto(f"/topics/?q={federation}")
    page.get_by_role("link", name=f"FED-{federation}-model_control_topic").click()
    expect(page.locator(".messages .state", has_text=re.compile("^finished$"))).to_be_visible()
    page.goto(f"/deployments/{federation}/versions/")
    with page.expect_download() as started:
        page.locator(f'a[href$="/results/{federation}/versions/3/model.keras"]').first.click()
    kept = tmp_path / "final.keras"
    started.value.save_as(kept)
    with zipfile.ZipFile(kept) as archive:
        assert "model.weights.h5" in archive.namelist()

    page.get_by_role("link", name="Try it: version 3").click()
    draw(page, 2)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#try-winner")).to_have_text("2")


def test_live_validation(platform: Platform, page: Page, watch: Watch) -> None:
    """A wrong value has its sentence while one types on, what does not belong is hidden, and the preview follows."""
    watch.expect("htmx:")  # a question that the next one overtook is given up
    platform.configuration()
    page.goto("/deployments/new/")
    rounds = page.get_by_label("Rounds", exact=True)
    rounds.fill("none")
    rounds.press("Tab")
    expect(page.locator("#id_rounds-wrong")).to_have_text("A valid integer is required.")
    expect(rounds).to_have_attribute("aria-invalid", "true")
    rounds.fill("12")
    rounds.press("Tab")
    expect(page.locator("#id_rounds-wrong")).to_be_empty()
    expect(rounds).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#preview")).to_contain_text("12, sync, fedavg")
    expect(page.get_by_label("Buffer", exact=True)).to_be_hidden()
    page.get_by_label(re.compile("buffered:")).check()
    expect(page.get_by_label("Buffer", exact=True)).to_be_visible()
    expect(page.get_by_label("Target optional")).to_be_hidden()
    expect(page.locator("#preview")).to_contain_text("12, buffered, fedavg")
    page.get_by_label(re.compile("sync: a")).check()
    page.get_by_label("Strategy", exact=True).select_option("krum")
    hostile = page.locator("#id_krum__byzantine")
    expect(page.locator("#id_strategy-field")).to_contain_text(STRATEGIES["krum"].summary)
    expect(page.locator("#id_min_clients-wrong")).to_contain_text("strategy krum needs 5 updates a round")
    hostile.fill("-1")
    hostile.press("Tab")
    expect(page.locator("#id_krum__byzantine-wrong")).to_contain_text("it must be a whole number from 0 to 1000")
    expect(hostile).to_have_attribute("aria-invalid", "true")
    hostile.fill("0")
    page.get_by_label("Clients, at least").fill("3")
    expect(page.locator("#preview")).to_contain_text("12, sync, krum")
    page.get_by_label("Strategy", exact=True).select_option("custom")
    expect(hostile).to_be_hidden()
    fold, weigh = page.locator("#id_custom__fold"), page.locator("#id_custom__weigh")
    fold.select_option("bulyan")
    expect(page.locator("#id_custom__bulyan__byzantine")).to_be_visible()
    expect(page.locator("#id_custom__krum__byzantine")).to_be_hidden()
    expect(page.locator("#id_custom__weigh-wrong")).to_contain_text("must be equal: bulyan counts those alike")
    weigh.select_option("equal")
    expect(page.locator("#id_min_clients-wrong")).to_contain_text("strategy custom needs 7 updates a round")
    fold.select_option("trimmed_mean")
    page.locator("#id_custom__server").select_option("yogi")
    expect(page.locator("#id_custom__bulyan__byzantine")).to_be_hidden()
    expect(page.locator("#id_custom__yogi__beta_2")).to_be_visible()
    expect(page.locator("#preview")).to_contain_text("12, sync, custom")
    page.get_by_label("Strategy", exact=True).select_option("fedavg")
    expect(page.locator("#id_custom__yogi__beta_2")).to_be_hidden()
    page.get_by_role("switch").uncheck()
    expect(rounds).to_be_hidden()
    expect(page.locator("#preview")).to_contain_text("1, sync, fedavg")


def test_source_with_an_error_in_its_line(page: Page) -> None:
    """Source that does not run says why at its line, which the editor marks; nothing typed is lost."""
    page.goto("/models/new/?kind=source")
    page.get_by_label("Name", exact=True).fill("broken")
    code = page.get_by_label("Code")
    code.fill("import keras\nmodel = keras.Sequential([keras.layers.Dens(3)])")
    page.get_by_role("button", name="Check it first").click()
    expect(page.locator("#id_code-wrong")).to_contain_text("line 2")
    expect(page.locator(".gutter b")).to_contain_text("2")
    expect(code).to_have_value(re.compile("Dens"))
    expect(code).to_have_attribute("aria-invalid", "true")


def test_typed_text_survives_the_session(open_page: Open, platform: Platform) -> None:
    """A session that ends in the middle of a form costs a login and nothing of what was typed."""
    page = open_page("operator")
    page.goto("/models/new/?kind=json")
    page.get_by_label("Name", exact=True).fill("kept over a login")
    page.get_by_label("Keras JSON", exact=True).last.fill('{"class_name": "Sequential"}')
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Check it first").click()
    page.wait_for_url(re.compile("/login/"))
    page.get_by_label("User name").fill(platform.person("operator"))
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("kept over a login")
    expect(page.locator("#id_config")).to_have_value('{"class_name": "Sequential"}')
    page.goto("/models/new/")
    expect(page.get_by_label("Name", exact=True)).to_have_value("")


def test_a_file_too_large_is_not_sent(page: Page, tmp_path: Path) -> None:
    """The size is said beside the field before a byte is sent."""
    upload = tmp_path / "large.keras"
    upload.write_bytes(b"x" * 2000)
    page.goto("/models/new/?kind=keras")
    page.locator("[data-most-bytes]").evaluate("field => { field.dataset.mostBytes = '1000'; }")
    page.get_by_label("Name", exact=True).fill("large")
    page.locator("[data-most-bytes]").set_input_files(upload)
    expect(page.locator("#id_file-wrong")).to_contain_text("The file has 2,000 bytes; at most 1,000 are taken")
    page.get_by_role("button", name="Make the model").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("large")


def test_a_file_that_is_no_model(page: Page, tmp_path: Path, watch: Watch) -> None:
    """The workshop opens it and says what it is not; the form stays."""
    watch.expect("400")
    upload = tmp_path / "letter.keras"
    upload.write_bytes(b"Dear model")
    page.goto("/models/new/?kind=keras")
    page.get_by_label("Name", exact=True).fill("a letter")
    page.locator("[data-most-bytes]").set_input_files(upload)
    page.get_by_role("button", name="Make the model").click()
    expect(page.locator("#id_file-wrong")).not_to_be_empty()
    expect(page.get_by_label("Name", exact=True)).to_have_value("a letter")


def test_deletion_names_what_it_destroys(page: Page, platform: Platform) -> None:
    """The dialog says what is lost, and its button works once the name is typed."""
    made = platform.api("POST", "configurations/", {"name": "to go", "models": [1]})
    page.goto(f"/configurations/{made['id']}/")
    page.get_by_role("button", name="Delete", exact=True).click()
    doom = page.get_by_role("button", name="Delete the configuration")
    expect(page.get_by_role("dialog")).to_contain_text("the choice of its 1 model")
    expect(doom).to_be_disabled()
    page.get_by_label(re.compile("to confirm")).fill("to go")
    doom.click()
    expect(page.get_by_role("status")).to_contain_text("The configuration to go is deleted.")


PAGES = (
    "/account/", "/users/", "/users/new/", "/models/", "/models/new/", "/models/1/", "/configurations/",
    "/configurations/new/", "/configurations/1/", "/deployments/new/", "/datasources/", "/topics/",
    "/topics/FEDERATED_MODEL_CONTROL_TOPIC/", "/programs/",
    "/inference/", "/datasources/upload/", "/sites/", "/sites/new/", "/sites/1/",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(
    platform: Platform, open_page: Open, accessible: Callable[[Page], None], scheme: str
) -> None:
    """axe-core finds nothing serious on any of these pages, in light and dark, and none is wider than a phone."""
    platform.configuration()
    page = open_page(color_scheme=scheme, viewport={"width": 390, "height": 844} if scheme == "dark" else None)
    for path in PAGES:
        answer = page.goto(path)
        assert answer is not None and answer.status == 200, path
        accessible(page)
        if scheme == "dark":
            width = page.evaluate("() => document.documentElement.scrollWidth")
            assert width <= 390, f"{path} is {width} px wide on a phone"


def test_without_scripts(platform: Platform, open_page: Open) -> None:
    """The essentials are plain HTML: log in, preview a deployment, read a topic's messages and a stream's page."""
    configuration = platform.configuration()
    page = open_page(java_script_enabled=False)
    page.goto(f"/deployments/new/?configuration={configuration}")
    page.get_by_label("Rounds", exact=True).fill("4")
    page.get_by_role("button", name="Show the preview").click()
    expect(page.locator("#preview")).to_contain_text("4, sync, fedavg")
    page.goto("/topics/")
    expect(page.get_by_role("link", name="FEDERATED_MODEL_CONTROL_TOPIC")).to_be_visible()
