"""Logging in, tokens, users, and what `bootstrap` makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from backend.accounts import login
from backend.accounts.models import ApiToken, LoginCount, User
from backend.accounts.roles import role_of
from backend.gate import peers
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

RIGHT = {"username": "the-viewer", "password": "correct horse"}
WRONG = {"username": "the-viewer", "password": "wrong"}


def test_token_for_password(user: Callable[[str], User]) -> None:
    """A name and password give a token that works until it is ended; only its hash is stored."""
    user("viewer")
    client = APIClient()
    answer = client.post("/api/auth/token/", RIGHT)
    assert answer.status_code == 201 and answer.json()["role"] == "viewer"
    key = answer.json()["token"]
    assert not ApiToken.objects.filter(digest=key).exists()
    client.credentials(HTTP_AUTHORIZATION=f"Token {key}")
    assert client.get("/api/auth/me/").json()["username"] == "the-viewer"
    assert client.delete("/api/auth/token/").status_code == 204
    assert client.get("/api/auth/me/").status_code == 401


def test_guessing_is_slowed_down(user: Callable[[str], User], settings: Any) -> None:
    """After the allowed number of wrong passwords even the right one must wait."""
    settings.LOGIN_FAILURES = 3
    user("viewer")
    client = APIClient()
    for _ in range(3):
        assert client.post("/api/auth/token/", WRONG).status_code == 400
    refused = client.post("/api/auth/token/", RIGHT)
    assert refused.status_code == 429 and int(refused["Retry-After"]) > 0
    page = client.post("/login/", RIGHT, format="multipart")
    assert page.status_code == 200 and b"Too many wrong passwords" in page.content
    LoginCount.objects.all().delete()
    assert client.post("/api/auth/token/", RIGHT).status_code == 201


def test_right_password_forgives(user: Callable[[str], User], settings: Any) -> None:
    """A success clears the failures before it."""
    settings.LOGIN_FAILURES = 2
    user("viewer")
    client = APIClient()
    for body, status in ((WRONG, 400), (RIGHT, 201), (WRONG, 400), (RIGHT, 201)):
        assert client.post("/api/auth/token/", body).status_code == status


def test_the_time_of_a_count_ends(user: Callable[[str], User], settings: Any) -> None:
    """After the window the name may be tried again, and what is over is deleted."""
    settings.LOGIN_FAILURES = 1
    user("viewer")
    client = APIClient()
    for name in ("other", "the-viewer"):
        assert client.post("/api/auth/token/", WRONG | {"username": name}).status_code == 400
    LoginCount.objects.update(began=timezone.now() - timedelta(seconds=settings.LOGIN_WINDOW_SECONDS + 1))
    assert client.post("/api/auth/token/", WRONG).status_code == 400
    assert client.post("/api/auth/token/", RIGHT).status_code == 429
    assert not LoginCount.objects.filter(username="other").exists()


def test_others_behind_the_same_address_are_let_in(user: Callable[[str], User], settings: Any) -> None:
    """However many wrong passwords came from there: only who has failed himself must wait."""
    user("viewer")
    client = APIClient()
    for number in range(login.WIDER * settings.LOGIN_FAILURES + 5):
        client.post("/api/auth/token/", WRONG | {"username": f"name-{number // 9}"})
    assert client.post("/api/auth/token/", RIGHT).status_code == 201
    assert client.post("/api/auth/token/", WRONG | {"username": "fresh"}).status_code == 400
    again = client.post("/api/auth/token/", WRONG | {"username": "fresh"})
    assert again.status_code == 429, "but guessing goes on at one password a name"


def test_a_name_is_not_locked_out_by_strangers(user: Callable[[str], User], settings: Any) -> None:
    """Wrong passwords for it from many addresses do not keep its owner out, at an address of his own."""
    settings.LOGIN_FAILURES = 2
    user("viewer")
    client = APIClient()
    for number in range(login.WIDER * settings.LOGIN_FAILURES + 5):
        answer = client.post("/api/auth/token/", WRONG, REMOTE_ADDR=f"198.51.100.{number}")
        assert answer.status_code == 400
    assert client.post("/api/auth/token/", WRONG, REMOTE_ADDR="198.51.100.24").status_code == 429
    assert client.post("/api/auth/token/", RIGHT, REMOTE_ADDR="203.0.113.1").status_code == 201


def test_addresses_behind_a_trusted_proxy(user: Callable[[str], User], settings: Any) -> None:
    """X-Forwarded-For tells them apart where it comes from a trusted proxy, and from nobody else."""
    settings.LOGIN_FAILURES = 2
    user("viewer")
    client = APIClient()
    for proxies, last in ([], 429), (["127.0.0.0/8"], 400):
        LoginCount.objects.all().delete()
        settings.TRUSTED_PROXIES = peers.networks(proxies)
        for number, status in enumerate((400, 400, last)):
            heard = f"6.6.6.6, 198.51.100.{number}"
            assert client.post("/api/auth/token/", WRONG, HTTP_X_FORWARDED_FOR=heard).status_code == status, (
                proxies,
                number,
            )


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite in memory has one writer; test_strangers has its file"
)
@pytest.mark.django_db(transaction=True)
def test_guesses_at_once_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch, rf: Any) -> None:
    """All of them have checked their password before the first is counted."""
    guesses = 30
    together = threading.Barrier(guesses)
    monkeypatch.setattr(login, "authenticate", lambda *_, **__: together.wait(PATIENCE) and None)

    def guess(_: int) -> bool:
        try:
            return login.check(rf.post("/"), "somebody", "wrong") is None
        except login.TooManyFailuresError:
            return False
        finally:
            connection.close()

    with ThreadPoolExecutor(guesses) as pool:
        assert sum(pool.map(guess, range(guesses))) == 10


def test_login_page(user: Callable[[str], User]) -> None:
    """The page logs in, leads on, and pages are closed before and after."""
    user("viewer")
    client = APIClient()
    assert client.get("/").status_code == 302
    assert b"wrong" in client.post("/login/", WRONG, format="multipart").content
    assert client.post("/login/", RIGHT, format="multipart").status_code == 302
    assert client.get("/").status_code == 200
    assert client.post("/logout/").status_code == 302
    assert client.get("/").status_code == 302


def test_inactive_user_is_out(user: Callable[[str], User], client_of: Callable[[str], APIClient]) -> None:
    """Switching a user off ends their tokens' effect."""
    client = client_of("viewer")
    User.objects.filter(username="the-viewer").update(is_active=False)
    assert client.get("/api/models/").status_code == 401


