"""The form of a new deployment: defaults, what belongs to which choice, wrong values, preview."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backend.catalog import workshop
from backend.catalog.models import Configuration, Model
from backend.deployments.models import Deployment
from backend.rest.problems import Problem
from backend.runs.pages.new_form import SCHEDULE, DeploymentForm
from backend.streams.models import DataSource
from mainstem.aggregation.strategies import CHOICES, OF_NUMBERS, STRATEGIES
from mainstem.jobs.compiling import SCHEDULES
from mainstem.protocol.messages import Rules, Training
from mainstem.runtime.fields import fields_of
from tests.backend.support import XSS, FakeWorkshop, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

PAGE, PREVIEW = "/deployments/new/", "/deployments/new/preview/"
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def browser(user: Callable[[str], Any]) -> Client:
    """An operator's."""
    return logged_in(user("operator"))


@pytest.fixture
def form(configuration: Configuration) -> dict[str, Any]:
    """The form as the page shows it at first."""
    return {name: value for name, value in DeploymentForm.defaults().items() if value is not None}


def slot(page: str, field: str) -> str:
    """What stands in a field's place for errors."""
    start = page.index(f'id="id_{field}-wrong"')
    return page[start : page.index("</div>", start)]


def stream(shape: str, **fields: Any) -> DataSource:
    """An announced stream."""
    place = {
        "cluster_id": "c",
        "topic_id": "t",
        "partition": 0,
        "offset": DataSource.objects.count(),
        "timestamp_ms": 1,
    }
    usual = {
        "topic": "digits:0:0:550",
        "input_format": "RAW",
        "input_config": {"data_type": "float32", "data_reshape": shape, "label_type": "float32", "label_reshape": "2"},
        "total_msg": 550,
    }
    return DataSource.objects.create(**place, **(usual | fields))


def test_defaults_are_rests(browser: Client, form: dict[str, Any]) -> None:
    """The untouched form opens the federation that REST opens without any parameter."""
    answer = browser.post(PAGE, form)
    made = Deployment.objects.get()
    assert answer["Location"] == f"/deployments/{made.federation}/"
    assert f"/api/results/{made.federation}/" in text(browser.get(answer["Location"]))
    assert "curl -s" in text(browser.get("/deployments/"))
    rules, training = Rules(rounds=5), Training()
    assert made.rules["rounds"] == rules.rounds and made.rules["deadline_ms"] == rules.deadline_ms
    assert made.rules["wait_limit_ms"] == rules.wait_limit_ms and made.rules["mode"] == "sync"
    assert made.training["batch_size"] == training.batch_size and made.training["shuffle"] == training.shuffle
    assert made.strategy == {"name": "fedavg", "params": {"weigh": "examples"}}


def test_fields_of_other_choices_are_not_sent(browser: Client, form: dict[str, Any]) -> None:
    """What belongs to another mode, and to a federation where the switch is off, is left out without a word."""
    browser.post(PAGE, form | {"mode": "async", "target": "nonsense", "buffer": "-1", "selection": "uniform"})
    assert Deployment.objects.get().rules["mode"] == "async"
    Deployment.objects.all().delete()
    alone = {name: value for name, value in form.items() if name != "federated"} | {"rounds": "99", "epochs": "9"}
    browser.post(PAGE, alone)
    made = Deployment.objects.get()
    assert (made.rules["rounds"], made.rules["max_clients"], made.training["epochs"]) == (1, 1, 9)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_each_strategy_has_its_parameters(browser: Client, form: dict[str, Any], name: str) -> None:
    """With title, sentence and default, shown where that strategy is chosen; what other ones have is not sent."""
    page = text(browser.get(PAGE))
    browser.post(PAGE, form | {"strategy": name, "min_clients": "9", "optimizer": "sgd", "learning_rate": "0.1"})
    made = Deployment.objects.get().strategy
    preset = STRATEGIES[name]
    for field, _, choice in preset.parameters():
        assert f'__{field.name}"' in page and field.title in page
        assert (field.hint if choice else next(iter((field.choices or {}).values()))) in page
    chosen = {kind: choice.name for kind, choice in preset.chosen({}).items()}
    fields = [own.field for own in preset.parameters() if not own.kind or chosen[own.kind] == own.choice]
    assert made == {"name": name, "params": {field.name: field.default for field in fields}}
    assert f'data-when="strategy={name}">{STRATEGIES[name].summary}<' in page


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_has_its_parameters(browser: Client, form: dict[str, Any], name: str) -> None:
    """Shown where that schedule is chosen; what other ones have, or what is the default, is not sent."""
    page = text(browser.get(PAGE))
    assert f'data-when="learning_rate_schedule={name}">{SCHEDULES[name].summary}<' in page
    for field in fields_of(SCHEDULES[name].Params).values():
        assert f'learning_rate_schedule__{name}__{field.name}"' in page and field.hint in page
    warm = {f"learning_rate_schedule__{name}__warmup": "2", "learning_rate_schedule__step__every": "3"}
    browser.post(PAGE, form | {"learning_rate": "0.1", "learning_rate_schedule": name} | warm)
    made = Deployment.objects.get().training["learning_rate_schedule"]
    every = {"every": 3} if name == "step" else {}
    assert made == {"name": name, "params": {"warmup": 2} | every}


