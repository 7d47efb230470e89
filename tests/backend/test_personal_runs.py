"""Runs whose sites keep tensors: asked for over REST and in the form, and what of them the API and the pages tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from backend.catalog.models import Configuration
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment
from mainstem.client.participant import Measured, Outcome
from mainstem.lineage import read_history
from mainstem.protocol.messages import Metrics, Report
from mainstem.swarm import client as swarm
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import logged_in, project, text
from tests.support.federations import LightClient
from tests.support.runs import aggregate

pytestmark = [pytest.mark.backend, pytest.mark.django_db]
MISSING = "Each site keeps dense/bias to itself: every version has version 0's values in its place."
PERSONAL = {"adapt": "personal", "personal": ["dense/bias"], "rounds": 1, "min_clients": 2}


def created(admin: APIClient, configuration: Configuration, **fields: Any) -> Any:
    """The answer to a new deployment."""
    return admin.post("/api/deployments/", {"configuration": configuration.pk, **fields}, format="json")


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"adapt": "personal"}, "personal", "personal is empty: where adapt is personal it names the tensors"),
        ({"personal": ["dense/bias"]}, "personal", "personal means nothing where adapt is strict"),
        ({"adapt": "personal", "personal": ["tail/*"]}, "personal", "there are dense/kernel, dense/bias"),
        ({"adapt": "personal", "personal": ["dense"]}, "personal", "; dense/* is all of that layer"),
        ({"adapt": "personal", "personal": "*"}, "personal", "personal keeps every tensor at the sites"),
        ({"adapt": "both"}, "adapt", "is not a valid choice"),
        ({"ditto": 0}, "ditto", ""),
        ({"ditto": 5000}, "ditto", ""),
        ({"adapt": "slice", "strategy": "median"}, "adapt", "adapt must not be slice: fold median needs every update"),
    ],
)
def test_what_cannot_be_is_refused(
    admin: APIClient, configuration: Configuration, fields: dict[str, Any], field: str, says: str
) -> None:
    """At its field, with the way out."""
    answer = created(admin, configuration, **fields)
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == field and says in str(answer.json()), (
        answer.content
    )


@pytest.fixture
def run(admin: APIClient, configuration: Configuration, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A finished run of two clients, one tensor of each of which stays with it."""
    federation = created(admin, configuration, **PERSONAL, ditto=0.5).json()["federation"]
    publish_pending(log)
    plain = swarm._Function.train

    def measured(personal: float) -> Metrics:
        return Metrics(examples=4, values={"accuracy": personal})

    def train(self: Any, opened: Any, base: Any) -> Outcome:
        report, found = Report(evaluation=measured(0.5), personal=measured(0.75)), plain(self, opened, base)
        return dataclasses.replace(found, claim=dataclasses.replace(found.claim, report=report))

    monkeypatch.setattr(swarm._Function, "train", train)
    monkeypatch.setattr(swarm._Function, "evaluate", lambda *_: Measured(measured(0.625), measured(0.875)))
    clients = [LightClient(log, federation, f"site-{n}", lambda tensors, _: [t + 1 for t in tensors]) for n in "ab"]
    aggregate(log, federation, clients)
    project(log, federation)
    return Deployment.objects.get(federation=federation)


def test_opened_says_it(run: Deployment, log: MemoryLog) -> None:
    """The patterns, and the numbers of the tensors that they mean."""
    opened = read_history(log, run.federation).opened
    assert (opened.adaptation.adapt, opened.adaptation.personal, opened.adaptation.ditto) == (
        "personal", ("dense/bias",), 0.5,
    )  # fmt: skip
    assert opened.personal == (1,)


