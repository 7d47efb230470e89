"""Digits drawn with the mouse, as a hand draws them, on the sheet of the panel that tries a version."""

from __future__ import annotations

from playwright.sync_api import Page

STROKES = {
    2: [(85, 95), (105, 60), (140, 45), (175, 60), (188, 95), (175, 130), (130, 180), (85, 230), (195, 230)],
    5: [(190, 45), (105, 45), (95, 130), (150, 115), (190, 150), (185, 210), (130, 240), (85, 220)],
}
"""On a sheet of 280 x 280."""


def draw(page: Page, digit: int) -> None:
    """One of `STROKES`, on the page's sheet."""
    sheet = page.locator("#try-canvas")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box is not None
    at = [(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280) for x, y in STROKES[digit]]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
