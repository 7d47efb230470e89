"""Tokens with a scope and an end, sessions that are listed and ended, and the password again before what is final."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone
from rest_framework.test import APIClient

from backend.accounts import sessions
from backend.accounts.models import ApiToken, Scope, User, UserSession
from backend.accounts.sessions import CONFIRMED, SEEN
from backend.accounts.stepping import GUARDED, GUARDED_ACTIONS
from backend.audit.models import AuditEntry
from backend.catalog.models import Configuration, Model
from backend.deployments.models import Deployment
from backend.runs.pages.actions import ACTIONS
from tests.backend.support import logged_in, text
from tests.backend.test_roles import MATRIX, METHODS, NOBODY, PEOPLE

pytestmark = [pytest.mark.backend, pytest.mark.django_db]

REACHED = {"read": "viewer", "operate": "operator", "admin": "admin"}
SELF = {"auth/tokens/", "auth/tokens/{pk}/", "auth/sessions/{pk}/"}
"""What changes one's own logins, which a token does with its user's whole reach alone."""


def program(user: User, scope: str = Scope.ADMIN, expires_at: Any = None) -> APIClient:
    """A program with a new token of this scope."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Token {ApiToken.issue(user, 'tried', scope, expires_at)[1]}")
    return client


def age(browser: Client, seconds: float) -> None:
    """Let time pass since the browser's password was given."""
    session = browser.session
    session[CONFIRMED] = time.time() - seconds
    session.save()


@pytest.mark.parametrize("scope", ["read", "operate"])
def test_every_address_against_every_scope(user: Callable[[str], User], scope: str) -> None:
    """An admin's token of a scope reaches as far as the role that it stands for, and no further."""
    client, role = program(user("admin"), scope), REACHED[scope]
    values = {"pk": "999999", "id": "zzzzzzzz", "federation": "zzzzzzzz", "number": "9", "name": "zz"}
    for address, methods in MATRIX.items():
        if address == "auth/token/":
            continue  # ends the token itself
        for method in METHODS:
            allowed = role in methods.get(method, NOBODY) and not (address in SELF and method != "get")
            code = getattr(client, method)("/api/" + address.format(**values)).status_code
            assert (code not in (401, 403, 405)) == allowed, f"{method} {address} with {scope}: {code}"


def test_a_scope_never_adds_to_a_role(user: Callable[[str], User]) -> None:
    """A viewer's token of scope admin reads; a logger's delivers with its whole scope alone."""
    for role in PEOPLE:
        for scope, reached in REACHED.items():
            least = max(role, reached, key=("admin", "operator", "viewer").index)
            person = User.objects.filter(username=f"the-{role}").first() or user(role)
            assert program(person, scope).get("/api/auth/me/").json()["role"] == least, (role, scope)
    logger = user("logger")
    body = {"cluster_id": "c", "records": []}
    for scope, code in (("admin", 200), ("read", 403), ("operate", 403)):
        assert program(logger, scope).post("/api/ingest/control/", body).status_code == code


def test_a_token_ends(user: Callable[[str], User]) -> None:
    """At its time, with a sentence; its last use is known."""
    me = user("viewer")
    living = program(me, expires_at=timezone.now() + timedelta(minutes=1))
    assert living.get("/api/auth/me/").status_code == 200
    assert ApiToken.objects.get().used_at is not None
    ApiToken.objects.update(expires_at=timezone.now())
    answer = living.get("/api/auth/me/")
    assert answer.status_code == 401 and "expired at" in answer.json()["detail"]


