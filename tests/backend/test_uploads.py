"""Files that people upload: kept in pieces, read by the public script in a child, shown, injected, forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from rest_framework.test import APIClient

from backend.rest.problems import Problem
from backend.streams import injections, script, uploads
from backend.streams.models import Injection, InjectionState, Upload, UploadPart
from tests.backend.support import XSS, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

PENGUINS = b"""species,island,mass_g
Adelie,Torgersen,3750
Gentoo,Biscoe,5000
Adelie,Dream,NA
Gentoo,Biscoe,5700
"""
OPTIONS = {"label_column": "species", "categories": "one-hot", "missing": "drop", "topic": "birds", "test_rate": 0.3}
Clients = Callable[[str | None], APIClient]


def sent(client: APIClient, content: bytes = PENGUINS, name: str = "penguins.csv", **options: Any) -> dict[str, Any]:
    """What REST answers to a file."""
    answer = client.post("/api/uploads/", {"file": SimpleUploadedFile(name, content), **options}, format="multipart")
    assert answer.status_code == 201, answer.content
    found: dict[str, Any] = answer.json()
    return found


def test_a_file_is_looked_at_and_injected_over_rest(client_of: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it needs is asked for in the script's sentence; then the launcher runs the script on the same bytes."""
    operator = client_of("operator")
    upload = sent(operator, label_column="species")
    assert upload["found"] is None and upload["names"] == ["penguins.csv"] and upload["size"] == len(PENGUINS)
    assert upload["problem"].startswith(
        "penguins.csv: column 'island' holds words (Biscoe, Dream, Torgersen): say --cat"
    )
    where = f"/api/uploads/{upload['id']}/"
    refused = operator.post(f"{where}inject/")
    assert (
        refused.status_code == 409
        and "It cannot be injected so: penguins.csv: column 'island'" in refused.json()["detail"]
    )
    looked = operator.post(f"{where}look/", OPTIONS).json()
    assert looked["problem"] == "" and looked["found"]["taken"]["classes"] == {"Adelie": 1, "Gentoo": 2}
    assert looked["found"]["preview"]["rows"][0] == {"data": [0, 0, 1, 3750], "label": [1, 0], "means": "Adelie"}
    wrong = operator.post(f"{where}look/", {"missing": "guess", "drops": ["a"]})
    assert wrong.status_code == 400 and {error["field"] for error in wrong.json()["errors"]} == {"missing", "drops"}
    made = operator.post(f"{where}inject/").json()
    assert (made["files"], made["topic"], made["state"]) == ("penguins.csv", "birds", "waiting")
    ran: dict[str, Any] = {}

    def fake(name: str, words: list[str], **options: Any) -> tuple[bytes | None, str]:
        ran.update(name=name, words=words[:-1], content=Path(words[-1]).read_bytes(), file=Path(words[-1]).name)
        options["told"]("progress 2 of 3")
        ran["during"] = Injection.objects.get().detail
        return b'{"streams": [{"total_msg": 3}]}', ""

    monkeypatch.setattr(script, "run", fake)
    assert injections.InjectionRunner().step()
    done = Injection.objects.get()
    assert (done.state, done.detail) == (InjectionState.SUCCEEDED, "1 stream of 3 records announced")
    assert ran["during"] == "2 of 3 records sent"
    assert ran["content"] == PENGUINS and ran["file"] == "penguins.csv" and ran["name"] == script.FILES
    assert {"--label-column=species", "--categories=one-hot", "--topic=birds", "--test-rate=0.3"} <= set(ran["words"])
    assert not Upload.objects.exists() and not UploadPart.objects.exists()
    assert operator.get("/api/injections/").json()["results"][0]["files"] == "penguins.csv"


def test_a_file_by_the_pages_without_scripts(user: Callable[[str], Any]) -> None:
    """Upload, a sentence, the options' form, the look, the stream: five pages of plain HTML."""
    browser = logged_in(user("operator"))
    nothing = browser.post("/datasources/upload/", {})
    assert nothing.status_code == 400 and "Choose a file." in text(nothing)
    page = browser.post("/datasources/upload/", {"file": SimpleUploadedFile("penguins.csv", PENGUINS)})["Location"]
    shown = text(browser.get(page))
    assert "column 'species' holds words" in shown and 'value="penguins"' in shown
    form = {"label_column": "species", "categories": "codes", "missing": "mean", "decimal": ".", "input_format": "RAW"}
    form |= {"topic": "birds", "drop": "mass_g\r\n", "restriction": '{"of": "penguins"}'}
    assert browser.post(page, form)["Location"] == page
    shown = text(browser.get(page))
    assert (
        "As the model will see it" in shown and "Adelie (2), Gentoo (2)" in shown and "data float32 of shape 1" in shown
    )
    assert "classes learnt from the words: sites that train together all say --classes Adelie,Gentoo" in shown
    bad = browser.post(f"{page}inject/", form | {"topic": "FEDERATED_AGGREGATOR_TOPIC-ddy6heod", "test_rate": "x"})
    assert bad.status_code == 400 and "is not a topic for samples" in text(bad) and "A valid number" in text(bad)
    assert browser.post(f"{page}inject/", form | {"label_column": "none"}).status_code == 409
    assert browser.post(f"{page}inject/", form)["Location"] == "/datasources/"
    asked = Injection.objects.get()
    assert asked.options["restriction"] == {"of": "penguins"} and asked.options["drop"] == ["mass_g"]
    assert "penguins.csv into <code>birds</code>" in text(browser.get("/datasources/injections/"))
    browser.post(f"{page}delete/")
    assert injections.InjectionRunner().step()
    asked.refresh_from_db()
    assert asked.state == InjectionState.FAILED and asked.detail == "its files are gone: upload them again"


