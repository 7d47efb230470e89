"""What a run's page leads on to, and how its times are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

import backend
from backend.deployments.models import Deployment
from backend.site.templatetags.shell import SHAPES, when
from tests.backend.support import logged_in, text

PAGE = "/deployments/one00001/"


@pytest.fixture
def run(db: None) -> Deployment:
    """A run in the database alone."""
    return Deployment.objects.create(federation="one00001", name="first run", state="waiting", version=0)


@pytest.fixture
def operator(user: Callable[[str], Any]) -> Client:
    """An operator's browser."""
    return logged_in(user("operator"))


@pytest.mark.backend
def test_a_waiting_run_leads_to_injecting(run: Deployment, operator: Client) -> None:
    """Until it has clients."""
    assert 'href="/datasources/#inject"' in text(operator.get(f"{PAGE}part/standing/"))
    Deployment.objects.update(state="running")
    assert "#inject" not in text(operator.get(f"{PAGE}part/standing/"))


@pytest.mark.backend
def test_a_finished_run_leads_to_its_model(run: Deployment, operator: Client, user: Callable[[str], Any]) -> None:
    """To get it, try it, and deploy it; who may not deploy is not led there."""
    Deployment.objects.update(state="finished", version=4)
    page = text(operator.get(PAGE))
    for step in ("version-keras", "version-weights", "inference-try-page", "inference-deploy-page"):
        assert f'href="{reverse(step, args=("one00001", 4))}"' in page, step
    viewer = text(logged_in(user("viewer")).get(PAGE))
    assert "Try it" in viewer and "Deploy for inference" not in viewer


@pytest.mark.backend
def test_starting_anew_asks_first_and_is_linked_both_ways(
    run: Deployment, operator: Client, configuration: Any
) -> None:
    """The button opens a question; a run names whose it is, and what was started from it, on each of its pages."""
    Deployment.objects.update(model=configuration.models.first())
    page, actions = text(operator.get(PAGE)), text(operator.get(f"{PAGE}part/actions/"))
    assert "act/restart/" not in actions and 'data-dialog="anew"' in actions
    assert page.index('<dialog id="anew"') < page.index("act/restart/")
    Deployment.objects.create(federation="two00002", name="second run", state="waiting", parent="one00001")
    Deployment.objects.create(federation="tri00003", name="third run", state="waiting", parent="elsewher")
    for path in ("", "versions/", "clients/", "recorder/"):
        parent, child = text(operator.get(f"{PAGE}{path}")), text(operator.get(f"/deployments/two00002/{path}"))
        assert 'Started anew as <a href="/deployments/two00002/">second run</a>' in parent
        assert 'Started anew from <a href="/deployments/one00001/">first run</a>' in child
    assert "Started anew from <code>elsewher</code>." in text(operator.get("/deployments/tri00003/"))


def test_times_name_their_zone() -> None:
    """Datetimes of any zone and the log's milliseconds alike; what is no time is nothing."""
    at = datetime(2026, 11, 30, 9, 5, 7, tzinfo=timezone(timedelta(hours=1)))
    for value in (at, round(at.timestamp() * 1000)):
        assert when(value) == (
            '<time datetime="2026-11-30T08:05:07Z" data-shape="second" title="2026-11-30 08:05:07 UTC">'
            "2026-11-30 08:05:07 UTC</time>"
        )
        assert ">08:05:07 UTC<" in when(value, "clock") and ">2026-11-30 08:05 UTC<" in when(value, "minute")
    assert [when(value) for value in (None, 0, "", "soon", 1 << 70)] == [""] * 5


@given(st.integers(1, 253_402_300_799), st.sampled_from(sorted(SHAPES)))
def test_the_element_says_the_same_time(seconds: int, shape: str) -> None:
    """Whatever is shown of it."""
    found = re.search('datetime="([^"]*)"', when(seconds * 1000, shape))
    assert found is not None and datetime.fromisoformat(found[1]) == datetime.fromtimestamp(seconds, UTC)


def test_no_template_writes_a_time_by_itself() -> None:
    """One filter knows how."""
    templates = list(Path(backend.__file__).parent.rglob("*.html"))
    assert len(templates) > 50
    for path in templates:
        assert not re.search(r"\|(date|time)\b|\{% now", path.read_text()), path