def test_tokens_over_rest(user: Callable[[str], User]) -> None:
    """Made once shown, listed without keys, ended by their user; admins see and end everybody's."""
    viewer, admin = program(user("viewer")), program(user("admin"))
    soon = (timezone.now() + timedelta(days=1)).isoformat()
    made = viewer.post("/api/auth/tokens/", {"name": "nightly", "scope": "read", "expires_at": soon}).json()
    assert (made["scope"], made["role"], made["username"]) == ("read", "viewer", "the-viewer")
    assert made["token"] not in str(viewer.get("/api/auth/tokens/").json())
    assert AuditEntry.objects.get(action="token.create").detail.startswith("scope read, until ")
    for wrong in ({"scope": "all"}, {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "soon"}, {"days": 3}):
        answer = viewer.post("/api/auth/tokens/", wrong)
        assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == next(iter(wrong))
    listed = admin.get("/api/tokens/?user__username=the-viewer&scope=read").json()["results"]
    assert [(one["user"], one["name"]) for one in listed] == [("the-viewer", "nightly")]
    assert admin.delete(f"/api/tokens/{made['id']}/").status_code == 204
    ended = Client(headers={"Authorization": f"Token {made['token']}"})
    assert ended.get("/api/auth/me/").status_code == 401


def test_a_token_does_not_outlive_or_outreach_its_maker(user: Callable[[str], User]) -> None:
    """Whoever steals one that ends cannot make one that stays."""
    me, ends = user("operator"), timezone.now() + timedelta(hours=1)
    maker = program(me, expires_at=ends)
    for later in (None, (ends + timedelta(seconds=1)).isoformat()):
        answer = maker.post("/api/auth/tokens/", {"expires_at": later})
        assert answer.status_code == 400 and answer.json()["errors"][0]["field"] == "expires_at"
    assert maker.post("/api/auth/tokens/", {"expires_at": ends.isoformat()}).status_code == 201
    assert program(me, "operate").post("/api/auth/tokens/", {"scope": "read"}).status_code == 403


def test_a_login_for_a_token_names_its_scope(user: Callable[[str], User]) -> None:
    """As ever without one: all that the user may, without an end."""
    user("operator")
    login = {"username": "the-operator", "password": "correct horse"}
    plain = APIClient().post("/api/auth/token/", login).json()
    assert (plain["scope"], plain["expires_at"], plain["role"]) == ("admin", None, "operator")
    narrow = APIClient().post("/api/auth/token/", login | {"scope": "read"}).json()
    assert (narrow["scope"], narrow["role"]) == ("read", "viewer")


def test_sessions_are_listed_and_ended(user: Callable[[str], User]) -> None:
    """One's own by everybody, all by admins; who is ended is out at once, and expired ones are not shown."""
    admin, viewer = user("admin"), user("viewer")
    mine = Client(headers={"User-Agent": "Firefox on a laptop"})
    assert mine.post("/login/", {"username": "the-viewer", "password": "correct horse"}).status_code == 302
    other, boss = logged_in(viewer), logged_in(admin)
    listed = mine.get("/api/auth/sessions/").json()["results"]
    assert sorted(one["current"] for one in listed) == [False, True] and {one["user"] for one in listed} == {
        "the-viewer"
    }
    assert (here := next(one for one in listed if one["current"]))["agent"] == "Firefox on a laptop"
    assert "Firefox on a laptop" in text(mine.get("/account/"))
    keys = {row.key for row in UserSession.objects.all()}
    assert not any(key in str(listed) + text(mine.get("/account/")) for key in keys)
    assert mine.delete(f"/api/auth/sessions/{here['id']}/").status_code == 409
    there = next(one for one in listed if not one["current"])
    foreign = UserSession.objects.get(user=admin)
    assert mine.delete(f"/api/auth/sessions/{foreign.pk}/").status_code == 404
    assert mine.post(f"/account/sessions/{foreign.pk}/end/").status_code == 404
    assert mine.post(f"/account/sessions/{there['id']}/end/").status_code == 302
    assert other.get("/account/").status_code == 302 and mine.get("/account/").status_code == 200
    assert {one["user"] for one in boss.get("/api/sessions/").json()["results"]} == {"the-viewer", "the-admin"}
    assert "Firefox on a laptop" in text(boss.get(f"/users/{viewer.pk}/"))
    assert "1 session ended" in text(boss.post("/users/sessions/end/", follow=True))
    assert mine.get("/account/").status_code == 302 and boss.get("/account/").status_code == 200
    assert AuditEntry.objects.filter(action="session.close").count() == 2
    Session.objects.update(expire_date=timezone.now())
    assert not sessions.living().exists()


