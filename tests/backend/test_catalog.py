"""Models and configurations."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from backend.catalog import workshop
from backend.catalog.models import Blob, Configuration, Model
from backend.rest.problems import Problem
from tests.backend.support import FakeWorkshop

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

SOURCE = {"imports": "import keras", "code": "model = keras.Sequential()"}


@pytest.mark.parametrize(
    ("body", "operation"),
    [
        ({"template": {"name": "mlp", "params": {"units": [8]}}}, {"kind": "template"}),
        ({"config": {"class_name": "Sequential"}}, {"kind": "json", "config": '{"class_name": "Sequential"}'}),
        ({"config": "{}", "kind": "json"}, {"kind": "json", "config": "{}"}),
        ({"source": SOURCE}, {"kind": "source", "source": SOURCE}),
        ({**SOURCE, "framework": "tf", "description": ""}, {"kind": "source", "source": SOURCE}),
    ],
)
def test_kinds(admin: APIClient, fake_workshop: FakeWorkshop, body: dict[str, Any], operation: dict[str, Any]) -> None:
    """Each way to give a model reaches the workshop as what it is, Kafka-ML's form included."""
    answer = admin.post("/api/models/", {"name": "m", **body})
    assert answer.status_code == 201, answer.content
    assert operation.items() <= fake_workshop.asked[0].items()
    shown = admin.get(f"/api/models/{answer.json()['id']}/").json()
    assert shown["input"] == {"shape": [4], "dtype": "float32"} and shown["parameters"] == 10
    assert shown["created_by"] == "the-admin" and shown["compile"]["optimizer"] == "sgd"


def test_keras_file(admin: APIClient, fake_workshop: FakeWorkshop) -> None:
    """An uploaded file goes to the workshop under a name of ours."""
    upload = SimpleUploadedFile("../../evil.keras", b"zip bytes")
    answer = admin.post("/api/models/", {"name": "m", "file": upload, "seed": "7"}, format="multipart")
    assert answer.status_code == 201, answer.content
    assert fake_workshop.asked[0] == {"op": "build", "kind": "keras", "file": "model.keras", "seed": 7}
    assert fake_workshop.files == {"model.keras": b"zip bytes"}
    assert answer.json()["origin"] == {"file": "evil.keras"}


def test_large_file_is_not_held_in_memory(admin: APIClient, fake_workshop: FakeWorkshop, settings: Any) -> None:
    """A file beyond the memory limit reaches the workshop by its path."""
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
    upload = SimpleUploadedFile("big.keras", b"x" * 1000)
    assert admin.post("/api/models/", {"name": "m", "file": upload}, format="multipart").status_code == 201
    assert not isinstance(fake_workshop.files["model.keras"], bytes)


def test_form_with_json_parts(admin: APIClient, fake_workshop: FakeWorkshop) -> None:
    """In a form, nested parts are JSON text; what is not JSON is named."""
    good = admin.post("/api/models/", {"name": "m", "template": '{"name": "mlp"}'}, format="multipart")
    assert good.status_code == 201, good.content
    bad = admin.post("/api/models/", {"name": "n", "template": "{"}, format="multipart")
    assert bad.status_code == 400 and bad.json()["errors"][0]["field"] == "template"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "json"}, "config"),
        ({"kind": "keras"}, "file"),
        ({"kind": "nonsense"}, "kind"),
        ({"template": {"name": "mlp"}, "config": {}, "source": SOURCE}, "kind"),
        ({"template": {"name": "mlp"}, "seed": -1}, "seed"),
        ({"template": {"name": "mlp"}, "seed": 1 << 32}, "seed"),
        ({"template": "mlp"}, "template"),
        ({"source": {"imports": ""}}, "source.code"),
        ({"config": 7, "kind": "json"}, "config"),
        ({"template": {"name": "mlp"}, "framework": "torch"}, "framework"),
    ],
)
def test_refusals_name_the_field(
    admin: APIClient, fake_workshop: FakeWorkshop, body: dict[str, Any], field: str
) -> None:
    """What is missing or wrong is named, and the workshop is not started."""
    answer = admin.post("/api/models/", {"name": "m", **body})
    assert answer.status_code == 400 and not fake_workshop.asked
    errors = [error["field"] for error in answer.json()["errors"]]
    assert any(name == field or name.startswith(f"{field}.") for name in errors), errors


