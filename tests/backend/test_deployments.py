"""What a deployment may ask for, and what it is given where it asks for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.catalog import workshop
from backend.catalog.models import Configuration, Model
from backend.deployments.models import Deployment
from backend.deployments.planning.plan import PlanError, plan
from backend.rest.problems import Problem
from mainstem.jobs.compiling import input_of
from mainstem.protocol.messages import Training
from tests.backend.support import FakeWorkshop

pytestmark = pytest.mark.backend


def test_defaults() -> None:
    """Nothing asked gives a federation that works: five rounds of FedAvg with at least one client."""
    made = plan({}, None, [10])
    assert (made.rules.rounds, made.rules.min_clients, made.rules.quorum) == (5, 1, None)
    assert made.strategy.name == "fedavg" and made.training == Training()


def test_compiled_settings_stand_where_nothing_is_asked() -> None:
    """The model's own optimizer brings its own learning rate; another optimizer does not."""
    compiled = {"optimizer": "sgd", "loss": "mse", "metrics": ["mae"], "learning_rate": 0.5}
    own = plan({}, compiled, [10]).training
    assert (own.optimizer, own.loss, own.metrics, own.learning_rate) == ("sgd", "mse", ("mae",), 0.5)
    assert plan({"optimizer": "adam"}, compiled, [10]).training.learning_rate is None
    assert plan({"learning_rate": 0.1}, compiled, [10]).training.learning_rate == 0.1
    assert plan({"metrics": []}, compiled, [10]).training.metrics == ()


def test_what_the_model_s_own_settings_cannot_keep_must_be_given() -> None:
    """It is named by its field, until the deployment says it."""
    compiled = {"optimizer": "sgd", "learning_rate": 0.1, "lost": {"loss": "The model's own loss cannot stand: ..."}}
    with pytest.raises(PlanError, match="own loss cannot stand") as caught:
        plan({"epochs": 2}, compiled, [10])
    assert caught.value.field == "loss"
    assert plan({"loss": "huber"}, compiled, [10]).training.loss == "huber"


def test_a_loss_over_classes_needs_classes() -> None:
    """A model of one output, deployed with the default loss, would learn nothing and say nothing."""
    with pytest.raises(PlanError, match="it would be 0 for ever; give loss"):
        plan({}, None, [1])
    assert plan({"loss": "binary_crossentropy", "class_weight": {"1": 5}}, None, [1]).training.class_weight == {"1": 5}


@pytest.mark.django_db
def test_settings_with_arguments(admin: APIClient, configuration: Configuration) -> None:
    """Losses, metrics and class weights with arguments reach the run's training settings."""
    settings = {
        "optimizer": {"class_name": "SGD", "config": {"momentum": 0.5, "gradient_accumulation_steps": 2}},
        "loss": {"class_name": "CategoricalCrossentropy", "config": {"label_smoothing": 0.1}},
        "metrics": ["f1_score", {"class_name": "AUC", "config": {"curve": "PR", "name": "pr"}}],
        "class_weight": {"1": 8},
    }
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, "min_data": 64, **settings})
    assert answer.status_code == 201, answer.content
    assert settings.items() <= answer.json()["training"].items()