def test_everything_can_be_said(browser: Client, form: dict[str, Any]) -> None:
    """Every field reaches the federation."""
    browser.post(
        PAGE,
        form
        | {
            "name": "trial", "federation": "ddy6heod", "rounds": "7", "fedavg__weigh": "equal", "target": "2",
            "selection": "uniform", "selection_by": "count", "selection_number": "3", "min_clients": "2",
            "max_clients": "9", "quorum": "1", "round_deadline": "30.5", "below_quorum": "fail", "wait_limit": "60",
            "min_data": "100", "data_restriction": '{"set": "digits"}', "batch_size": "8", "epochs": "2",
            "optimizer": "sgd", "loss": "mse", "metrics": "mae, mse", "learning_rate": "0.01", "seed": "5",
            "keep_updates": "4", "job": '{"memory": "4Gi"}', "encoding_up": "topk", "topk__fraction": "0.05",
            "encoding_down": "int8", "keyframe_every": "3",
        },
    )  # fmt: skip
    made = Deployment.objects.get()
    assert (made.name, made.federation, made.job) == ("trial", "ddy6heod", {"memory": "4Gi"})
    assert made.rules["selection"] == {"name": "uniform", "params": {"count": 3}}
    assert made.rules["encoding_up"] == {"name": "topk", "params": {"fraction": 0.05}}
    assert made.rules["encoding_down"]["name"] == "int8" and made.rules["keyframe_every"] == 3
    assert made.rules["deadline_ms"] == 30_500 and made.rules["quorum"] == 1 and made.rules["keep_updates"] == 4
    assert made.data == {"min_data": 100, "restriction": {"set": "digits"}}
    assert made.training["metrics"] == ["mae", "mse"] and made.training["learning_rate"] == 0.01


HAND = {
    "strategy": "custom", "min_clients": "9", "custom__weigh": "equal", "custom__bound": "clip",
    "custom__fold": "bulyan", "custom__server": "momentum",
}  # fmt: skip
CHOOSING = ("strategy", *CHOICES)
"""What the names of fields end with in which one of several is chosen."""


def test_a_strategy_made_by_hand(browser: Client, form: dict[str, Any]) -> None:
    """Each choice, and the parameters of those that are chosen alone."""
    typed = {"custom__clip__clip_norm": "2.5", "custom__krum__byzantine": "nonsense", "custom__adam__tau": "0"}
    browser.post(PAGE, form | HAND | typed)
    assert Deployment.objects.get().strategy == {
        "name": "custom",
        "params": {
            "weigh": "equal", "bound": "clip", "clip_norm": 2.5, "fold": "bulyan", "byzantine": 1,
            "server": "momentum", "server_learning_rate": 1.0, "server_momentum": 0.9, "client": "plain",
        },
    }  # fmt: skip


