"""The pages of models and configurations: what is right is done, what is wrong stays in the form with its sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from backend.catalog import workshop
from backend.catalog.models import Configuration, Model
from backend.deployments import services as deployments
from backend.rest.problems import Problem
from tests.backend.support import XSS, FakeWorkshop, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

MODEL: dict[str, Any] = {"name": "digits", "kind": "template", "template": "mlp", "mlp-input_shape": "784", "seed": "7"}


def test_template(user: Callable[[str], Any], fake_workshop: FakeWorkshop) -> None:
    """A template's parameters go to the workshop as numbers and lists, those of other templates do not."""
    form = MODEL | {"mlp-units": "64, 32", "mlp-dropout": "0.5", "lenet-classes": "3", "cnn-filters": "x"}
    answer = logged_in(user("operator")).post("/models/new/", form)
    model = Model.objects.get()
    assert answer["Location"] == f"/models/{model.pk}/"
    params = {"input_shape": [784], "units": [64, 32], "dropout": 0.5}
    assert fake_workshop.asked[0]["template"] == {"name": "mlp", "params": params}
    assert fake_workshop.asked[0]["seed"] == 7


def test_every_page_of_a_model(user: Callable[[str], Any], configuration: Configuration) -> None:
    """List and detail show layers, shapes, where it is used, and each page answers without a script in it."""
    (model,) = configuration.models.all()
    deployments.create({"configuration": configuration}, None)
    browser = logged_in(user("admin"))
    for path in (
        "/models/", "/models/new/", f"/models/{model.pk}/", "/configurations/", "/configurations/new/",
        f"/configurations/{configuration.pk}/", "/models/?q=nothing", "/configurations/?q=nothing",
    ):  # fmt: skip
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "style=" not in text(answer) and "onclick" not in text(answer)
    shown = text(browser.get(f"/models/{model.pk}/"))
    assert "Dense" in shown and "study" in shown and "waiting" not in shown
    assert "curl -s" in shown and f"/api/models/{model.pk}/" in shown


def test_what_of_a_model_s_own_settings_no_federation_can_keep(user: Callable[[str], Any], model: Model) -> None:
    """The model's page says it before anybody deploys it."""
    why = "The model's own loss cannot stand: it has loss_weights [3.0], which a federation does not keep; ..."
    Model.objects.filter(pk=model.pk).update(compile={"optimizer": "sgd", "learning_rate": 0.1, "lost": {"loss": why}})
    assert why in text(logged_in(user("viewer")).get(f"/models/{model.pk}/"))


def test_wrong_values_stay(user: Callable[[str], Any], fake_workshop: FakeWorkshop, model: Model) -> None:
    """Each wrong value keeps what was typed and has REST's own sentence; nothing is made."""
    browser = logged_in(user("operator"))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"name": ""}, "This field may not be blank."),
        ({"name": "x" * 101}, "no more than 100 characters"),
        ({"name": "tiny"}, "There is a model of this name already"),
        ({"seed": "many"}, "A valid integer is required."),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"description": "d" * 4001}, "no more than 4000 characters"),
        ({"kind": "json"}, "A model of kind json needs config."),
        ({"kind": "source", "imports": "import keras"}, "This field is required."),
        ({"kind": "keras"}, "A model of kind keras needs file."),
        ({"kind": "magic"}, '"magic" is not a valid choice.'),
    ]
    for change, sentence in cases:
        answer = browser.post("/models/new/", MODEL | change)
        shown = text(answer)
        assert answer.status_code == 400 and sentence in shown, change
        for typed in change.values():
            assert typed in shown or typed == "magic"
    assert list(Model.objects.all()) == [model]


