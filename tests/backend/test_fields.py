"""No field of a request is swallowed in silence: every writing address, and every object within its bodies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from backend.accounts.models import User
from backend.catalog.models import Configuration, Model
from backend.deployments.models import Deployment, Version
from backend.inference.models import Inference
from backend.launchers.models import Job
from backend.rest import kafka_ml
from backend.sites.models import Site
from backend.streams.models import DataSource, Injection, Upload
from mainstem.rounds.parameters import PARAMETERS
from tests.backend.support import FakeWorkshop
from tests.backend.test_roles import LOGGER, MATRIX

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

Clients = Callable[[str | None], APIClient]
WRITING = [(method, path) for path, roles in MATRIX.items() for method in roles if method in ("post", "put", "patch")]


def errors(answer: Any) -> dict[str, str]:
    """The refusal's sentences by field."""
    assert answer.status_code == 400, (answer.status_code, answer.content[:300])
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


@pytest.fixture
def places(configuration: Configuration, model: Model, user: Callable[[str], User]) -> Callable[[str], str]:
    """Makes an address with something at it."""
    federation = "places00"
    deployment = Deployment.objects.create(federation=federation, configuration=configuration, model=model)
    Version.objects.create(
        deployment=deployment, number=9, seq=9, sha256="0" * 64, nbytes=0, weights={}, offset=9, created_ms=0
    )
    Inference.objects.create(name="zz", federation=federation, deployment=deployment, version=9)
    source = DataSource.objects.create(cluster_id="c", topic_id="t", partition=0, offset=0, timestamp_ms=0)
    Job.objects.create(name="zz", federation=federation, deployment=deployment, source=source, client_id="c")
    rows: dict[str, Any] = {"users": user("viewer"), "models": model, "configurations": configuration}
    rows["uploads"] = Upload.objects.create(names=["a.csv"], size=1)
    rows["sites"] = Site.objects.create(name="zz", key="A" * 43)

    def at(address: str) -> str:
        pk = getattr(rows.get(address.partition("/")[0]), "pk", "")
        return "/api/" + address.format(pk=pk, id=federation, federation=federation, number=9, name="zz")

    return at


@pytest.mark.parametrize(("method", "address"), WRITING)
def test_unknown_names_are_refused(client_of: Clients, places: Callable[[str], str], method: str, address: str) -> None:
    """A name that no address knows is answered with a sentence, in JSON and in a form."""
    client = client_of("logger" if MATRIX[address][method] == LOGGER else "admin")
    for shape in ("json", "multipart"):
        answer = getattr(client, method)(places(address), {"zzqq": 1}, format=shape)
        assert errors(answer)["zzqq"] == "There is no such field.", answer.content


@pytest.mark.parametrize(("method", "address"), WRITING)
def test_bodies_that_no_json_is_are_refused(
    client_of: Clients, places: Callable[[str], str], method: str, address: str
) -> None:
    """Nesting without end, NUL, half of a surrogate pair, a number beyond all, a name twice, bytes: 400 each."""
    client = client_of("logger" if MATRIX[address][method] == LOGGER else "admin")
    texts = {
        b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}": "a: This is nested more than 64 levels deep.",
        b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}": "This is nested more than 64 levels deep.",
        b"[" * 100_000: "This is nested more than 64 levels deep.",
        b'{"name": "a\\u0000b"}': "name: This text holds a NUL",
        b'{"a": [1, {"b": "\\ud800"}]}': "a.1.b: This text holds a NUL or half of a surrogate pair",
        b'{"a": 1e999}': "1e999 is larger than any number",
        b'{"a": NaN}': "NaN is no number",
        b'{"a": 1, "a": 2}': "'a' is given twice.",
        b'"\xff"': "it is not UTF-8 at byte 1.",
    }
    for text, sentence in texts.items():
        answer = getattr(client, method)(places(address), text, content_type="application/json")
        assert answer.status_code == 400 and sentence in answer.json()["detail"], (text[:40], answer.content[:300])