WRONG: list[tuple[dict[str, str], str, str]] = [
    ({"configuration": "999"}, "configuration", "does not exist"),
    ({"configuration": ""}, "configuration", "This field is required."),
    ({"name": "n" * 101}, "name", "no more than 100 characters"),
    ({"federation": "short"}, "federation", "must be exactly 8 characters"),
    ({"rounds": "0"}, "rounds", "greater than or equal to 1"),
    ({"rounds": "five"}, "rounds", "A valid integer is required."),
    ({"strategy": "magic"}, "strategy", "is not known; choose one of"),
    ({"fedavg__weigh": "heavy"}, "fedavg__weigh", "is 'heavy'; it must be one of"),
    ({"strategy": "krum", "min_clients": "9", "krum__byzantine": "-1"}, "krum__byzantine", "is -1; it must be a whole"),
    (
        {"strategy": "krum", "min_clients": "9", "krum__byzantine": "f"},
        "krum__byzantine",
        "a whole number from 0 to 1000",
    ),
    ({"strategy": "krum"}, "min_clients", "must be at least 5: strategy krum needs 5 updates a round"),
    ({"strategy": "krum", "min_clients": "9", "mode": "async"}, "mode", "mode must be sync"),
    ({"strategy": "fedadam", "fedadam__beta_1": "1"}, "fedadam__beta_1", "a number from 0 and below 1"),
    ({"encoding_up": "int3"}, "encoding_up", "is not known; choose one of raw, float16"),
    ({"encoding_up": "topk", "topk__fraction": "2"}, "topk__fraction", "a number above 0 and at most 0.5"),
    ({"encoding_down": "topk"}, "encoding_down", "it is for updates alone"),
    (
        {"strategy": "custom", "custom__fold": "bulyan", "min_clients": "9"},
        "custom__weigh",
        "must be equal: bulyan counts those alike that it chooses",
    ),
    (HAND | {"custom__bulyan__byzantine": "-1"}, "custom__bulyan__byzantine", "is -1; it must be a whole"),
    (HAND | {"custom__bulyan__byzantine": "3"}, "min_clients", "must be at least 15: strategy custom needs 15"),
    (HAND | {"custom__clip__clip_norm": "0"}, "custom__clip__clip_norm", "a number above 0 and at most"),
    ({"mode": "magic"}, "mode", '"magic" is not a valid choice.'),
    ({"target": "5000"}, "target", "it must be at most max_clients"),
    ({"mode": "buffered", "buffer": "0"}, "buffer", "greater than or equal to 1"),
    ({"mode": "async", "max_staleness": "-1"}, "max_staleness", "greater than or equal to 0"),
    ({"mode": "async", "staleness_exponent": "x"}, "staleness_exponent", "A valid number is required."),
    ({"selection": "uniform", "selection_number": "2"}, "selection_number", "above 0 and at most 1"),
    ({"selection": "uniform", "selection_number": "many"}, "selection_number", "above 0 and at most 1"),
    ({"selection": "magic"}, "selection", "is not known; choose one of"),
    ({"min_clients": "0"}, "min_clients", "greater than or equal to 1"),
    ({"max_clients": "1", "min_clients": "2"}, "max_clients", "must be at least min_clients"),
    ({"quorum": "1001"}, "quorum", "must be at most max_clients"),
    ({"round_deadline": "0.5"}, "round_deadline", "greater than or equal to 1"),
    ({"below_quorum": "shrug"}, "below_quorum", '"shrug" is not a valid choice.'),
    ({"wait_limit": ""}, "wait_limit", ""),
    ({"min_data": "-5"}, "min_data", "greater than or equal to 1"),
    ({"data_restriction": "{set: digits}"}, "data_restriction", "This is not JSON"),
    ({"batch_size": "1.5"}, "batch_size", "A valid integer is required."),
    ({"epochs": "0"}, "epochs", "greater than or equal to 1"),
    ({"optimizer": "o" * 201}, "optimizer", "This must be a name such as"),
    ({"loss": "{broken"}, "loss", ""),
    ({"learning_rate": "-1"}, "learning_rate", "must be a number above 0 and below 1,000,000"),
    (
        {"learning_rate_schedule": "step", "optimizer": "adam"},
        "learning_rate",
        "The schedule step needs a learning_rate",
    ),
    ({"learning_rate_schedule": "magic"}, "learning_rate_schedule", "is not known; choose one of"),
    (
        {"learning_rate_schedule": "step", "learning_rate_schedule__step__factor": "2"},
        "learning_rate_schedule__step__factor",
        "is 2; it must be a number above 0 and at most 1",
    ),
    (
        {"learning_rate": "0.1", "learning_rate_schedule": "cosine", "learning_rate_schedule__cosine__over": "2"},
        "learning_rate_schedule",
        "the rate of round 5 is 0",
    ),
    ({"strategy": "scaffold", "optimizer": "adam"}, "optimizer", "optimizer must be plain SGD for scaffold"),
    ({"strategy": "scaffold", "optimizer": "sgd"}, "learning_rate", "must be given for scaffold"),
    ({"seed": "x"}, "seed", "A valid integer is required."),
    ({"keep_updates": "0"}, "keep_updates", "greater than or equal to 1"),
    ({"job": '{"memory": "lots"}'}, "job", "job.memory is 'lots'"),
    ({"job": '{"user": 1}'}, "job", "job.user cannot be chosen"),
    ({"job": '{"priority_class": "system-node-critical"}'}, "job", "MAINSTEM_JOB_ALLOW_PRIORITY_CLASS"),
]


