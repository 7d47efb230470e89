"""Forests of boosted trees from end to end in the backend: made, deployed, trained by real XGBoost, measured, asked,
downloaded; and what does not go with them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from django.urls import reverse
from rest_framework.test import APIClient

from backend.audit.models import AuditEntry
from backend.catalog.models import Configuration, Model
from backend.deployments.log.outbox import publish_pending
from backend.deployments.models import Deployment
from backend.runs.pages.new_form import DeploymentForm
from federated_training.data.dataset import Dataset, split
from federated_training.engines.forest.engine import ForestEngine
from federated_training.serving.forest import predictor
from mainstem.jobs import forests
from mainstem.lineage import read_history, verify
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import logged_in, project, text
from tests.support.federations import LightClient, head_tensors
from tests.support.runs import aggregate

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

FOREST = {"features": 4, "objective": "multi:softprob", "classes": 3, "depth": 3, "trees": 60}


def site(number: int) -> Dataset:
    """One site's samples, whose classes the first two features decide."""
    random = np.random.default_rng(number)
    x = random.normal(size=(150, 4)).astype(np.float32)
    y = ((x[:, 0] > 0).astype(np.int32) + (x[:, 1] > 0)).astype(np.int32)
    return split(x, y, validation_rate=0.2, test_rate=0, seed=number)


@pytest.fixture
def made(admin: APIClient, db: None) -> Configuration:
    """A configuration of one forest, made over REST."""
    answer = admin.post("/api/models/", {"name": "trees", "forest": FOREST}, format="json")
    assert answer.status_code == 201, answer.content
    configuration = Configuration.objects.create(name="tabular")
    configuration.models.set([Model.objects.get()])
    return configuration


@pytest.fixture
def run(admin: APIClient, made: Configuration, log: MemoryLog) -> Deployment:
    """A federation of it after three rounds of two sites."""
    asked = {"configuration": made.pk, "rounds": 3, "min_clients": 2}
    answer = admin.post("/api/deployments/", asked, format="json")
    assert answer.status_code == 201, answer.content
    federation = answer.json()["federation"]
    publish_pending(log)
    opened = read_history(log, federation).opened
    aggregate(log, federation, [LightClient(log, federation, f"c{n}", training(opened, n)) for n in range(2)])
    project(log, federation)
    return Deployment.objects.get()


def training(opened: Any, number: int) -> Callable[[Sequence[Tensor], int], list[Tensor]]:
    """What a site's Job would do, with its own engine."""
    engine, data = ForestEngine(opened), site(number)

    def train(tensors: Sequence[Tensor], base: int) -> list[Tensor]:
        engine.load(tensors)
        return list(engine.train(data, base, lambda share: None).tensors)

    return train


def test_a_model_of_its_parameters(admin: APIClient, made: Configuration) -> None:
    """No workshop takes part: they are all of it."""
    model = Model.objects.get()
    shown = admin.get(f"/api/models/{model.pk}/").json()
    assert (shown["kind"], shown["framework"], shown["origin"]) == ("forest", "xgboost", {"forest": FOREST})
    assert (shown["input"]["shape"], shown["output"]["shape"]) == ([4], [3])
    assert [tensor["shape"] for tensor in shown["tensors"]] == [[1], [60, 15], [60, 15]]
    answer = admin.get(f"/api/models/{model.pk}/model.keras")
    assert answer.status_code == 409 and "A forest has no .keras file" in answer.json()["detail"]
    page = text(logged_in(model.created_by).get(reverse("model-page", args=[model.pk])))
    assert "multi:softprob" in page and "Download .keras" not in page
    assert "boosted trees" in text(logged_in(model.created_by).get(reverse("model-list-page")))