def bodies() -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """Of every writing address: a body with an unknown name in each object within it, and where that name is."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    components = schema["components"]["schemas"]

    def resolved(part: dict[str, Any]) -> dict[str, Any]:
        for inner in part.get("allOf", [part]):
            if "$ref" in inner:
                return resolved(components[inner["$ref"].rpartition("/")[2]])
        return part

    def within(part: dict[str, Any]) -> Iterator[tuple[Any, str]]:
        for name, raw in resolved(part).get("properties", {}).items():
            inner = resolved(raw)
            many = inner.get("type") == "array"
            items = resolved(inner["items"]) if many else inner
            if "properties" not in items:
                continue
            for value, path in [({"zzqq": 1}, "zzqq"), *within(items)]:
                yield {name: [value] if many else value}, f"{name}.0.{path}" if many else f"{name}.{path}"

    for address, methods in schema["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody") if method in ("post", "put", "patch") else None
            json = body["content"].get("application/json") if body else None
            for value, path in within(json["schema"]) if json else ():
                yield method, address, value, path


def test_every_list_of_a_body_has_a_bound() -> None:
    """What may be long says how long."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    components = schema["components"]["schemas"]
    lists = {
        f"{name}.{field}": part
        for name, component in components.items()
        if name.endswith("Request")
        for field, part in component["properties"].items()
        if part.get("type") == "array"
    }
    assert {"ConfigurationRequest.models", "DeploymentCreateRequest.metrics", "EnvelopeRequest.records"} <= set(lists)
    assert [name for name, part in lists.items() if "maxItems" not in part] == []


def test_unknown_names_within_objects_are_refused(client_of: Clients) -> None:
    """`strategy.prams` is as wrong as a wrong name of the body itself."""
    found = []
    for method, address, body, path in bodies():
        client = client_of("logger" if "/ingest/" in address else "admin")
        assert errors(getattr(client, method)(address, body)).get(path) == "There is no such field.", (address, path)
        found.append(f"{address} {path}")
    assert {
        "/api/deployments/ strategy.zzqq", "/api/deployments/ selection.zzqq", "/api/models/ template.zzqq",
        "/api/models/ source.zzqq", "/api/ingest/data/ records.0.zzqq",
    } <= set(found)  # fmt: skip


@pytest.mark.parametrize(
    ("address", "body", "field", "sentence"),
    [
        ("injections/", {"clientz": 2}, "clientz", "There is no such field: did you mean clients?"),
        ("injections/", {"state": "failed"}, "state", "This is for Mainstem to say: leave it out."),
        ("deployments/", {"strategy": {"name": "fedavg", "prams": {}}}, "strategy.prams", "did you mean params?"),
        ("deployments/", {"agg_rounds": 3, "rounds": 2}, "agg_rounds", "This says rounds, which is given too"),
        ("deployments/", {"batch": 3, "tf_kwargs_fit": "batch_size=5"}, "tf_kwargs_fit", "This says batch_size"),
        ("deployments/", {"tf_kwargs_fit": "epochs=1, epochs=2"}, "tf_kwargs_fit", "epochs is given twice."),
        ("deployments/", {"federated": False, "rounds": 7}, "rounds", "so that rounds is 1, not 7"),
        ("deployments/", {"round_deadline": "nan"}, "round_deadline", "A valid number is required."),
        ("deployments/", {"job": "[1e999]"}, "job", "1e999 is larger than any number that can be kept."),
        ("deployments/", {"data_restriction": {"a": "x" * 70_000}}, "data_restriction", "at most 65,536"),
        ("models/", {"template": {"name": "mlp"}, "kind": "template", "code": "x"}, "source", "of template alone"),
        ("models/", {"template": {"name": "mlp"}, "imports": "import x"}, "code", "imports come with code"),
        ("configurations/", {"models": list(range(101))}, "models", "101 ids; at most 100"),
        ("configurations/", {"models": [1 << 70]}, "models", "is no id"),
        ("configurations/", {"models": [True]}, "models", "is no id"),
    ],
)
def test_what_is_swallowed_elsewhere(
    admin: APIClient, configuration: Configuration, address: str, body: dict[str, Any], field: str, sentence: str
) -> None:
    """Each has its sentence, and nothing is made."""
    made = Deployment.objects.count(), Injection.objects.count(), Model.objects.count()
    known = {"configuration": configuration.pk} if address == "deployments/" else {"name": "n"}
    answer = admin.post(f"/api/{address}", body if address == "injections/" else known | body)
    assert sentence in errors(answer)[field]
    assert made == (Deployment.objects.count(), Injection.objects.count(), Model.objects.count())