def test_workshop_refusal_names_line(admin: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workshop's field and line reach the user."""

    def refuse(*_: Any, **__: Any) -> None:
        raise Problem(400, "invalid syntax", field="source.code", line=3)

    monkeypatch.setattr(workshop, "run", refuse)
    answer = admin.post("/api/models/", {"name": "m", "source": SOURCE})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "source.code", "message": "invalid syntax", "line": 3}]


def test_names_are_unique(admin: APIClient, model: Model) -> None:
    """A name is given once."""
    answer = admin.post("/api/models/", {"name": model.name, "template": {"name": "mlp"}})
    assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "name"


def test_content_never_changes(admin: APIClient, model: Model) -> None:
    """Only name and description can be changed; what is sent back as it was read is no change."""
    page = f"/api/models/{model.pk}/"
    refused = admin.patch(page, {"description": "better", "architecture": "{}", "kind": "source"})
    assert refused.status_code == 400
    assert [(e["field"], e["message"]) for e in refused.json()["errors"]] == [
        ("architecture", "This cannot be changed."), ("kind", "This cannot be changed.")
    ]  # fmt: skip
    answer = admin.patch(page, admin.get(page).json() | {"description": "better"})
    assert answer.status_code == 200 and answer.json()["description"] == "better", answer.content
    model.refresh_from_db()
    assert model.kind == "template" and model.architecture != "{}"


def test_lying_workshop_is_caught(admin: APIClient, fake_workshop: FakeWorkshop) -> None:
    """Weights that are not what the workshop says of them are not stored."""
    fake_workshop.tensors = [{"name": "w", "dtype": "float32", "shape": [9]}]
    assert admin.post("/api/models/", {"name": "m", "template": {"name": "mlp"}}).status_code in (400, 503)
    assert not Model.objects.exists() and not Blob.objects.exists()


def test_download_with_etag(admin: APIClient, model: Model, fake_workshop: FakeWorkshop) -> None:
    """The `.keras` file is made once, and not sent to whoever has it."""
    first = admin.get(f"/api/models/{model.pk}/model.keras")
    assert first.status_code == 200 and b"".join(first.streaming_content) == b"a keras file"  # type: ignore[attr-defined]
    exports = [asked for asked in fake_workshop.asked if asked["op"] == "export"]
    again = admin.get(f"/api/models/{model.pk}/model.keras", headers={"if-none-match": first["ETag"]})
    assert again.status_code == 304
    assert b"".join(admin.get(f"/api/models/{model.pk}/model.keras").streaming_content)  # type: ignore[attr-defined]
    assert [asked for asked in fake_workshop.asked if asked["op"] == "export"] == exports


def test_configuration_life(admin: APIClient, model: Model) -> None:
    """A configuration is made, found by filter, copied, changed and deleted."""
    made = admin.post("/api/configurations/", {"name": "study", "models": [model.pk]})
    assert made.status_code == 201, made.content
    path = f"/api/configurations/{made.json()['id']}/"
    assert admin.get("/api/configurations/", {"name__icontains": "STU"}).json()["count"] == 1
    copies = [admin.post(f"{path}duplicate/", {}).json()["name"] for _ in range(2)]
    assert copies == ["study (2)", "study (3)"]
    assert admin.post(f"{path}duplicate/", {"name": "study"}).status_code == 409
    assert admin.patch(path, {"models": []}).status_code == 400
    assert admin.delete(path).status_code == 204


def test_used_model_stays(admin: APIClient, configuration: Configuration, model: Model) -> None:
    """A model in a configuration is not deleted, and the answer names the configuration."""
    answer = admin.delete(f"/api/models/{model.pk}/")
    assert answer.status_code == 409 and "study" in answer.json()["detail"]
    configuration.delete()
    assert admin.delete(f"/api/models/{model.pk}/").status_code == 204
    assert not Blob.objects.exists()


def test_blobs_are_kept_once(db: None) -> None:
    """Bytes of any length come back whole, and are stored once."""
    data = bytes(range(256)) * 40_000
    first, second = Blob.store(BytesIO(data)), Blob.store(BytesIO(data))
    assert first == second and first.parts.count() == 3
    first.write(written := BytesIO())
    assert written.getvalue() == data


def test_templates_listed(client_of: Callable[[str], APIClient]) -> None:
    """Viewers see the templates with their parameters."""
    names = [template["name"] for template in client_of("viewer").get("/api/models/templates/").json()]
    assert names == ["mlp", "cnn", "cifar10_cnn", "lenet"]