@pytest.mark.parametrize(("change", "field", "sentence"), [case for case in WRONG if case[2]])
def test_wrong_values(browser: Client, form: dict[str, Any], change: dict[str, str], field: str, sentence: str) -> None:
    """Each stands in its field with REST's sentence, in the page and in the live check, and nothing is opened."""
    page = browser.post(PAGE, form | change)
    assert page.status_code == 400 and sentence in slot(text(page), field)
    for name, typed in change.items():
        if name not in ("configuration", "mode", "selection", "below_quorum", SCHEDULE) and not name.endswith(CHOOSING):
            assert typed in text(page), name
    live = browser.post(PREVIEW, form | change, headers=FRAGMENT)
    assert live.status_code == 200 and sentence in slot(text(live), field)
    assert not Deployment.objects.exists()


def test_preview(browser: Client, form: dict[str, Any], model: Model) -> None:
    """It shows topics, the streams that fit and why others do not, the Job's manifest, and the request for REST."""
    fitting, other = stream("4", description="fits well"), stream("784", description="is too wide")
    shown = text(browser.post(PREVIEW, form | {"federation": "ddy6heod", "job": '{"memory": "3Gi"}'}, headers=FRAGMENT))
    assert "FED-ddy6heod-model_control_topic" in shown and "FEDERATED_MODEL_CONTROL_TOPIC" in shown
    assert "1 announced stream fits" in shown and f'href="/datasources/{fitting.pk}/"' in shown
    assert "is not the model's input shape" in shown and f'href="/datasources/{other.pk}/"' in shown
    assert "kind: Job" in shown and "memory: 3Gi" in shown and "digits:0:0:550" in shown
    assert '"federation": "ddy6heod"' in shown and "<html" not in shown
    page = text(browser.get(PAGE))
    assert "FED-xxxxxxxx-model_control_topic" in page and not slot(page, "rounds").endswith("</p>")
    assert "<html" in text(browser.post(PREVIEW, form))
    assert not Deployment.objects.exists()