def test_several_files_and_pictures(user: Callable[[str], Any], tmp_path: Path) -> None:
    """MNIST's two files, in pieces, and samples that are pictures."""
    images = np.arange(5 * 784, dtype=np.uint32).astype(np.uint8)
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (5, 28, 28))
    labels = b"\0\0\x08\x01\0\0\0\x05" + bytes([3, 1, 4, 1, 5])
    files = [SimpleUploadedFile("im.idx", head + images.tobytes()), SimpleUploadedFile("../la.idx", labels)]
    browser = logged_in(user("operator"))
    page = browser.post("/datasources/upload/", {"file": files})["Location"]
    shown = text(browser.get(page))
    assert shown.count("<img src") >= 5 and 'alt="Sample with the label class 3"' in shown and "28 28" in shown
    with uploads.written(Upload.objects.get()) as paths:
        assert [Path(path).name for path in paths] == ["im.idx", "la.idx"]
        assert Path(paths[0]).read_bytes() == head + images.tobytes()


def test_uploads_are_bounded_and_forgotten(client_of: Clients, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By size, by number, by age; what is being injected stays."""
    monkeypatch.setattr(uploads, "look", lambda upload, options: upload)
    monkeypatch.setattr(uploads, "PART_BYTES", 10)
    operator = client_of("operator")
    first = sent(operator)["id"]
    parts = Upload.objects.get().parts.order_by("index")
    assert b"".join(bytes(part.data) for part in parts) == PENGUINS and len(parts) > 5
    Injection.objects.create(upload_id=first, files="penguins.csv")
    ids = [sent(operator)["id"] for _ in range(uploads.MOST_EACH + 2)]
    assert set(Upload.objects.values_list("pk", flat=True)) == {first, *ids[2:]}
    Upload.objects.update(created_at=timezone.now() - timedelta(hours=25))
    uploads.forget_old()
    assert list(Upload.objects.values_list("pk", flat=True)) == [first]
    settings.MAX_DATA_BYTES = 5000
    large = operator.post("/api/uploads/", {"file": SimpleUploadedFile("l.csv", b"x" * 4900)}, format="multipart")
    assert large.status_code == 413 or Upload.objects.get(pk=large.json()["id"]).size == 4900
    with pytest.raises(Problem, match="inject it with the script"):
        uploads.store([SimpleUploadedFile("l.csv", b"x" * 5001)], None)


def test_a_file_that_takes_too_long_or_too_much(client_of: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look is ended after its time, and says so; whatever a file holds, there is a sentence."""
    operator = client_of("operator")
    upload = sent(operator, b"PK\3\4" + bytes(100), "broken.npz")
    assert upload["problem"].startswith("broken.npz is no .npz file, or is damaged")
    assert sent(operator, b"\n\n", "empty.csv")["problem"] == "empty.csv is empty"
    monkeypatch.setattr(uploads, "LOOK_SECONDS", 0.01)
    assert sent(operator)["problem"] == "it took longer than 0 s and was ended"


def test_names_are_text(user: Callable[[str], Any]) -> None:
    """A file's name and its cells become no markup, and no path or option."""
    browser = logged_in(user("operator"))
    content = f'"{XSS.replace(chr(34), "")}",y\n1.5,{XSS.split(chr(34))[0]}\n2,b\n'.encode()
    page = browser.post("/datasources/upload/", {"file": SimpleUploadedFile("--json<b>.csv", content)})["Location"]
    shown = browser.get(page).content.decode()
    assert "<script>alert" not in shown and "<img src=x" not in shown and "--json_b_.csv" in shown
    assert "As the model will see it" in shown


def test_who_may(user: Callable[[str], Any]) -> None:
    """A viewer neither sends files nor sees the pages for it."""
    browser = logged_in(user("viewer"))
    upload = Upload.objects.create(names=["a.csv"], size=1)
    for address in ("/datasources/upload/", f"/datasources/uploads/{upload.pk}/"):
        assert browser.get(address).status_code == 403 == browser.post(address).status_code
    for action in ("inject", "delete"):
        assert browser.post(f"/datasources/uploads/{upload.pk}/{action}/").status_code == 403
    assert "Upload a file" not in text(browser.get("/datasources/"))
