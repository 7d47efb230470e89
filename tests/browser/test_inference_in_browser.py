"""A version tried and deployed by clicks: a digit is drawn with the mouse and recognised, replicas answer a topic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer
from playwright.sync_api import Page, expect

from inject_scripts import digits
from mainstem.platform.home import Running
from tests.browser.conftest import Watch
from tests.browser.drawing import STROKES, draw
from tests.browser.platform import Platform

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def trained(platform: Platform) -> str:
    """A federation whose newest version knows the digits: trained by two real Jobs on real digits."""
    return platform.learned_digits()


def test_a_drawn_digit_is_recognised(page: Page, trained: str, accessible: Callable[[Page], None]) -> None:
    """From the navigation: the run's version, a digit drawn with the mouse, the prediction with its bars."""
    page.get_by_role("link", name="Inference").click()
    page.locator("tr", has_text=trained).get_by_role("link", name="Try it: version").click()
    expect(page.get_by_role("heading", name="Try it")).to_be_visible()
    accessible(page)
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#try-result")).to_contain_text("There is no sample yet")
    for digit in STROKES:
        page.get_by_role("button", name="Clear").click()
        draw(page, digit)
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(page.locator("#try-winner")).to_have_text(str(digit))
        expect(page.locator(".bars .winner th")).to_have_text(str(digit))
        accessible(page)


def test_a_sample_of_the_data_is_recognised(page: Page, watch: Watch, trained: str) -> None:
    """Without drawing: a sample of the stream, by the keyboard alone."""
    watch.expect("400 (Bad Request)")  # of the sample of a wrong shape
    page.goto(f"/inference/try/{trained}/5/")
    page.get_by_role("button", name="Take a sample of the data").press("Enter")
    told = page.locator("#try-told")
    expect(told).to_contain_text("A sample with the label")
    page.get_by_role("button", name="Predict", exact=True).press("Enter")
    expect(page.locator("#try-winner")).to_be_visible()
    page.get_by_text("The values as JSON").first.click()
    page.locator("#try-values").fill("[1, 2]")
    page.locator("#try-result").evaluate("node => node.replaceChildren()")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#try-result")).to_contain_text("the model takes")


def test_a_version_is_deployed_answers_and_is_ended(
    page: Page, platform: Platform, trained: str, accessible: Callable[[Page], None]
) -> None:
    """Form, replicas, real records in and out, the figures on the page, and the end."""
    page.goto(f"/inference/deploy/{trained}/5/")
    accessible(page)
    page.get_by_label("Name").fill("Not A Name")
    expect(page.locator("#id_name-wrong")).to_contain_text("1 to 40 characters")
    page.get_by_label("Name").fill("by-clicks")
    page.get_by_label("Input topic").fill("clicks-in")
    page.get_by_label("Output topic").fill("clicks-out")
    expect(page.locator("#preview")).to_contain_text("clicks-in")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.get_by_role("heading", name="by-clicks")).to_be_visible()
    expect(page.locator("#standing .state")).to_have_text("running")
    accessible(page)
    running = platform.home.running()
    assert running is not None
    x, y = digits.load()
    asked = answered(running, [sample.astype("<f4").tobytes() for sample in x[:30]])
    right = [json.loads(value)["outputs"] for value in asked]
    winners = [outputs.index(max(outputs)) for outputs in right]
    assert sum(a == b for a, b in zip(winners, y[:30], strict=True)) >= 25
    expect(page.locator("#standing")).to_contain_text("30")
    page.get_by_role("button", name="End it").click()
    page.get_by_role("dialog").get_by_role("button", name="End it").click()
    expect(page.get_by_role("heading", name="Inference")).to_be_visible()
    expect(page.locator("#content")).not_to_contain_text("by-clicks")


def answered(running: Running, values: list[bytes]) -> list[bytes]:
    """The committed answers to these records, in their order."""
    producer = Producer({"bootstrap.servers": running.kafka})
    for number, value in enumerate(values):
        producer.produce("clicks-in", value, str(number).encode())
    producer.flush()
    consumer = Consumer(
        {"bootstrap.servers": running.kafka, "group.id": "clicks", "auto.offset.reset": "earliest",
         "isolation.level": "read_committed"}
    )  # fmt: skip
    consumer.subscribe(["clicks-out"])
    found: dict[int, bytes] = {}
    deadline = time.monotonic() + 90
    while len(found) < len(values):
        assert time.monotonic() < deadline, f"{len(found)} answers came"
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            found[int(message.key() or b"0")] = message.value() or b""
    consumer.close()
    return [found[number] for number in range(len(values))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(open_page: Open, trained: str, accessible: Callable[[Page], None], scheme: str) -> None:
    """axe-core finds nothing serious, in light and dark, and no page is wider than a phone."""
    page = open_page(color_scheme=scheme, viewport={"width": 390, "height": 844})
    for path in ("/inference/", f"/inference/try/{trained}/5/", f"/inference/deploy/{trained}/5/"):
        page.goto(path)
        accessible(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, path


def test_a_viewer_may_look_only(open_page: Open, trained: str) -> None:
    """The panel says which role is needed; there is no button that would be refused."""
    page = open_page(role="viewer")
    page.goto(f"/inference/try/{trained}/5/")
    expect(page.get_by_text("needs the role of an operator")).to_be_visible()
    expect(page.get_by_role("link", name="Deploy it")).to_have_count(0)