@pytest.mark.parametrize(
    ("forest", "field", "says"),
    [
        ({}, "forest", "needs forest"),
        ({"features": "many"}, "forest.features", "features is 'many'; it must be a whole number"),
        ({"features": 4, "objective": "multi"}, "forest.objective", "must be one of binary:logistic"),
        ({"features": 4, "classes": 5}, "forest.classes", "classes must be left out with binary:logistic"),
    ],
)
def test_parameters_that_cannot_be_are_named(admin: APIClient, forest: Any, field: str, says: str) -> None:
    """At their field, with the way out."""
    answer = admin.post("/api/models/", {"name": "m", "kind": "forest", "forest": forest}, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field and says in str(answer.json()), answer.content


def test_a_run_learns_is_proved_and_answers(
    admin: APIClient, run: Deployment, log: MemoryLog, tmp_path: Path, fake_workshop: Any
) -> None:
    """Its predictions are those of the file that it is downloaded as, by XGBoost itself, and a replica's."""
    assert (run.state, run.version, run.strategy["name"], run.rules["max_clients"]) == ("finished", 3, "bagging", 6)
    assert {proof.state for proof in verify(log, run.federation)} == {"proved"}
    test = site(9).training
    address = f"/api/results/{run.federation}/versions/3"
    answer = admin.post(f"{address}/predict/", {"inputs": test.x.tolist()}, format="json")
    assert answer.status_code == 200, answer.content
    outputs = np.array(answer.json()["outputs"], np.float32)
    assert answer.json()["shape"] == [len(test), 3] and np.mean(outputs.argmax(axis=1) == test.y) > 0.85
    file = admin.get(f"{address}/model.json")
    assert file.status_code == 200
    last = AuditEntry.objects.order_by("-id")[0]
    assert (last.action, last.object, last.detail) == ("version.download", f"{run.federation}/3", "model.json")
    (tmp_path / "model.json").write_bytes(b"".join(file))
    booster = xgboost.Booster()
    booster.load_model(tmp_path / "model.json")
    np.testing.assert_allclose(booster.predict(xgboost.DMatrix(test.x)), outputs, atol=1e-6)
    assert booster.num_boosted_rounds() == 3 * 2
    replica = predictor(read_history(log, run.federation).opened, head_tensors(log, run.federation))
    np.testing.assert_allclose(replica(test.x), outputs, atol=1e-7)
    with np.load(io.BytesIO(b"".join(admin.get(f"{address}/weights.npz")))) as arrays:
        assert arrays["t0000"].tolist() == [18]
    refused = admin.get(f"{address}/model.keras")
    assert refused.status_code == 409 and "model.json instead" in refused.json()["detail"]
    wrong = admin.post(f"{address}/predict/", {"inputs": [[1, 2]]}, format="json")
    assert wrong.status_code == 400 and not fake_workshop.asked


def test_the_pages_of_a_run(run: Deployment, user: Callable[[str], Any]) -> None:
    """Every page of it, with the file that it can be downloaded as; nothing says that its integers are left alone."""
    page = logged_in(user("operator"))
    shown = text(page.get(reverse("deployment-page", args=[run.federation])))
    assert "are not averaged" not in shown and "Get .json" in shown
    assert "model.json" in text(page.get(reverse("versions-page", args=[run.federation])))
    record = run.rounds.order_by("number").first()
    assert record is not None
    assert "c1" in text(page.get(reverse("round-page", args=[run.federation, record.seq])))
    assert page.get(reverse("inference-try-page", args=[run.federation, 3])).status_code == 200


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ({"strategy": {"name": "fedavg"}}, "strategy.name", "must be bagging, or fold concatenate"),
        ({"strategy": {"name": "krum"}, "min_clients": 5}, "strategy.name", "krum makes no trees"),
        ({"mode": "async"}, "mode", "mode must be sync"),
        ({"encoding_up": {"name": "int8"}}, "encoding_up.name", "encoding_up.name must be raw"),
        ({"adapt": "slice"}, "adapt", "adapt must be strict"),
        ({"ditto": 1}, "ditto", "ditto must be left out"),
        ({"optimizer": "adam"}, "optimizer", "it means nothing to a forest"),
        ({"epochs": 2}, "epochs", "it means nothing to a forest"),
        ({"rounds": 10, "max_clients": 3}, "max_clients", "take max_clients of up to 2"),
        ({"rounds": 30}, "max_clients", "fewer rounds, or a model with more trees"),
        ({"learning_rate": 3}, "learning_rate", "learning_rate is 3"),
        ({"class_weight": {"7": 1}}, "class_weight", "its classes are 0 to 2"),
    ],
)
def test_what_does_not_go_with_a_forest_is_refused(
    admin: APIClient, made: Configuration, asked: dict[str, Any], field: str, says: str
) -> None:
    """Before anything is created, at its field."""
    answer = admin.post("/api/deployments/", {"configuration": made.pk, "rounds": 1, **asked}, format="json")
    assert answer.status_code == 400, answer.content
    assert answer.json()["errors"][0]["field"] == field and says in str(answer.json()), answer.content
    assert not Deployment.objects.exists()