def test_file_that_is_no_model(user: Callable[[str], Any], fake_workshop: FakeWorkshop) -> None:
    """A file of another name is refused by its name; the rest of the form stays."""
    upload = SimpleUploadedFile("holiday.jpg", b"\xff\xd8\xff")
    answer = logged_in(user("operator")).post("/models/new/", {"name": "photo", "kind": "keras", "file": upload})
    assert answer.status_code == 400
    assert "The file's name must end in .keras or .h5" in text(answer) and 'value="photo"' in text(answer)


def test_oversized_upload(user: Callable[[str], Any], settings: Any) -> None:
    """What is too long is refused by its announced length, with how much is allowed."""
    settings.MAX_UPLOAD_BYTES = 1000
    upload = SimpleUploadedFile("big.keras", b"x" * 2000)
    answer = logged_in(user("operator")).post("/models/new/", {"name": "big", "kind": "keras", "file": upload})
    assert answer.status_code == 413 and "at most 1,000 are taken here" in text(answer)


def test_the_workshops_errors_stand_at_their_fields(
    user: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter's error stands at the parameter, a line's error at the code with its line."""
    browser = logged_in(user("operator"))
    for field, sentence, place in (
        ("template.params.units", "units must be a list", "id_mlp-units-wrong"),
        ("template.params.nonsense", "there is no nonsense", "id_template-wrong"),
        ("", "The workshop is busy", "form-wrong"),
    ):

        def refuse(*_: Any, _field: str = field, _sentence: str = sentence, **__: Any) -> workshop.Result:
            raise Problem(400, _sentence, field=_field)

        monkeypatch.setattr(workshop, "run", refuse)
        shown = text(browser.post("/models/check/", MODEL, headers={"HX-Request": "true"}))
        slot = shown[shown.index(f'id="{place}"') :]
        assert sentence in slot[: slot.index("</div>")]

    def source(*_: Any, **__: Any) -> workshop.Result:
        raise Problem(400, "line 2: name 'Dens' is not defined", field="source.code", line=2)

    monkeypatch.setattr(workshop, "run", source)
    form = {"name": "mine", "kind": "source", "code": "x = 1\nmodel = Dens()"}
    answer = browser.post("/models/new/", form)
    shown = text(answer)
    assert answer.status_code == 400 and "model = Dens()" in shown
    slot = shown[shown.index('id="id_code-wrong"') :]
    assert "line 2: name 'Dens'" in slot[: slot.index("</div>")]


def test_check_keeps_nothing(user: Callable[[str], Any], fake_workshop: FakeWorkshop) -> None:
    """The check shows layers, shapes and parameters, also without scripts and without a name, and makes no model."""
    browser = logged_in(user("operator"))
    fragment = text(browser.post("/models/check/", MODEL | {"name": ""}, headers={"HX-Request": "true"}))
    assert "This model can be made" in fragment and "Dense" in fragment and "<html" not in fragment
    page = text(browser.post("/models/check/", MODEL))
    assert "This model can be made" in page and "<html" in page and 'value="digits"' in page
    assert not Model.objects.exists()


def test_rename_and_delete_a_model(user: Callable[[str], Any], configuration: Configuration) -> None:
    """Names change; a model in use is not deleted and says by what it is kept."""
    (model,) = configuration.models.all()
    browser = logged_in(user("admin"))
    page = f"/models/{model.pk}/"
    assert "may not be blank" in text(browser.post(page, {"name": ""}))
    browser.post(page, {"name": "renamed", "description": "d"})
    model.refresh_from_db()
    assert (model.name, model.description) == ("renamed", "d")
    assert "take it out there first" in text(browser.get(page))
    assert "part of the configurations study" in text(browser.post(f"{page}delete/", follow=True))
    configuration.delete()
    assert "initial weights" in text(browser.get(page))
    assert "is deleted" in text(browser.post(f"{page}delete/", follow=True))
    assert not Model.objects.exists()


def test_configurations(user: Callable[[str], Any], model: Model) -> None:
    """Make, refuse, change, duplicate, delete."""
    browser = logged_in(user("admin"))
    assert "checked" in text(browser.get(f"/configurations/new/?model={model.pk}"))
    refused = browser.post("/configurations/new/", {"name": "none chosen"})
    assert refused.status_code == 400 and "may not be empty" in text(refused) and "none chosen" in text(refused)
    gone = browser.post("/configurations/new/", {"name": "gone", "models": ["999"]})
    assert gone.status_code == 400 and "999" in text(gone)
    browser.post("/configurations/new/", {"name": "study", "models": [model.pk]})
    made = Configuration.objects.get()
    page = f"/configurations/{made.pk}/"
    again = browser.post("/configurations/new/", {"name": "study", "models": [model.pk]})
    assert again.status_code == 400 and "of this name already" in text(again)
    browser.post(page, {"name": "study of digits", "models": [model.pk]})
    assert "study of digits (2)" in text(browser.post(f"{page}duplicate/", follow=True))
    assert "they stay" in text(browser.get(page))
    browser.post(f"{page}delete/")
    assert [c.name for c in Configuration.objects.all()] == ["study of digits (2)"]


def test_a_viewer_only_reads(user: Callable[[str], Any], configuration: Configuration) -> None:
    """A viewer's and an operator's attempts at what is not theirs are refused, and their pages offer none of it."""
    (model,) = configuration.models.all()
    viewer, operator = logged_in(user("viewer")), logged_in(user("operator"))
    for path in (
        "/models/new/", "/models/check/", f"/models/{model.pk}/", "/configurations/new/",
        f"/configurations/{configuration.pk}/", f"/configurations/{configuration.pk}/duplicate/",
    ):  # fmt: skip
        assert viewer.post(path, MODEL).status_code == 403, path
    for path in (f"/models/{model.pk}/delete/", f"/configurations/{configuration.pk}/delete/"):
        assert viewer.post(path).status_code == operator.post(path).status_code == 403
    for path in ("/models/", f"/models/{model.pk}/", "/configurations/", f"/configurations/{configuration.pk}/"):
        shown = text(viewer.get(path))
        assert "New model" not in shown and "Delete" not in shown and "Duplicate" not in shown
    assert "Delete" not in text(operator.get(f"/models/{model.pk}/"))


def test_names_are_text(user: Callable[[str], Any], fake_workshop: FakeWorkshop) -> None:
    """A name that would be markup is shown as it was typed, everywhere."""
    browser = logged_in(user("admin"))
    browser.post("/models/new/", MODEL | {"name": XSS, "description": XSS})
    model = Model.objects.get()
    browser.post("/configurations/new/", {"name": XSS, "description": XSS, "models": [model.pk]})
    made = Configuration.objects.get()
    assert model.name == made.name == XSS
    paths = ["/models/", f"/models/{model.pk}/", "/configurations/", f"/configurations/{made.pk}/"]
    for path in [*paths, "/configurations/new/", f"/models/?q={XSS}", f"/configurations/?q={XSS}"]:
        source = browser.get(path).content.decode()
        assert "<script>alert" not in source and "<img src=x" not in source and "&lt;script&gt;" in source


def test_expired_session_comes_back(user: Callable[[str], Any], fake_workshop: FakeWorkshop) -> None:
    """A form sent after the session ended leads to the login and back to the form; a fragment takes the page along."""
    user("operator")
    browser = Client()
    answer = browser.post("/models/new/", MODEL)
    assert answer["Location"] == "/login/?next=/models/new/"
    back = browser.post("/login/", {"username": "the-operator", "password": "correct horse", "next": "/models/new/"})
    assert back["Location"] == "/models/new/"
    browser.logout()
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/models/new/"}
    assert browser.post("/models/check/", MODEL, headers=headers)["HX-Redirect"] == "/login/?next=%2Fmodels%2Fnew%2F"
    browser.post("/login/", {"username": "the-operator", "password": "correct horse"})
    assert browser.get("/models/7/delete/")["Location"] == "/models/7/"