LISTS = (
    "auth/tokens", "users", "models", "configurations", "deployments", "results", "datasources", "injections", "jobs",
    "inferences",
)  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_lists_know_their_parameters(admin: APIClient, name: str) -> None:
    """A misspelt filter is no list of everything; every list has pages and refuses what it does not know."""
    path = f"/api/{name}/"
    assert admin.get(path, {"page": 1, "page_size": 10}).status_code == 200
    assert "there are " in errors(admin.get(path, {"staet": "running"}))["staet"]
    assert errors(admin.get(path, {"page_size": "many"}))["page_size"] == "This must be a whole number from 1."
    assert "There is no order by 'zzqq'; there are " in errors(admin.get(path, {"ordering": "zzqq"}))["ordering"]


def test_not_federated(admin: APIClient, configuration: Configuration) -> None:
    """One client trains once, as the form's switch says."""
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, "federated": False, "epochs": 4})
    assert answer.status_code == 201, answer.content
    rules, training = answer.json()["rules"], answer.json()["training"]
    assert (rules["rounds"], rules["min_clients"], rules["max_clients"], training["epochs"]) == (1, 1, 1, 4)


def test_many_ids_are_one_query(
    admin: APIClient, model: Model, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    """An id that is repeated counts once; ten thousand are refused at once."""
    with django_assert_max_num_queries(20):
        made = admin.post("/api/configurations/", {"name": "same", "models": [model.pk] * 100})
    assert made.json()["models"] == [model.pk]
    begin = time.process_time()
    errors(admin.post("/api/configurations/", {"name": "more", "models": [model.pk] * 10_000}))
    assert time.process_time() - begin < 2


KAFKA_ML_FORM = {
    "batch": 16, "tf_kwargs_fit": "epochs=3, shuffle=False", "tf_kwargs_val": "", "pth_kwargs_fit": "",
    "pth_kwargs_val": "", "conf_mat_settings": False, "gpumem": 0, "incremental": False, "indefinite": False,
    "stream_timeout": 60000, "monitoring_metric": None, "change": "", "improvement": 0.05, "unsupervised": False,
    "unsupervised_rounds": 5, "confidence": 0.9, "federated": True, "agg_rounds": 15, "min_data": 1000,
    "agg_strategy": "FedAvg", "data_restriction": "{}", "blockchain": False,
    "metrics": "accuracy, top_k_categorical_accuracy",
}  # fmt: skip
"""What Kafka-ML's form of a deployment sends, with its defaults."""


def test_a_deployment_as_kafka_ml_sends_it(admin: APIClient, configuration: Configuration) -> None:
    """Its names are understood, and what asks for nothing is no fault."""
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, **KAFKA_ML_FORM})
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["rules"]["rounds"], made["data"]["min_data"], made["strategy"]["name"]) == (15, 1000, "fedavg")
    training = made["training"]
    assert (training["batch_size"], training["epochs"], training["shuffle"]) == (16, 3, False)
    assert training["metrics"] == ["accuracy", "top_k_categorical_accuracy"]


@pytest.mark.parametrize(("name", "foreign"), kafka_ml.DEPLOYMENTS.items())
def test_each_name_of_kafka_mls_is_answered(
    admin: APIClient, configuration: Configuration, name: str, foreign: kafka_ml.Foreign
) -> None:
    """Not as a typo is: its own sentence, or our name for it."""
    answer = admin.post("/api/deployments/", {"configuration": configuration.pk, name: "steps_per_epoch=1000"})
    found = errors(answer)
    assert "There is no such field." not in found.values()
    if foreign.ours:
        assert {field.partition(".")[0] for field in found} == {foreign.ours}
    else:
        assert found[name] == foreign.here or "steps_per_epoch=1000 has no counterpart here" in found[name]


def test_each_name_of_kafka_mls_is_in_the_docs() -> None:
    """The page for its users names them all."""
    page = Path("docs/kafka-ml.md").read_text()
    tables = (kafka_ml.MODELS, kafka_ml.CONFIGURATIONS, kafka_ml.DEPLOYMENTS, kafka_ml.INFERENCES, kafka_ml.DATASOURCES)
    assert [name for table in tables for name in table if f"`{name}`" not in page] == []


def test_models_and_inferences_as_kafka_ml_sends_them(
    admin: APIClient, fake_workshop: FakeWorkshop, places: Callable[[str], str]
) -> None:
    """A model's form and a configuration's are taken, an inference's says what is missing here."""
    form = {"name": "theirs", "description": "", "imports": "", "code": "model = 1", "framework": "tf"}
    made = admin.post("/api/models/", form | {"distributed": False, "father": None})
    assert made.status_code == 201, made.content
    group = admin.post("/api/configurations/", {"name": "theirs", "ml_models": [made.json()["id"]]})
    assert group.json()["models"] == [made.json()["id"]]
    assert "trained whole here" in errors(admin.post("/api/models/", form | {"distributed": True}))["distributed"]
    asked = {"model_result": 3, "gpumem": 2, "limit": "", "token": "x", "input_config": '{"data_type": "uint8"}'}
    found = errors(admin.post("/api/inferences/", asked))
    assert "named by federation and version" in found["model_result"] and "launcher gives" in found["gpumem"]
    assert "brokers of" in found["token"] and "limit" not in found and "input_config" not in found


