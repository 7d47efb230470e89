"""Who may send how much, and where: what is refused is refused before a byte of it is read or stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework.test import APIClient

from backend.accounts.models import User
from tests.backend.support import FakeWorkshop, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

MULTIPART = "multipart/form-data; boundary=x"
URLENCODED = "application/x-www-form-urlencoded"
LONG = 1 << 19
ADDRESSES = [
    "/login/",
    "/logout/",
    "/api/auth/token/",
    "/models/new/",
    "/api/models/",
    "/datasources/upload/",
    "/api/uploads/",
    "/account/password/",
    "/nothing/",
]


class Untouched:
    """A body that nobody may read."""

    def read(self, *_: Any) -> bytes:
        """Fail."""
        raise AssertionError("the body was read")

    readline = __iter__ = read


def send(client: Any, address: str, length: int, kind: str = MULTIPART, **headers: Any) -> Any:
    """POST an untouchable body of that announced length."""
    extra = {"wsgi.input": Untouched(), "CONTENT_LENGTH": str(length), **headers}
    return client.generic("POST", address, b"", content_type=kind, **extra)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("kind", [MULTIPART, URLENCODED, "application/json"])
def test_a_stranger_stores_nothing(address: str, kind: str) -> None:
    """Nobody's long body is touched, whatever cookie or header comes along."""
    browser = Client(enforce_csrf_checks=True, raise_request_exception=True)
    browser.cookies["csrftoken"] = "x" * 32
    browser.cookies["sessionid"] = "no-session"
    for headers in ({}, {"HTTP_AUTHORIZATION": "Token wrong"}, {"HTTP_X_CSRFTOKEN": "x" * 32}):
        answer = send(browser, address, LONG, kind, **headers)
        assert answer.status_code == (404 if address == "/nothing/" else 401), answer.content
    assert address == "/nothing/" or "log in first" in text(answer), answer.content


@pytest.mark.parametrize("address", ADDRESSES[:-1])
def test_a_viewer_stores_nothing(user: Callable[[str], User], client_of: Any, address: str) -> None:
    """Neither does who may only read, by session or token."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user("viewer"))
    assert send(browser, address, LONG).status_code == 403
    browser.logout()
    assert send(client_of("operator"), "/api/configurations/", 2 << 20).status_code == 413


def test_an_address_has_its_own_bound(client_of: Callable[[str], APIClient], settings: Any) -> None:
    """Files go where models are made; a long JSON body where there is one; one MiB is enough elsewhere."""
    operator, logger = client_of("operator"), client_of("logger")
    for client, address, kind, length in (
        (operator, "/api/configurations/", "application/json", (1 << 20) + 1),
        (operator, "/api/configurations/", MULTIPART, (1 << 20) + 1),
        (operator, "/api/uploads/", "application/json", (1 << 20) + 1),
        (operator, "/api/uploads/", MULTIPART, settings.MAX_DATA_BYTES + 1),
        (operator, "/api/models/", "application/json", settings.MAX_BODY_BYTES + 1),
        (operator, "/api/models/", MULTIPART, settings.MAX_UPLOAD_BYTES + 1),
        (logger, "/api/ingest/control/", "application/json", settings.MAX_BODY_BYTES + 1),
        (logger, "/api/ingest/control/", MULTIPART, settings.MAX_BODY_BYTES + 1),
    ):
        answer = send(client, address, length, kind)
        assert answer.status_code == 413 and "are taken here" in answer.json()["detail"], (address, kind)


def test_whoever_may_send_may(user: Callable[[str], User], client_of: Any, fake_workshop: FakeWorkshop) -> None:
    """An operator's model file of some MiB, by page and by token."""
    browser = Client()
    browser.force_login(user("operator"))

    def form() -> dict[str, Any]:
        return {"name": "a file", "kind": "keras", "file": SimpleUploadedFile("m.keras", bytes(3 << 20))}

    assert browser.post("/models/new/", form()).status_code == 302
    made = client_of("admin").post("/api/models/", form() | {"name": "another"}, format="multipart")
    assert made.status_code == 201, made.content