def test_bagging_is_for_forests_alone(admin: APIClient, configuration: Configuration) -> None:
    """A network has no trees to add."""
    asked = {"configuration": configuration.pk, "strategy": {"name": "bagging"}}
    answer = admin.post("/api/deployments/", asked, format="json")
    assert answer.status_code == 400 and "only a model of kind forest grows by trees" in str(answer.json())


def test_the_form_makes_a_forest(user: Callable[[str], Any]) -> None:
    """Shown with its defaults, checked and made; what is wrong stands at its field."""
    page = logged_in(user("operator"))
    shown = text(page.get(reverse("model-new-page") + "?kind=forest"))
    assert 'name="forest-features"' in shown and 'data-when="kind=forest&forest-objective=multi:softprob"' in shown
    typed = {"name": "f", "kind": "forest", "forest-features": "30", "forest-objective": "binary:logistic",
             "forest-classes": "2", "forest-depth": "4", "forest-rate": "0.3", "forest-trees_a_round": "1",
             "forest-trees": "500", "forest-start": "0.0"}  # fmt: skip
    wrong = page.post(reverse("model-new-page"), {**typed, "forest-depth": "40"})
    assert wrong.status_code == 400 and "depth is 40; it must be a whole number from 1 to 10" in text(wrong)
    checked = page.post(reverse("model-check"), typed)
    assert "This model can be made" in text(checked) and not Model.objects.exists()
    assert page.post(reverse("model-new-page"), typed).status_code == 302
    assert forests.params_of(Model.objects.get().architecture) == forests.checked_params({"features": 30})


def test_the_form_of_a_deployment_offers_what_goes_with_trees(
    made: Configuration, user: Callable[[str], Any], log: MemoryLog
) -> None:
    """Its first strategy is bagging; sent as it stands, with as many rounds as there is room for, it opens a run."""
    page, address = logged_in(user("operator")), reverse("deployment-new-page")
    assert '<option value="bagging" selected>' in text(page.get(f"{address}?configuration={made.pk}"))
    defaults = {name: value for name, value in DeploymentForm.defaults(str(made.pk)).items() if value is not None}
    assert page.post(address, {**defaults, "rounds": "4", "min_clients": "2"}).status_code == 302
    run = Deployment.objects.get()
    assert (run.strategy["name"], run.rules["max_clients"], run.training["optimizer"]) == ("bagging", 5, "xgboost")
    wrong = page.post(address, {**defaults, "strategy": "fedavg"})
    assert wrong.status_code == 400 and "mean makes no trees" in text(wrong)


def test_restarted_as_it_was(admin: APIClient, run: Deployment) -> None:
    """A run of a forest can be started anew, and tried before it is created."""
    answer = admin.post(f"/api/deployments/{run.federation}/restart/")
    assert answer.status_code == 201, answer.content
    assert Deployment.objects.get(parent=run.federation).training == run.training