def test_every_writing_object_may_be_sent_back(admin: APIClient, places: Callable[[str], str]) -> None:
    """What was read may be put whole, with one thing changed."""
    for address, change in (("configurations/{pk}/", {"description": "d"}), ("users/{pk}/", {"email": "a@b.cd"})):
        path = places(address)
        read = admin.get(path).json()
        answer = admin.put(path, read | change)
        assert answer.status_code == 200 and answer.json() == read | change, answer.content


@pytest.mark.parametrize("character", ["\n", "\t", "\x07", "\x7f", "\u202e", "\u2066", "\u2028", "\ufeff", "\u200b"])
def test_names_are_one_line_that_shows(
    admin: APIClient, configuration: Configuration, fake_workshop: FakeWorkshop, character: str
) -> None:
    """Whatever people name: no line ends, no controls, nothing that turns the direction of text."""
    (model,) = configuration.models.all()
    name = f"a{character}b"
    asked: dict[str, dict[str, Any]] = {
        "models/": {"template": {"name": "mlp"}},
        "configurations/": {"models": [model.pk]},
        f"configurations/{configuration.pk}/duplicate/": {},
        "deployments/": {"configuration": configuration.pk},
        "auth/token/": {"username": "the-admin", "password": "correct horse"},
    }
    for address, body in asked.items():
        sentence = errors(admin.post(f"/api/{address}", body | {"name": name}))["name"]
        assert f"U+{ord(character):04X}" in sentence and "character 2." in sentence, (address, sentence)
    assert "name" in errors(admin.patch(f"/api/models/{model.pk}/", {"name": name}))
    assert "username" in errors(admin.post("/api/users/", {"username": name, "role": "viewer"}))
    assert "federation" in errors(
        admin.post("/api/deployments/", asked["deployments/"] | {"federation": "abcdef" + name[1:]})
    )


def test_a_user_is_found_however_the_name_is_typed(admin: APIClient) -> None:
    """Composed or not, the name is one: at its making, in REST's login and on the login page."""
    made = admin.post("/api/users/", {"username": "rene\u0301", "role": "viewer", "password": "correct horse"})
    assert made.json()["username"] == "ren\u00e9"
    again = admin.post("/api/users/", {"username": "ren\u00e9", "role": "viewer"})
    assert "already exists" in errors(again)["username"]
    for name in ("rene\u0301", "ren\u00e9"):
        login = {"username": name, "password": "correct horse"}
        assert APIClient().post("/api/auth/token/", login).status_code == 201
        assert Client().post("/login/", login).status_code == 302


def test_names_are_kept_as_they_show(admin: APIClient, model: Model) -> None:
    """Blanks around are left out, and what is composed of two characters is one: two that look alike are one name."""
    first = admin.post(
        "/api/configurations/", {"name": "  caf\u00e9 \u0646\u0645\u06cc\u200c\u062e ", "models": [model.pk]}
    )
    assert first.json()["name"] == "caf\u00e9 \u0646\u0645\u06cc\u200c\u062e"
    again = admin.post(
        "/api/configurations/", {"name": "cafe\u0301 \u0646\u0645\u06cc\u200c\u062e", "models": [model.pk]}
    )
    assert "of this name already" in errors(again)["name"]
    assert "blank" in errors(admin.post("/api/configurations/", {"name": "\u200d", "models": [model.pk]}))["name"]


def test_every_parameter_of_a_run_is_described() -> None:
    """In the OpenAPI document, with its sentence, bounds and choices, as its struct has them."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    described = schema["components"]["schemas"]["DeploymentCreateRequest"]["properties"]
    for name, parameter in PARAMETERS.items():
        shown = described[name]
        told = shown.get("description", "") + str(shown.get("allOf", ""))
        assert parameter.sentence in told or "$ref" in str(shown), name
        assert (shown.get("minimum"), shown.get("maximum")) == (parameter.least, parameter.most) or not parameter.most