def test_the_api_has_both_models_side_by_side(run: Deployment, admin: APIClient) -> None:
    """By update, by round, by client at the end; and which tensors a version lacks."""
    result = admin.get(f"/api/results/{run.federation}/").json()

    def accuracy(part: dict[str, Any]) -> tuple[float, float]:
        return part["evaluation"]["values"]["accuracy"], part["personal"]["values"]["accuracy"]

    (round_,) = result["rounds"]
    assert accuracy(result) == (0.625, 0.875) and accuracy(round_) == (0.5, 0.75)
    assert [accuracy(client) for client in round_["clients"]] == [(0.5, 0.75)] * 2
    assert [accuracy(member) for member in result["members"]] == [(0.625, 0.875)] * 2
    assert result["personal_tensors"] == ["dense/bias"] and result["adaptation"]["personal"] == ["dense/bias"]
    assert all(version["missing"] == ["dense/bias"] for version in result["versions"])
    notices = admin.get(f"/api/deployments/{run.pk}/").json()["notices"]
    assert "each site keeps dense/bias to itself: every version has version 0's values in its place" in notices


def test_what_is_downloaded_or_asked_says_what_is_missing(run: Deployment, admin: APIClient) -> None:
    """In a header of the files, and beside the outputs."""
    where = f"/api/results/{run.federation}/versions/1/"
    for file in ("weights.npz", "model.keras"):
        answer = admin.get(f"{where}{file}")
        assert answer["Mainstem-Missing"] == "dense/bias"
        answer.close()
    answer = admin.post(f"{where}predict/", {"inputs": [[1, 2, 3, 4]]}, format="json")
    assert answer.json()["missing"] == ["dense/bias"]


def test_pages_tell_it(run: Deployment, user: Callable[[str], Any]) -> None:
    """What stays, tensor by tensor, and both models of each client."""
    browser = logged_in(user("operator"))
    clients = text(browser.get(reverse("clients-page", args=[run.federation])))
    assert "What stays at each site: 1 of 2 tensors" in clients and "kept at the site" in clients
    assert "Its own model" in clients and "accuracy 0.8750" in clients and "accuracy 0.6250" in clients
    round_ = text(browser.get(reverse("round-page", args=[run.federation, run.rounds.get().seq])))
    assert "Its own model there" in round_ and "accuracy 0.7500" in round_ and "accuracy 0.5000" in round_
    versions = text(browser.get(reverse("versions-page", args=[run.federation])))
    assert MISSING in versions
    for page in ("inference-try-page", "inference-deploy-page"):
        assert MISSING in text(browser.get(reverse(page, args=[run.federation, 1]))), page
    live = text(browser.get(reverse("deployment-page", args=[run.federation])))
    assert MISSING in live and "0.6250 <small>0.8750 the sites' own models</small>" in live
    new = text(browser.get(reverse("deployment-new-page")))
    assert "What a site has of its own" in new and 'name="personal"' in new and 'name="ditto"' in new


def test_a_site_that_has_only_its_own_model_shows_it(run: Deployment, user: Callable[[str], Any]) -> None:
    """Also where the run keeps no tensor from being exchanged: a narrower model (`slice`) is measured by itself."""
    Deployment.objects.update(adaptation={"adapt": "slice"}, personal_tensors=[])
    run.members.update(evaluation=None)
    page = text(logged_in(user("viewer")).get(reverse("clients-page", args=[run.federation])))
    assert "not measured" in page and "accuracy 0.8750" in page


def test_the_form_sends_patterns_with_their_choice_alone(
    configuration: Configuration, user: Callable[[str], Any]
) -> None:
    """Names between commas; what was typed for another choice is left out."""
    browser = logged_in(user("operator"))
    from backend.runs.pages.new_form import DeploymentForm

    typed = {k: v for k, v in DeploymentForm.defaults(str(configuration.pk)).items() if v is not None}
    for adapt, expected in (("personal", "dense/bias, dense/k*"), ("strict", None)):
        body = DeploymentForm({**typed, "adapt": adapt, "personal": "dense/bias, dense/k*"}).body()
        assert body.get("personal") == expected and body["adapt"] == adapt
    answer = browser.post(
        reverse("deployment-new-page"), {**typed, "adapt": "personal", "personal": "dense/bias"}, follow=True
    )
    assert answer.status_code == 200
    assert Deployment.objects.get().adaptation == {"adapt": "personal", "personal": ["dense/bias"], "ditto": None}