def test_all_sessions_end_over_rest(user: Callable[[str], User]) -> None:
    """Of one user, or of everybody; tokens stay."""
    admin, viewer, operator = user("admin"), logged_in(user("viewer")), logged_in(user("operator"))
    client = program(admin)
    assert client.post("/api/sessions/end/", {"user": "the-viewer"}).status_code == 204
    assert viewer.get("/account/").status_code == 302 and operator.get("/account/").status_code == 200
    assert client.post("/api/sessions/end/").status_code == 204
    assert operator.get("/account/").status_code == 302 and client.get("/api/auth/me/").status_code == 200


def test_a_new_password_leaves_one_session(user: Callable[[str], User]) -> None:
    """The one that changed it, under a new key."""
    me = user("viewer")
    browser, other = logged_in(me), logged_in(me)
    browser.post("/account/password/", {"old": "correct horse", "password": "a new passphrase"})
    assert other.get("/account/").status_code == 302 and browser.get("/account/").status_code == 200
    (left,) = sessions.living()
    assert left.key == browser.session.session_key


def test_a_session_in_use_is_noted_now_and_then(user: Callable[[str], User]) -> None:
    """Not with every request."""
    browser = logged_in(user("viewer"))
    UserSession.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    before = UserSession.objects.get().seen_at
    browser.get("/account/")
    assert UserSession.objects.get().seen_at == before
    session = browser.session
    session[SEEN] = time.time() - 301
    session.save()
    browser.get("/account/")
    assert UserSession.objects.get().seen_at > before


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("/deployments/ddy6heod/act/delete/", {"confirm": "ddy6heod"}),
        ("/deployments/ddy6heod/act/accept/", {"hash": "0" * 64, "why": "restored"}),
        ("/models/{model}/delete/", {}),
        ("/topics/FEDERATED_AGGREGATOR_TOPIC-zzzzzzzz/delete/", {}),
        ("/users/{person}/delete/", {}),
        ("/users/{person}/", {"username": "the-viewer", "role": "admin"}),
        ("/users/new/", {"username": "eve", "role": "admin", "password": "a long passphrase"}),
        ("/users/sessions/end/", {}),
        ("/account/tokens/", {"name": "n", "scope": "admin"}),
    ],
)
def test_what_cannot_be_undone_asks_for_the_password(
    user: Callable[[str], User], model: Model, address: str, form: dict[str, str]
) -> None:
    """Some time after the login it leads to the password, and nothing is done; then it is."""
    Deployment.objects.create(federation="ddy6heod", name="run", state="finished")
    person, browser = user("viewer"), logged_in(user("admin"))
    at = address.format(model=model.pk, person=person.pk)
    counts = User.objects.count(), Model.objects.count(), ApiToken.objects.count(), UserSession.objects.count()
    age(browser, 601)
    asked = browser.post(at, form, headers={"Referer": "http://testserver/users/?q=1"})
    assert asked["Location"] == "/confirm/?next=%2Fusers%2F%3Fq%3D1"
    now = User.objects.count(), Model.objects.count(), ApiToken.objects.count(), UserSession.objects.count()
    assert now == counts and Deployment.objects.get().state == "finished"
    assert "Your password again" in text(browser.get(asked["Location"]))
    wrong = browser.post("/confirm/", {"password": "guess", "next": "/users/?q=1"})
    assert "The password is wrong." in text(wrong) and "guess" not in text(wrong)
    assert browser.post(at, form)["Location"].startswith("/confirm/")
    given = {"password": "correct horse", "next": "/users/?q=1"}
    assert browser.post("/confirm/", given)["Location"] == "/users/?q=1"
    assert AuditEntry.objects.filter(action="session.confirm", who="the-admin").count() == 1
    assert not browser.post(at, form).get("Location", "").startswith("/confirm/")


