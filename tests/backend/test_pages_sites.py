"""The pages of sites: the list, a token with its command, one site, and the deployment that names whom it admits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from backend.catalog.models import Configuration
from backend.deployments.models import Deployment
from backend.sites.models import Enrolment, Site
from mainstem.protocol.signing import SigningKey
from tests.backend.support import XSS, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


def site(name: str, **more: Any) -> Site:
    """One that is enrolled."""
    return Site.objects.create(name=name, key=SigningKey.generate().public, **more)


def test_a_token_is_shown_once_with_the_command(user: Callable[[str], Any], settings: Any) -> None:
    """After the password; the list then has it without its text, and withdraws it."""
    browser = logged_in(user("operator"))
    assert "No site is enrolled yet" in text(browser.get("/sites/"))
    form = {"name": "north", "hours": "1", "valid_until": "2099-06-30"}
    settings.STEP_UP_SECONDS = 0
    assert browser.post("/sites/new/", form)["Location"].startswith("/confirm/")
    assert not Enrolment.objects.exists()
    settings.STEP_UP_SECONDS = 600
    shown = text(browser.post("/sites/new/", form))
    command = re.search(r'id="enrol-command">([^<]+)<', shown)
    assert command is not None
    found = re.fullmatch(r"mainstem enrol --url http://testserver --token (\S{43})", command[1])
    assert found is not None and Enrolment.objects.get().digest == Enrolment.hash(found[1])
    assert f"{Enrolment.objects.get().valid_until:%Y-%m-%d %H:%M}" == "2099-06-30 00:00"
    listed = text(browser.get("/sites/"))
    assert "Tokens that nobody has used" in listed and found[1] not in listed
    pk = Enrolment.objects.get().pk
    assert "is withdrawn" in text(browser.post(f"/sites/tokens/{pk}/end/", follow=True))
    for wrong, sentence in (
        ({"name": XSS}, "at most 64 of A-Z"),
        ({"name": ""}, "may not be blank"),
        ({"valid_until": "tomorrow"}, "Datetime has wrong format"),
        ({"valid_until": "2020-01-01"}, "This is over already"),
    ):
        refused = browser.post("/sites/new/", form | wrong)
        assert refused.status_code == 400 and sentence in text(refused)
        assert b"<script>alert" not in refused.content
    assert not Enrolment.objects.exists()


def test_a_site_is_changed_and_revoked_on_its_page(
    user: Callable[[str], Any], configuration: Configuration, settings: Any
) -> None:
    """Viewers read; operators change it; revoking asks for the password, and names the runs that still admit it."""
    north = site("north")
    at = f"/sites/{north.pk}/"
    viewer = logged_in(user("viewer"))
    assert north.key in text(viewer.get(at)) and "Revoke" not in text(viewer.get(at))
    assert viewer.post(at, {"allowed": "x"}).status_code == 403
    assert viewer.post(f"{at}revoke/", {"why": "x"}).status_code == viewer.get("/sites/new/").status_code == 403
    browser = logged_in(user("operator"))
    form = {"owners": "the-viewer, the-operator", "valid_until": "2099-01-01 12:30", "allowed": "ddy6heod\nother run\n"}
    assert "is changed" in text(browser.post(at, form, follow=True))
    north.refresh_from_db()
    assert north.allowed == ["ddy6heod", "other run"] and north.owners.count() == 2
    shown = text(browser.get(at))
    assert 'value="the-operator, the-viewer"' in shown and 'value="2099-01-01 12:30"' in shown
    refused = browser.post(at, form | {"owners": "nobody-here"})
    assert refused.status_code == 400 and "nobody-here" in text(refused)
    made = browser.post("/deployments/new/", {
        "configuration": configuration.pk, "admission": "enrolled", "federated": "on", "mode": "sync",
        "strategy": "fedavg", "learning_rate_schedule": "constant", "selection": "all", "encoding_up": "raw",
        "encoding_down": "raw",
    })  # fmt: skip
    assert made.status_code == 302, text(made)
    federation = Deployment.objects.get().federation
    run = text(browser.get(f"/deployments/{federation}/"))
    assert "1 enrolled site: <code>north</code>" in run
    assert f'href="/deployments/{federation}/"' in text(browser.get(at))
    settings.STEP_UP_SECONDS = 0
    assert browser.post(f"{at}revoke/", {"why": "stolen"})["Location"].startswith("/confirm/")
    settings.STEP_UP_SECONDS = 600
    assert "may not be blank" in text(browser.post(f"{at}revoke/", {"why": ""}, follow=True))
    revoked = text(browser.post(f"{at}revoke/", {"why": XSS}, follow=True))
    assert "asked to put it out" in revoked and "Of those that still do" in revoked
    assert b"<script>alert" not in browser.get(at).content
    assert "the site north is revoked, and this run still admits it".capitalize() in text(
        browser.get(f"/deployments/{federation}/")
    )


def test_the_form_offers_the_sites_that_are_valid(user: Callable[[str], Any], configuration: Configuration) -> None:
    """Ticked ones are admitted; a run of enrolled sites without any says what to do."""
    browser = logged_in(user("operator"))
    form = {
        "configuration": configuration.pk, "admission": "enrolled", "federated": "on", "mode": "sync",
        "strategy": "fedavg", "learning_rate_schedule": "constant", "selection": "all", "encoding_up": "raw",
        "encoding_down": "raw",
    }  # fmt: skip
    refused = browser.post("/deployments/new/", form)
    assert refused.status_code == 400 and "No site is enrolled yet: make an enrolment token" in text(refused)
    site("north")
    site("south")
    site("gone", revoked_at=timezone.now())
    page = text(browser.get("/deployments/new/"))
    assert all(f'value="{name}"' in page for name in ("north", "south")) and 'value="gone"' not in page
    preview = text(
        browser.post("/deployments/new/preview/", form | {"sites": ["south"]}, headers={"hx-request": "true"})
    )
    assert "1 enrolled site: <code>south</code>" in preview
    assert browser.post("/deployments/new/", form | {"sites": ["south"]}).status_code == 302
    assert [one["name"] for one in Deployment.objects.get().rules["admission"]["sites"]] == ["south"]