def test_labels_follow_the_loss() -> None:
    """Sparse losses take the class' number; the others something of the output's shape."""
    dense = input_of([4], "float32", [10], "categorical_crossentropy")
    assert dense.label_shape == (10,) and dense.classes == 10
    sparse = input_of([4], "float32", [10], {"class_name": "SparseCategoricalCrossentropy", "config": {}})
    assert sparse.label_shape == () and sparse.label_dtype == "int64"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"configuration": 999}, "configuration"),
        ({"model": 999}, "model"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": "many"}, "rounds"),
        ({"min_clients": 3, "max_clients": 2}, "max_clients"),
        ({"quorum": 5, "max_clients": 4}, "quorum"),
        ({"strategy": "krumm"}, "strategy.name"),
        ({"strategy": {"name": "fedavg", "params": {"weigh": "odd"}}}, "strategy.params.weigh"),
        ({"strategy": {"name": "fedavg", "params": {"speed": 1}}}, "strategy.params.speed"),
        ({"round_deadline": 0.5}, "round_deadline"),
        ({"below_quorum": "panic"}, "below_quorum"),
        ({"mode": "chaotic"}, "mode"),
        ({"mode": "buffered", "buffer": 0}, "buffer"),
        ({"mode": "buffered", "max_staleness": 1001}, "max_staleness"),
        ({"mode": "buffered", "staleness_exponent": -1}, "staleness_exponent"),
        ({"mode": "async", "target": 3}, "target"),
        ({"buffer": 3}, "buffer"),
        ({"mode": "sync", "max_staleness": 3}, "max_staleness"),
        ({"mode": "async", "buffer": 3}, "buffer"),
        ({"target": 3, "quorum": 4}, "target"),
        ({"target": 5, "max_clients": 4}, "target"),
        ({"selection": "lottery"}, "selection.name"),
        ({"encoding_up": "int3"}, "encoding_up.name"),
        ({"encoding_up": {"name": "topk", "params": {"fraction": 0.9}}}, "encoding_up.params.fraction"),
        ({"encoding_up": {"name": "int8", "params": {"bits": 3}}}, "encoding_up.params.bits"),
        ({"encoding_down": "topk"}, "encoding_down.name"),
        ({"keyframe_every": 0}, "keyframe_every"),
        ({"selection": {"name": "uniform"}}, "selection.params"),
        ({"selection": {"name": "speed", "params": {"count": 0}}}, "selection.params.count"),
        ({"mode": "buffered", "selection": {"name": "uniform", "params": {"count": 2}}}, "selection.name"),
        ({"data_restriction": "{"}, "data_restriction"),
        ({"optimizer": 7}, "optimizer"),
        ({"optimizer": {"name": "adam"}}, "optimizer"),
        ({"metrics": 3}, "metrics"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": 1_000_000}, "learning_rate"),
        ({"learning_rate": 1e-50}, "learning_rate"),
        ({"optimizer": "adma"}, "optimizer"),
        ({"optimizer": {"class_name": "SGD", "config": {"momentm": 0.9}}}, "optimizer"),
        ({"optimizer": {"class_name": "SGD", "config": {"learning_rate": {"class_name": "CosineDecay"}}}}, "optimizer"),
        ({"optimizer": {"class_name": "SGD", "config": {"gradient_accumulation_steps": 10}}}, "optimizer"),
        ({"optimizer": {"class_name": "ScheduleFreeAdamW", "config": {"warmup_steps": 9}}}, "optimizer"),
        ({"loss": "mmse"}, "loss"),
        ({"loss": {"class_name": "Huber", "config": {"delta": -1}}}, "loss"),
        ({"metrics": ["acuracy"]}, "metrics"),
        ({"metrics": ["auc", {"class_name": "AUC", "config": {"curve": "PR"}}]}, "metrics"),
        ({"metrics": [{"class_name": "Precision", "config": {"thresholds": [0.5] * 500}}]}, "metrics"),
        ({"class_weight": {"0": 1}}, "class_weight"),  # the model's own loss has no classes
        ({"class_weight": {"2": 1}, "loss": "categorical_crossentropy"}, "class_weight"),
        ({"class_weight": {"0": -1}, "loss": "categorical_crossentropy"}, "class_weight"),
        ({"class_weight": {"0": 0, "1": 0}, "loss": "categorical_crossentropy"}, "class_weight"),
        ({"seed": -1}, "seed"),
        ({"federation": "Not an id"}, "federation"),
        ({"federation": "ABCDEFGH"}, "federation"),
        ({"aggregation": "x"}, "aggregation"),
    ],
)
def test_refusals_name_the_field(
    admin: APIClient, configuration: Configuration, body: dict[str, Any], field: str
) -> None:
    """Whatever cannot be is named, and nothing is created."""
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, **body})
    assert answer.status_code == 400, answer.content
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Deployment.objects.exists()


@pytest.mark.django_db
def test_modes_and_selections(admin: APIClient, configuration: Configuration) -> None:
    """They reach the run's rules."""
    buffered = {"mode": "buffered", "buffer": 4, "max_staleness": 3, "staleness_exponent": 1}
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, **buffered})
    assert answer.status_code == 201, answer.content
    assert buffered.items() <= answer.json()["rules"].items()
    chosen = {"target": 4, "selection": {"name": "label_coverage", "params": {"fraction": 0.5}}}
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, **chosen})
    assert answer.status_code == 201, answer.content
    assert chosen.items() <= answer.json()["rules"].items()


@pytest.mark.django_db
def test_kafka_ml_names(admin: APIClient, configuration: Configuration) -> None:
    """Kafka-ML's federated fields are taken under their names."""
    body = {
        "configuration": configuration.pk,
        "federated": True,
        "agg_rounds": 15,
        "agg_strategy": "FedAvg",
        "min_data": 1000,
        "data_restriction": "{}",
    }
    answer = admin.post("/api/deployments/", body)
    assert answer.status_code == 201, answer.content
    assert answer.json()["rounds"] == 15 and answer.json()["data"] == {"min_data": 1000, "restriction": None}


@pytest.mark.django_db
def test_foreign_model(admin: APIClient, configuration: Configuration, model: Model) -> None:
    """A model outside the configuration is refused."""
    other = Model.objects.create(name="other", kind="json", architecture="{}", weights=model.weights)
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, "model": other.pk})
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "model"