def test_a_login_counts_and_other_acts_ask_for_nothing(
    user: Callable[[str], User], configuration: Configuration, settings: Any
) -> None:
    """Just logged in, nobody is asked; what can be undone never asks, and reading never does."""
    browser = logged_in(user("admin"))
    assert "eve may log in now" in text(
        browser.post("/users/new/", {"username": "eve", "role": "viewer", "password": "a long passphrase"}, follow=True)
    )
    age(browser, 10**6)
    assert browser.get("/users/new/").status_code == 200
    copied = browser.post(f"/api/configurations/{configuration.pk}/duplicate/", content_type="application/json")
    assert copied.status_code == 201
    settings.STEP_UP_SECONDS = 10**7
    assert browser.post("/users/sessions/end/")["Location"] == "/users/"


def test_it_leads_nowhere_else(user: Callable[[str], User]) -> None:
    """An address of another site is not followed; who is not logged in logs in."""
    browser = logged_in(user("viewer"))
    there = {"password": "correct horse", "next": "https://elsewhere.example/"}
    assert browser.post("/confirm/", there)["Location"] == "/"
    assert Client().get("/confirm/")["Location"].startswith("/login/")
    assert Client().post("/users/sessions/end/")["Location"].startswith("/login/")


def test_guesses_are_slowed_down_there_too(user: Callable[[str], User], settings: Any) -> None:
    """A session that somebody left open is no place to find out its password."""
    settings.LOGIN_FAILURES = 2
    browser = logged_in(user("admin"))
    for _ in range(2):
        browser.post("/confirm/", {"password": "guess"})
    assert "Too many wrong passwords" in text(browser.post("/confirm/", {"password": "correct horse"}))


def test_rest_with_a_session_says_where(user: Callable[[str], User], configuration: Configuration) -> None:
    """403 with the address; a token of scope admin needs no password, one of less has no such reach."""
    admin = user("admin")
    browser = logged_in(admin)
    age(browser, 601)
    path = f"/api/users/{user('viewer').pk}/"
    refused = browser.delete(path)
    assert refused.status_code == 403 and "/confirm/" in refused.json()["detail"]
    assert program(admin, "operate").delete(path).status_code == 403
    assert browser.delete(path, headers={"Authorization": "Token wrong"}).status_code == 401
    assert program(admin).delete(path).status_code == 204


@pytest.mark.parametrize(
    ("variables", "weak", "fine"),
    [
        ({}, ["short", "password123", "1234567890123"], "a longish one"),
        ({"MAINSTEM_PASSWORD_LENGTH": "16"}, ["a longish one"], "a much longer passphrase"),
        ({"MAINSTEM_PASSWORD_COMMON": "true"}, ["1234567890123"], "basketball"),
    ],
)
def test_the_policy_of_passwords(variables: dict[str, str], weak: list[str], fine: str) -> None:
    """Length and common words by the environment, in a process of its own."""
    program = (
        "import sys, django; django.setup()\n"
        "from django.contrib.auth.password_validation import validate_password as check\n"
        "for word in sys.argv[1:]:\n"
        "    try: check(word); print('fine')\n"
        "    except Exception as error: print('weak')\n"
    )
    environment = os.environ | variables | {"DATABASE_URL": "sqlite://:memory:"}
    done = subprocess.run(
        [sys.executable, "-c", program, *weak, fine], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["weak"] * len(weak) + ["fine"], done.stderr


def test_every_guarded_address_is_one() -> None:
    """No name of the list is misspelt, and each takes the method that it is guarded for."""
    names = set(get_resolver().reverse_dict)
    assert set(GUARDED) | {name for name, _ in GUARDED_ACTIONS} <= names
    assert {action for _, action in GUARDED_ACTIONS} <= set(ACTIONS)