def test_the_manifest_speaks_tls_where_the_backend_does(
    browser: Client, form: dict[str, Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the Secret's files, as the launcher's own manifest does: a Job started from it would talk in the clear."""
    monkeypatch.setenv("MAINSTEM_JOB_SECRET", "mainstem-kafka")
    settings.KAFKA_CLIENT_CONFIG, settings.DATA_CLIENT_CONFIG = "/etc/a/client.properties", "/etc/b/own.properties"
    shown = text(browser.post(PREVIEW, form, headers=FRAGMENT))
    for name, file in (("KML_CLOUD_CLIENT_CONFIG", "client"), ("DATA_CLIENT_CONFIG", "own")):
        assert re.search(rf"name: {name}\s+value: /etc/mainstem/kafka/{file}.properties", shown)


def test_a_used_federation_id(browser: Client, form: dict[str, Any]) -> None:
    """An id is never given twice, and the form says so at its field."""
    browser.post(PAGE, form | {"federation": "ddy6heod"})
    again = browser.post(PAGE, form | {"federation": "ddy6heod"})
    assert again.status_code == 409 and "was used before" in slot(text(again), "federation")


def test_several_models(browser: Client, form: dict[str, Any], configuration: Configuration, model: Model) -> None:
    """Without a choice each model opens a federation; one may be chosen; a fixed id needs a choice."""
    other = Model.objects.get(pk=model.pk)
    other.pk, other.name = None, "second"
    other.save()
    configuration.models.add(other)
    refused = browser.post(PAGE, form | {"federation": "ddy6heod"})
    assert refused.status_code == 400 and "needs one model" in slot(text(refused), "federation")
    assert browser.post(PAGE, form)["Location"] == "/deployments/"
    assert Deployment.objects.count() == 2
    browser.post(PAGE, form | {"model": str(other.pk), "federation": "ddy6heod"})
    assert Deployment.objects.get(federation="ddy6heod").model == other


def test_another_configuration_offers_its_models(browser: Client, form: dict[str, Any], model: Model) -> None:
    """A model that was chosen before the configuration is no error while one looks, and one if it is sent."""
    old = form | {"model": "4711"}
    live = text(browser.post(PREVIEW, old, headers=FRAGMENT))
    assert f'<option value="{model.pk}"' in live and "Some fields" not in live
    sent = browser.post(PAGE, old)
    assert sent.status_code == 400 and "4711" in slot(text(sent), "model")


def test_training_settings_are_tried(
    browser: Client, form: dict[str, Any], monkeypatch: pytest.MonkeyPatch, fake_workshop: FakeWorkshop
) -> None:
    """With the check asked for, what the workshop refuses stands at the setting."""

    def refuse(*_: Any, **__: Any) -> workshop.Result:
        raise Problem(400, "Adam does not fit the model.", field="training.optimizer")

    monkeypatch.setattr(workshop, "run", refuse)
    answer = browser.post(PAGE, form | {"check": "on", "optimizer": "adam"})
    assert answer.status_code == 400 and "does not fit the model" in slot(text(answer), "optimizer")


def test_nothing_to_deploy(user: Callable[[str], Any]) -> None:
    """Without a configuration the page says what to do next, and a form sent anyhow is refused."""
    browser = logged_in(user("operator"))
    assert "Make a configuration" in text(browser.get(PAGE))
    assert browser.post(PAGE, {}).status_code == 400


def test_who_may_and_names(user: Callable[[str], Any], form: dict[str, Any], configuration: Configuration) -> None:
    """A viewer neither deploys nor previews; names are text."""
    viewer = logged_in(user("viewer"))
    for path in (PAGE, PREVIEW):
        assert viewer.post(path, form).status_code == 403
    assert viewer.get(PAGE).status_code == 403
    Configuration.objects.filter(pk=configuration.pk).update(name=XSS)
    stream("4", description=XSS)
    source = logged_in(user("admin")).post(PREVIEW, form | {"name": XSS, "optimizer": XSS}).content.decode()
    assert "<script>alert" not in source and "<img src=x" not in source
    assert re.search(r"&lt;script&gt;", source)


def test_the_preview_says_what_the_run_will_need(browser: Client, form: dict[str, Any], settings: Any) -> None:
    """Before it is opened; and warns where the disk has not so much."""
    form |= {"rounds": "3000", "min_clients": "10"}
    page = text(browser.post(PREVIEW, form, headers=FRAGMENT))
    assert "updates of 10 clients in 3,000 rounds" in page and "is not known here" in page
    (settings.HOME / "kafka").mkdir()
    settings.DISK_FLOOR = 1 << 60
    page = text(browser.post(PREVIEW, form, headers=FRAGMENT))
    assert "are free" in page and "give keep_updates" in page