def test_admin_manages_users(admin: APIClient) -> None:
    """Admins create users with a role, change the role, and delete them."""
    made = admin.post("/api/users/", {"username": "ada", "password": "engine 1843", "role": "operator"})
    assert made.status_code == 201 and made.json()["role"] == "operator" and "password" not in made.json()
    path = f"/api/users/{made.json()['id']}/"
    assert admin.patch(path, {"role": "viewer"}).json()["role"] == "viewer"
    assert admin.delete(path).status_code == 204
    weak = admin.post("/api/users/", {"username": "bob", "password": "password", "role": "viewer"})
    assert weak.status_code == 400 and weak.json()["errors"][0]["field"] == "password"


def test_a_role_is_given_also_where_its_group_was_lost(admin: APIClient) -> None:
    """As after a flush of the database: the user is what was said, instead of nobody without a word."""
    Group.objects.filter(name="operator").delete()
    fields = {"username": "ada", "password": "a long enough one", "role": "operator"}
    assert admin.post("/api/users/", fields).status_code == 201
    assert role_of(User.objects.get(username="ada")) == "operator"


def test_a_password_is_not_the_name(admin: APIClient) -> None:
    """Neither at first, nor by a change of the one or the other."""
    name = "Ada.Lovelace"
    body = {"username": name, "role": "viewer", "email": "the.countess@example.org"}
    for same in (name, name.lower(), f"{name}1", "the.countess"):
        refused = admin.post("/api/users/", body | {"password": same})
        assert refused.status_code == 400 and "too similar" in refused.json()["detail"], same
    made = admin.post("/api/users/", body | {"password": "engine.1843"})
    path = f"/api/users/{made.json()['id']}/"
    assert "too similar to the username" in admin.patch(path, {"password": name}).json()["errors"][0]["message"]
    renamed = admin.patch(path, {"username": "engine.1843"})
    assert renamed.json()["errors"] == [
        {"field": "username", "message": "This is the user's password: choose another name."}
    ]
    assert admin.patch(path, {"username": "ada"}).status_code == 200


@pytest.mark.parametrize("weak", ["admin", "administrator", "1234567890123", "password123"])
def test_bootstrap_takes_no_weak_password(monkeypatch: pytest.MonkeyPatch, weak: str) -> None:
    """It says which variable it is and why; a password that is set already stays."""
    monkeypatch.setenv("MAINSTEM_ADMIN_PASSWORD", weak)
    with pytest.raises(CommandError, match=r"MAINSTEM_ADMIN_PASSWORD will not do: .*password"):
        call_command("bootstrap", stdout=StringIO())
    admin = User.objects.create_user("admin", password=weak)
    call_command("bootstrap", stdout=StringIO())
    assert admin.check_password(weak)


def test_new_password_ends_tokens(admin: APIClient, client_of: Callable[[str], APIClient]) -> None:
    """Whoever has an old token is out once the password changes."""
    viewer = client_of("viewer")
    pk = User.objects.get(username="the-viewer").pk
    assert admin.patch(f"/api/users/{pk}/", {"password": "another horse 9"}).status_code == 200
    assert viewer.get("/api/models/").status_code == 401


def test_admin_cannot_lock_themselves_out(admin: APIClient) -> None:
    """The acting admin keeps role and account."""
    pk = User.objects.get(username="the-admin").pk
    assert admin.patch(f"/api/users/{pk}/", {"role": "viewer"}).status_code == 409
    assert admin.patch(f"/api/users/{pk}/", {"is_active": False}).status_code == 409
    assert admin.delete(f"/api/users/{pk}/").status_code == 409


def test_bootstrap_is_idempotent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It makes admin and loggers, again and again, and follows changed secrets, also from files."""
    monkeypatch.setenv("MAINSTEM_ADMIN_PASSWORD", "first password")
    monkeypatch.setenv("MAINSTEM_TOKEN", "first-token")
    for _ in range(2):
        call_command("bootstrap", stdout=StringIO())
    admin, loggers = User.objects.get(username="admin"), User.objects.get(username="loggers")
    assert admin.check_password("first password") and role_of(admin) == "admin"
    assert role_of(loggers) == "logger" and not loggers.has_usable_password()
    assert loggers.tokens.get().digest == ApiToken.hash("first-token")
    (tmp_path / "token").write_text("second-token\n")
    monkeypatch.setenv("MAINSTEM_TOKEN_FILE", str(tmp_path / "token"))
    call_command("bootstrap", stdout=StringIO())
    assert loggers.tokens.get().digest == ApiToken.hash("second-token")


def test_bootstrap_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to do it says which variables it wants."""
    for name in ("MAINSTEM_ADMIN_PASSWORD", "MAINSTEM_TOKEN", "MAINSTEM_ADMIN_PASSWORD_FILE", "MAINSTEM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match="MAINSTEM_ADMIN_PASSWORD"):
        call_command("bootstrap", stdout=StringIO())
