"""Versions of a long run: pages of them, each version in reach of a reader, a comparison, a download."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from backend.deployments.models import Deployment, Round, Version
from backend.runs.pages.versions import ROWS
from tests.backend.support import logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]
VERSIONS = 1001
PAGE = "/deployments/trail001/versions/"


@pytest.fixture
def long_run() -> Deployment:
    """A run of a thousand rounds; version 7 was rolled back."""
    lineage = [number for number in range(VERSIONS) if number != 7]
    deployment = Deployment.objects.create(
        federation="trail001", name="a long one", state="finished", version=VERSIONS - 1, head={"lineage": lineage}
    )
    Version.objects.bulk_create(
        Version(
            deployment=deployment, number=number, seq=number, parent=number - 1 if number else None,
            sha256=f"{number:064x}", nbytes=16, weights={}, offset=number, created_ms=1_790_000_000_000 + number,
            evaluation={"examples": 9, "values": {"loss": 1 / (number + 1)}},
        )
        for number in range(VERSIONS)
    )  # fmt: skip
    Round.objects.bulk_create(
        Round(
            deployment=deployment, seq=number, number=number, version=number, base_version=number - 1, opened_ms=1,
            closed_ms=2, closed_by="all", committed_ms=3, examples=number, accepted=2, writer="w", offset=number,
        )
        for number in range(1, VERSIONS)
    )  # fmt: skip
    return deployment


@pytest.fixture
def browser(user: Callable[[str], Any]) -> Client:
    """An operator's."""
    return logged_in(user("operator"))


def shown(page: str) -> list[int]:
    """The numbers of the versions in the page's table, from top to bottom."""
    return [int(number) for number in re.findall(r'<tr id="v(\d+)"', page)]


def test_every_version_is_on_a_page(long_run: Deployment, browser: Client) -> None:
    """The newest first, one after another, each with its files; a number leads to the page that holds it."""
    newest = text(browser.get(PAGE))
    assert shown(newest) == list(range(1000, 1000 - ROWS, -1)) and "Page 1 of " in newest
    second = text(browser.get(PAGE, {"page": 2}))
    assert shown(second)[0] == 1000 - ROWS
    last = text(browser.get(PAGE, {"page": 10**6}))
    assert shown(last)[-1] == 0
    for number in (1000, 951, 950, 537, 7, 0):
        page = text(browser.get(PAGE, {"version": number}))
        assert number in shown(page), number
        for name in ("version-keras", "version-weights"):
            assert f'href="{reverse(name, args=("trail001", number))}"' in page
    assert "There is no version 1001: they run from 0 to 1000." in text(browser.get(PAGE, {"version": 1001}))


def test_any_two_versions_are_compared(long_run: Deployment, browser: Client) -> None:
    """Wherever they stand; the choice stays in the address from page to page, and a row chooses its version."""
    page = text(browser.get(PAGE, {"a": 3, "b": 998, "page": 4}))
    assert "Version 3 beside version 998" in page
    assert "-0.2490" in page and "0.2500" in page and "0.0010" in page  # loss 1/4, 1/999, their difference
    assert re.search(r'href="\?[^"]*page=5[^"]*"', page)
    older = re.search(r'href="(\?[^"]*page=5[^"]*)"', page)
    assert older is not None and "a=3" in older[1] and "b=998" in older[1]
    assert re.search(r'<input[^>]*name="a"[^>]*value="3"', page) and re.search(
        r'<input[^>]*name="b"[^>]*value="998"', page
    )
    row = page[page.index('<tr id="v850"') : page.index('<tr id="v849"')]
    assert re.search(r'href="\?[^"]*a=850[^"]*"', row) and re.search(r'href="\?[^"]*b=850[^"]*"', row)
    assert "There is no version 4000: they run from 0 to 1000." in text(browser.get(PAGE, {"a": 4000, "b": 1}))
    assert "compare-title" not in text(browser.get(PAGE, {"a": "x", "b": "1"}))


def test_versions_over_rest_come_in_pages(long_run: Deployment, client_of: Callable[[str], APIClient]) -> None:
    """All of them, and either end first."""
    viewer = client_of("viewer")
    address = "/api/results/trail001/versions/?page_size=500"
    found: list[int] = []
    while address:
        answer = viewer.get(address).json()
        found += [version["number"] for version in answer["results"]]
        address = answer["next"]
    assert found == list(range(VERSIONS)) and answer["count"] == VERSIONS
    newest = viewer.get("/api/results/trail001/versions/?ordering=-number&page_size=2").json()["results"]
    assert [version["number"] for version in newest] == [1000, 999]
    assert viewer.get("/api/results/trail001/versions/?ordering=colour").status_code == 400
    assert viewer.get("/api/results/trail001/versions/537/").json()["sha256"] == f"{537:064x}"
