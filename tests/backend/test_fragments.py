"""Fragments for htmx and whole pages share addresses: each answer says so, and what an ended session does to both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from backend.deployments.projection import projection
from mainstem.testing.memory_log import MemoryLog
from tests.backend.test_projection import CLUSTER, VALUES, records
from tests.vectors.examples import FEDERATION

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

FRAGMENT = {"HX-Request": "true", "HX-Current-URL": "http://testserver/jobs/?state=failed"}
IN_PLACE_OF = {"federation": FEDERATION, "name": "standing", "action": "stop"}
SHARED = {"overview-page", "clients-page", "job-list-page", "inference-list-page"}
"""Pages that are there in this test and answer htmx with a part of themselves."""


def pages(patterns: Iterable[Any]) -> Iterator[str]:
    """The names of all addresses outside the API."""
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            assert pattern.name, pattern
            yield pattern.name
        elif str(pattern.pattern) != "api/":
            yield from pages(pattern.url_patterns)


def address(name: str) -> str:
    """An address of that name."""
    (((_, names),), *_) = get_resolver().reverse_dict.getlist(name)[0]
    return reverse(name, kwargs={one: IN_PLACE_OF.get(one, "1") for one in names})


@pytest.fixture
def admin(user: Callable[[str], Any], log: MemoryLog) -> Client:
    """An admin's session; the example run is there to be seen."""
    projection.take(CLUSTER, records(range(len(VALUES))))
    browser = Client()
    browser.force_login(user("admin"))
    return browser


def test_answers_say_that_htmx_gets_others(admin: Client) -> None:
    """Whatever the address, no cache may give one the other's answer: page, fragment, refusal and redirect alike."""
    names = list(pages(get_resolver().url_patterns))
    assert len(names) > 40
    shared = set()
    for name in names:
        whole, part = (admin.get(address(name), headers=headers) for headers in ({}, FRAGMENT))
        for answer in (whole, part):
            assert "HX-Request" in answer.get("Vary", "").split(", "), (name, answer.status_code)
        if not whole.streaming and b"<html" in whole.content and part.status_code == 200:
            shared |= {name} if b"<html" not in part.content else set()
    assert shared >= SHARED


def test_an_ended_session_sends_the_page_to_the_login() -> None:
    """htmx is told to take the whole page there, and back after; who opens the page is redirected."""
    nobody = Client()
    whole, part = nobody.get("/jobs/"), nobody.get("/jobs/", headers=FRAGMENT)
    assert (whole.status_code, whole["Location"]) == (302, "/login/?next=/jobs/")
    assert (part.status_code, part["HX-Redirect"]) == (204, "/login/?next=%2Fjobs%2F%3Fstate%3Dfailed")
    assert {"HX-Request"} <= set(whole["Vary"].split(", "))
    assert {"HX-Request", "HX-Current-URL"} <= set(part["Vary"].split(", "))
