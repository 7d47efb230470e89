"""Errors are problem details, whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from backend.catalog import api as catalog_api
from backend.runs.health import health

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

Clients = Callable[[str | None], APIClient]


def problem(response: Any, status: int) -> dict[str, Any]:
    """The problem's members, checked for their form."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "instance", "errors"}
    assert body["status"] == status and body["title"] and body["detail"]
    return body


def test_unknown_address_under_api(client_of: Clients) -> None:
    """An address that does not exist is a 404 problem."""
    assert problem(client_of("viewer").get("/api/nothing/"), 404)["instance"] == "/api/nothing/"


def test_unknown_object(client_of: Clients) -> None:
    """An object that does not exist is a 404 problem, whatever the id looks like."""
    for path in ("/api/models/7/", "/api/models/x/", f"/api/models/{10**30}/", "/api/deployments/abcdefgh/"):
        problem(client_of("viewer").get(path), 404)


def test_not_logged_in(client_of: Clients) -> None:
    """Nobody is told to log in, and how."""
    response = client_of(None).get("/api/models/")
    problem(response, 401)
    assert response["WWW-Authenticate"] == "Token"


def test_wrong_token(client_of: Clients) -> None:
    """A token that nobody has is a 401 problem."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Token nonsense")
    problem(client.get("/api/models/"), 401)


def test_forbidden(client_of: Clients) -> None:
    """A role that does not suffice is a 403 problem."""
    problem(client_of("viewer").post("/api/configurations/", {"name": "x"}), 403)


def test_method_not_allowed(admin: APIClient) -> None:
    """A method that the address does not know is a 405 problem."""
    problem(admin.put("/api/models/"), 405)


def test_not_json(admin: APIClient) -> None:
    """A body that is not JSON is a 400 problem."""
    problem(admin.post("/api/configurations/", "{nonsense", content_type="application/json"), 400)


def test_media_type(admin: APIClient) -> None:
    """A body of another kind is a 415 problem."""
    problem(admin.post("/api/configurations/", "a,b", content_type="text/csv"), 415)


def test_validation_names_every_field(admin: APIClient) -> None:
    """Each wrong field is named with its own sentence."""
    body = problem(admin.post("/api/configurations/", {"name": "", "models": [77]}), 400)
    assert {error["field"] for error in body["errors"]} == {"name", "models"}
    assert all(error["message"] for error in body["errors"])


def test_body_too_long(admin: APIClient, settings: Any) -> None:
    """A body beyond the limit is refused by its length."""
    settings.MAX_BODY_BYTES = 100
    body = problem(admin.post("/api/configurations/", {"name": "x" * 200}), 413)
    assert "100" in body["detail"]


def test_own_fault(admin: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is a 500 problem that tells no internals."""

    def broken(*_: Any) -> None:
        raise RuntimeError("secret internals")

    monkeypatch.setattr(catalog_api.ModelViewSet, "list", broken)
    body = problem(admin.get("/api/models/"), 500)
    assert "secret" not in body["detail"]


def test_csrf(client_of: Clients, user: Callable[[str], Any]) -> None:
    """With a session, a POST without the CSRF token is refused; a GET is not."""
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user("operator"))
    assert client.get("/api/models/").status_code == 200
    assert "CSRF" in problem(client.post("/api/configurations/", {"name": "x"}), 403)["detail"]


HOSTS = {
    "192.168.1.20:8000": 200,
    "[fd00::5]:8000": 200,
    "lab7.local": 400,
    "192.168.1.20.evil.example": 400,
    "a b": 400,
}


@pytest.mark.parametrize("host", HOSTS)
def test_an_address_is_ours_and_a_name_is_told_its_setting(client_of: Clients, host: str) -> None:
    """Of this machine in its network, until MAINSTEM_ALLOWED_HOSTS says which; the health's answer too."""
    response = client_of(None).get("/api/health/", HTTP_HOST=host)
    assert response.status_code == HOSTS[host]
    if host == "lab7.local":
        told = (
            "This server does not answer to the name lab7.local: whoever runs it can add that to MAINSTEM_ALLOWED_HOSTS"
        )
        assert told in response.json()["detail"]
        assert "MAINSTEM_ALLOWED_HOSTS" in client_of(None).get("/login/", HTTP_HOST=host).content.decode()


def test_the_allowed_hosts_are_all(client_of: Clients, settings: Any) -> None:
    """Where somebody has named them, an address is none of them unless it is there."""
    settings.ANY_ADDRESS = False
    response = client_of(None).get("/api/health/", HTTP_HOST="192.168.1.20:8000")
    assert response.status_code == 400 and "192.168.1.20" in response.json()["detail"]


def test_a_form_through_a_proxy_with_tls_is_told_the_setting(user: Callable[[str], Any]) -> None:
    """Reloading the page would not help, neither on a page nor in the API."""
    client = APIClient(enforce_csrf_checks=True)
    told = (
        "This was sent from https://fl.example.org, which this server does not know as its own address. "
        "Where that is a proxy before it, the proxy must send X-Forwarded-Proto and MAINSTEM_HTTPS be true, "
        "or MAINSTEM_TRUSTED_ORIGINS must name it"
    )
    response = client.post("/login/", {"username": "a"}, HTTP_ORIGIN="https://fl.example.org", format="multipart")
    assert response.status_code == 403 and told in response.content.decode()
    client.force_login(user("operator"))
    body = problem(client.post("/api/configurations/", {"name": "x"}, HTTP_ORIGIN="https://fl.example.org"), 403)
    assert body["detail"].startswith(told)


def test_pages_stay_html(client_of: Clients, user: Callable[[str], Any]) -> None:
    """Outside /api/ an error is a page."""
    client = APIClient()
    client.force_login(user("viewer"))
    response = client.get("/nothing/")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")


def test_security_headers(client_of: Clients) -> None:
    """Every answer carries the policy that forbids inline scripts."""
    for path in ("/api/health/", "/login/", "/api/nothing/"):
        response = client_of(None).get(path)
        assert "default-src 'self'" in response["Content-Security-Policy"]
        assert "unsafe" not in response["Content-Security-Policy"]
        assert response["X-Frame-Options"] == "DENY"
        assert response["X-Content-Type-Options"] == "nosniff"


def test_health_is_open(client_of: Clients) -> None:
    """Whoever asks for the health gets it, without a login."""
    assert client_of(None).get("/api/health/").json() == {"status": "ok"}


def test_health_tells_of_a_disk_that_gets_full(client_of: Clients, settings: Any) -> None:
    """The backend works still, so it answers 200; whoever asks hears it, without a path."""
    settings.DISK_FLOOR = 1 << 60
    answer = client_of(None).get("/api/health/")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["detail"].startswith("The disk of MAINSTEM_HOME is almost full: ")
    assert str(settings.HOME) not in answer.json()["detail"]
    (sign,) = health._disks()
    assert (sign.name, sign.state, sign.text) == ("Disk", "away", answer.json()["detail"])
    settings.DISK_FLOOR = 0
    assert health._disks()[0].state == "ok"