@pytest.mark.django_db
def test_check_asks_the_workshop(
    admin: APIClient, configuration: Configuration, fake_workshop: FakeWorkshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `check` the workshop tries the settings before anything is created, and its field reaches the user."""
    body = {"configuration": configuration.pk, "check": True, "loss": "mse"}
    assert admin.post("/api/deployments/", body).status_code == 201
    asked = fake_workshop.asked[-1]
    assert asked["op"] == "check_training" and asked["training"]["loss"] == "mse"
    assert asked["input"]["label_dtype"] == "float32"

    def refuse(*_: Any, **__: Any) -> None:
        raise Problem(400, "The loss does not fit the output", field="training.loss")

    monkeypatch.setattr(workshop, "run", refuse)
    answer = admin.post("/api/deployments/", body)
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "training.loss"
    assert Deployment.objects.count() == 1


@pytest.mark.django_db
def test_list_and_filters(admin: APIClient, configuration: Configuration) -> None:
    """Deployments are found by state, configuration and name, and by federation id or number."""
    for name in ("alpha", "beta"):
        made = admin.post("/api/deployments/", {"configuration": configuration.pk, "name": name})
    assert admin.get("/api/deployments/", {"name__icontains": "ALP"}).json()["count"] == 1
    assert admin.get("/api/deployments/", {"state__in": "opening,failed"}).json()["count"] == 2
    assert admin.get("/api/deployments/", {"state": "nonsense"}).status_code == 400
    ordered = admin.get("/api/deployments/", {"ordering": "name", "page_size": "1"}).json()
    assert ordered["results"][0]["name"] == "alpha" and ordered["next"]
    by_id = admin.get(f"/api/deployments/{made.json()['id']}/").json()
    assert by_id == admin.get(f"/api/deployments/{made.json()['federation']}/").json()


@pytest.mark.django_db
def test_what_a_run_will_need_stands_beside_what_is_free(
    admin: APIClient, configuration: Configuration, settings: Any
) -> None:
    """The API says it, and warns; where Kafka's disk is another machine's nobody knows what is free."""
    asked = {"configuration": configuration.pk, "rounds": 3000, "min_clients": 10}
    made = admin.post("/api/deployments/", asked).json()
    assert (made["storage"]["updates_bytes"], made["storage"]["versions_bytes"]) == (3000 * 10 * 40, 3000 * 40)
    assert made["storage"]["free_bytes"] is None and made["storage"]["warning"] == ""
    assert "updates of 10 clients in 3,000 rounds" in made["storage"]["detail"]
    (settings.HOME / "kafka").mkdir()
    settings.DISK_FLOOR = 1 << 60
    shown = admin.get(f"/api/deployments/{made['federation']}/").json()["storage"]
    assert shown["free_bytes"] > 0
    assert shown["warning"].startswith("This run needs about 1.3 MB in Kafka: ")
    Deployment.objects.update(state="finished")
    assert admin.get(f"/api/deployments/{made['federation']}/").json()["storage"] is None


@pytest.mark.django_db
def test_tensors_that_no_version_changes_are_named(admin: APIClient, configuration: Configuration) -> None:
    """Counters keep version 0's values: the run says so; the states of random generators are nobody's business."""
    model = configuration.models.get()
    model.tensors = [
        *model.tensors,
        {"name": "steps", "dtype": "int64", "shape": []},
        {"name": "dropout/seed_generator/seed_generator_state", "dtype": "uint32", "shape": [2]},
    ]
    model.save()
    made = admin.post("/api/deployments/", {"configuration": configuration.pk}, format="json").json()
    notices = admin.get(f"/api/deployments/{made['id']}/").json()["notices"]
    assert notices == ["integers and booleans are not averaged: steps keeps version 0's values"]


@pytest.mark.django_db
def test_a_strategy_made_by_hand(admin: APIClient, configuration: Configuration) -> None:
    """It is opened as it was asked for; what does not go together is refused with the parameter's name."""
    params = {"weigh": "equal", "bound": "clip", "fold": "krum", "server": "yogi", "server_learning_rate": 0.05}
    asked = {"configuration": configuration.pk, "min_clients": 5, "strategy": {"name": "custom", "params": params}}
    assert admin.post("/api/deployments/", asked, format="json").status_code == 201
    assert Deployment.objects.get().strategy == asked["strategy"]
    asked["strategy"] = {"name": "custom", "params": {**params, "weigh": "examples"}}
    refused = admin.post("/api/deployments/", asked, format="json")
    assert refused.status_code == 400 and "krum takes one update as it is" in str(refused.json())
    assert "strategy.params.weigh" in str(refused.json())


@pytest.mark.django_db
def test_a_strategy_that_does_not_go_with_the_rules(admin: APIClient, configuration: Configuration) -> None:
    """The field that is wrong is named, with the number that would do."""
    asked = {"configuration": configuration.pk, "strategy": {"name": "krum", "params": {"byzantine": 2}}}
    refused = admin.post("/api/deployments/", {**asked, "min_clients": 3}, format="json")
    assert refused.status_code == 400 and "must be at least 7" in str(refused.json())
    assert "min_clients" in str(refused.json())
    assert admin.post("/api/deployments/", {**asked, "min_clients": 7}, format="json").status_code == 201
