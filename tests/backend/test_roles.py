"""Every address under /api/ against every role: who is let in. A new address fails here until it is entered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from backend.catalog.models import Configuration
from backend.deployments.log import opening

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

Clients = Callable[[str | None], APIClient]

PEOPLE = ("viewer", "operator", "admin")
READ = frozenset(PEOPLE)
ACT = frozenset({"operator", "admin"})
ADMIN = frozenset({"admin"})
LOGGER = frozenset({"logger"})
EVERYBODY = frozenset({None, "logger", *PEOPLE})
NOBODY: frozenset[str | None] = frozenset()

# address -> method -> roles
MATRIX: dict[str, dict[str, frozenset[Any]]] = {
    "": {"get": READ},
    "health/": {"get": EVERYBODY},
    "schema/": {"get": READ},
    "auth/token/": {"post": EVERYBODY, "delete": READ},
    "auth/me/": {"get": READ},
    "auth/tokens/": {"get": READ, "post": READ},
    "auth/tokens/{pk}/": {"delete": READ},
    "auth/sessions/": {"get": READ},
    "auth/sessions/{pk}/": {"delete": READ},
    "tokens/": {"get": ADMIN},
    "tokens/{pk}/": {"delete": ADMIN},
    "sessions/": {"get": ADMIN},
    "sessions/end/": {"post": ADMIN},
    "sessions/{pk}/": {"delete": ADMIN},
    "audit/": {"get": ADMIN},
    "users/": {"get": ADMIN, "post": ADMIN},
    "users/{pk}/": {"get": ADMIN, "put": ADMIN, "patch": ADMIN, "delete": ADMIN},
    "models/": {"get": READ, "post": ACT},
    "models/templates/": {"get": READ},
    "models/{pk}/": {"get": READ, "patch": ACT, "delete": ADMIN},
    "models/{pk}/model.keras": {"get": READ},
    "configurations/": {"get": READ, "post": ACT},
    "configurations/{pk}/": {"get": READ, "put": ACT, "patch": ACT, "delete": ADMIN},
    "configurations/{pk}/duplicate/": {"post": ACT},
    "deployments/": {"get": READ, "post": ACT},
    "deployments/{id}/": {"get": READ, "delete": ADMIN},
    "deployments/{id}/destroys/": {"get": READ},
    "deployments/{id}/stop/": {"post": ACT},
    "deployments/{id}/resume/": {"post": ACT},
    "deployments/{id}/rollback/": {"post": ACT},
    "deployments/{id}/remove/": {"post": ACT},
    "deployments/{id}/restart/": {"post": ACT},
    "deployments/{id}/deadline/": {"post": ACT},
    "deployments/{id}/admission/": {"post": ACT},
    "deployments/{id}/witness/": {"get": READ | LOGGER, "post": ADMIN},
    "deployments/{id}/witness/accept/": {"post": ADMIN},
    "results/": {"get": READ},
    "results/{federation}/": {"get": READ},
    "results/{federation}/participation/": {"get": READ},
    "results/{federation}/rounds/": {"get": READ},
    "results/{federation}/members/": {"get": READ},
    "results/{federation}/refusals/": {"get": READ},
    "results/{federation}/records/": {"get": READ},
    "results/{federation}/versions/": {"get": READ},
    "results/{federation}/versions/{number}/": {"get": READ},
    "results/{federation}/versions/{number}/model.json": {"get": READ},
    "results/{federation}/versions/{number}/model.keras": {"get": READ},
    "results/{federation}/versions/{number}/weights.npz": {"get": READ},
    "results/{federation}/versions/{number}/predict/": {"post": ACT},
    "sites/": {"get": READ},
    "sites/enrol/": {"post": EVERYBODY},
    "sites/tokens/": {"get": READ, "post": ACT},
    "sites/tokens/{pk}/": {"delete": ACT},
    "sites/{pk}/": {"get": READ, "patch": ACT},
    "sites/{pk}/revoke/": {"post": ACT},
    "datasources/": {"get": READ, "post": ACT},
    "datasources/{pk}/": {"get": READ},
    "datasources/{pk}/fits/": {"get": READ},
    "injections/": {"get": READ, "post": ACT},
    "injections/{pk}/": {"get": READ},
    "uploads/": {"get": READ, "post": ACT},
    "uploads/{pk}/": {"get": READ, "delete": ACT},
    "uploads/{pk}/look/": {"post": ACT},
    "uploads/{pk}/inject/": {"post": ACT},
    "topics/": {"get": READ},
    "topics/{name}/": {"get": READ, "delete": ADMIN},
    "topics/{name}/messages/": {"get": READ},
    "jobs/": {"get": READ},
    "jobs/{name}/": {"get": READ},
    "jobs/{name}/log/": {"get": READ},
    "jobs/{name}/stop/": {"post": ACT},
    "jobs/{name}/retry/": {"post": ACT},
    "inferences/": {"get": READ, "post": ACT},
    "inferences/{name}/": {"get": READ, "patch": ACT, "delete": ADMIN},
    "inferences/{name}/traffic/": {"get": READ},
    "inferences/{name}/log/": {"get": READ},
    "ingest/control/": {"post": LOGGER},
    "ingest/data/": {"post": LOGGER},
}
NOT_REST = {"docs/"}
METHODS = ("get", "post", "put", "patch", "delete")


def addresses(patterns: list[Any], prefix: str = "") -> Iterator[str]:
    """Every address pattern as text with {names}."""
    for pattern in patterns:
        text = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, text)
        elif isinstance(pattern, URLPattern):
            yield text


def readable(text: str) -> str:
    """A Django pattern as `models/{pk}/`."""
    text = re.sub(r"\(\?P<(\w+)>(?:\[[^\]]*\]|\\.|[^()\[\]])*\)", r"{\1}", text)
    text = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", text)
    return text.replace("^", "").replace("$", "").replace("\\Z", "").replace("\\", "")


def test_every_address_is_in_the_matrix() -> None:
    """No address is forgotten here."""
    (api,) = [p for p in get_resolver().url_patterns if isinstance(p, URLResolver) and str(p.pattern) == "api/"]
    found = {readable(text) for text in addresses(api.url_patterns)} - NOT_REST
    assert found == set(MATRIX)


@pytest.mark.parametrize("address", MATRIX)
def test_matrix(client_of: Clients, address: str) -> None:
    """A role that is not let in gets 401 or 403, one that is gets neither, and other methods do not exist."""
    values = {"pk": "999999", "id": "zzzzzzzz", "federation": "zzzzzzzz", "number": "9", "name": "zz"}
    path = "/api/" + address.format(**values)
    for method in METHODS:
        allowed = MATRIX[address].get(method, NOBODY)
        for role in (None, "logger", *PEOPLE):
            response = getattr(client_of(role), method)(path)
            said = f"{method} {address} as {role}: {response.status_code}"
            if role in allowed:
                assert response.status_code not in (401, 403, 405, 500), said
            else:
                assert response.status_code in (401, 403, 405), said
            if not allowed and role == "admin":
                assert response.status_code in (403, 405), said


def test_viewer_cannot_act_on_what_exists(client_of: Clients, configuration: Configuration) -> None:
    """The refusal holds for objects that are there, and nothing changes."""
    federation = (
        client_of("operator").post("/api/deployments/", {"configuration": configuration.pk}).json()["federation"]
    )
    viewer, operator = client_of("viewer"), client_of("operator")
    assert viewer.get(f"/api/deployments/{federation}/").status_code == 200
    for action in ("stop", "restart"):
        assert viewer.post(f"/api/deployments/{federation}/{action}/").status_code == 403
    assert operator.delete(f"/api/deployments/{federation}/?confirm={federation}").status_code == 403
    assert operator.get(f"/api/deployments/{federation}/").json()["state"] == "opening"
    assert (
        opening.topics_of(federation)[0] == operator.get(f"/api/deployments/{federation}/destroys/").json()["topics"][0]
    )


def test_tokens_are_ones_own(client_of: Clients) -> None:
    """Nobody sees or ends another's tokens."""
    viewer, operator = client_of("viewer"), client_of("operator")
    (theirs,) = operator.get("/api/auth/tokens/").json()["results"]
    assert theirs["id"] not in [token["id"] for token in viewer.get("/api/auth/tokens/").json()["results"]]
    assert viewer.delete(f"/api/auth/tokens/{theirs['id']}/").status_code == 404


def test_pages_are_closed_to_loggers(user: Callable[[str], Any]) -> None:
    """A logger's user has no business on the pages."""
    browser = APIClient()
    browser.force_login(user("logger"))
    for path in ("/", "/models/", "/deployments/zzzzzzzz/"):
        assert browser.get(path).status_code == 403


def test_docs_need_a_login(user: Callable[[str], Any]) -> None:
    """The API page and its schema are for those who are logged in, and work without inline script."""
    browser = APIClient()
    assert browser.get("/api/docs/").status_code == 302
    browser.force_login(user("viewer"))
    page = browser.get("/api/docs/").content.decode()
    assert "swagger-ui" in page and "<style" not in page and not re.search(r"<script(?![^>]*src=)", page)
    assert b"openapi" in browser.get("/api/schema/").content
