"""A person's own file by clicks alone: uploaded, asked about, shown, injected; with and without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.platform import Platform, until

GERMAN = "Länge;Breite;Art\r\n" + "".join(
    f"{n % 7},{n % 10};{(n * 3) % 5},5;{('groß', 'klein')[n % 2]}\r\n" for n in range(60)
)


def test_a_german_file_becomes_a_stream(
    platform: Platform, page: Page, accessible: Callable[[Page], None], tmp_path: Path
) -> None:
    """Each question names its field, the preview shows the samples, and the stream has them."""
    upload = tmp_path / "messwerte.csv"
    upload.write_bytes(GERMAN.encode("cp1252"))
    page.goto("/datasources/")
    page.get_by_role("link", name="Upload a file").click()
    accessible(page)
    page.get_by_label("File").set_input_files(upload)
    page.get_by_role("button", name="Upload and look").click()
    page.wait_for_url(re.compile(r"/datasources/uploads/\d+/$"))
    expect(page.get_by_role("alert")).to_contain_text("it reads 'Länge;Breite;': say --encoding cp1252")
    page.get_by_label("Encoding").fill("cp1252")
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("alert")).to_contain_text("line 2, column 'Länge', is '0,0'")
    page.get_by_label("Before a fraction stands").select_option("a comma")
    page.get_by_label("Part for test").fill("0.2")
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("heading", name="As the model will see it")).to_be_visible()
    expect(page.locator("#look")).to_contain_text("groß (30), klein (30)")
    expect(page.locator("#look tbody tr")).to_have_count(5)
    accessible(page)
    page.get_by_label("Topic").fill("messwerte-by-clicks")
    page.get_by_role("button", name="Inject into the stream").click()
    expect(page.locator("#injections .state.succeeded").first).to_be_visible()
    expect(page.locator("#injections")).to_contain_text("messwerte.csv into messwerte-by-clicks: 1 stream of 60")
    made = until(lambda: platform.api("GET", "datasources/?topic=messwerte-by-clicks:0:0:60")["results"])
    assert made[0]["input_config"]["label_reshape"] == "2" and made[0]["description"] == "messwerte.csv"
    page.goto(f"/datasources/{made[0]['id']}/")
    expect(page.locator("#samples .sample")).to_have_count(12)


def test_a_file_without_scripts_on_a_phone(open_page: Open, tmp_path: Path) -> None:
    """Plain forms do all of it, and no page is wider than a phone."""
    page = open_page(java_script_enabled=False, viewport={"width": 390, "height": 844})
    upload = tmp_path / "phone.csv"
    upload.write_text("a,b,kind\n1.5,2,x\n3,4,y\n5,6,x\n")
    page.goto("/datasources/upload/")
    page.get_by_label("File").set_input_files(upload)
    page.get_by_role("button", name="Upload and look").click()
    expect(page.get_by_role("heading", name="As the model will see it")).to_be_visible()
    page.get_by_role("button", name="Delete the file").click()
    expect(page.get_by_role("status")).to_contain_text("phone.csv is deleted.")


def test_a_file_too_large_is_not_sent(page: Page, tmp_path: Path) -> None:
    """The size is said beside the field before a byte is sent."""
    upload = tmp_path / "large.csv"
    upload.write_bytes(b"x" * 2000)
    page.goto("/datasources/upload/")
    page.get_by_label("File").evaluate("field => { field.dataset.mostBytes = '1000'; }")
    page.get_by_label("File").set_input_files(upload)
    page.get_by_role("button", name="Upload and look").click()
    expect(page.locator("#id_file-wrong")).to_contain_text("The file has 2,000 bytes; at most 1,000 are taken")
