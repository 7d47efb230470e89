"""The pages of login, one's own account, and the users."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from backend.accounts.models import ApiToken, User
from tests.backend.support import XSS, logged_in, text

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


def test_login_refuses_and_locks_out(user: Callable[[str], Any], settings: Any) -> None:
    """A wrong password keeps the name and says so; after too many the right one has to wait as well."""
    settings.LOGIN_FAILURES = 2
    user("viewer")
    browser = Client()
    form = {"username": "the-viewer", "password": "guess", "next": "/models/?q=x"}
    shown = text(browser.post("/login/", form))
    assert "The user name or password is wrong." in shown and 'value="the-viewer"' in shown
    assert 'value="/models/?q=x"' in shown and "guess" not in shown
    browser.post("/login/", form)
    assert "Too many wrong passwords: try again in 15 minutes." in text(
        browser.post("/login/", form | {"password": "correct horse"})
    )


def test_login_leads_back(user: Callable[[str], Any]) -> None:
    """Who comes without a session is led back to where they were, filters included, but never to another site."""
    user("viewer")
    browser = Client()
    assert browser.get("/models/?q=x")["Location"] == "/login/?next=/models/%3Fq%3Dx"
    login = {"username": "the-viewer", "password": "correct horse"}
    assert browser.post("/login/", login | {"next": "/models/?q=x"})["Location"] == "/models/?q=x"
    browser.logout()
    assert browser.post("/login/", login | {"next": "https://elsewhere.example/"})["Location"] == "/"


def test_token_is_shown_once(user: Callable[[str], Any]) -> None:
    """A new token's key is on the page that answers, works, is nowhere afterwards, and ends."""
    browser = logged_in(user("viewer"))
    shown = text(browser.post("/account/tokens/", {"name": XSS}))
    key = re.search(r'id="new-token">([^<]+)<', shown)
    assert key is not None
    program = Client(headers={"Authorization": f"Token {key[1]}"})
    assert program.get("/api/auth/me/").json()["username"] == "the-viewer"
    source = browser.get("/account/").content.decode()
    assert key[1] not in source and "<script>alert" not in source and "&lt;script&gt;" in source
    (token,) = ApiToken.objects.all()
    assert "is ended" in text(browser.post(f"/account/tokens/{token.pk}/end/", follow=True))
    assert program.get("/api/auth/me/").status_code == 401


def test_tokens_of_others_are_not_there(user: Callable[[str], Any]) -> None:
    """Nobody but an admin ends another's token, and none is named beyond its length."""
    owner = user("viewer")
    token, _ = ApiToken.issue(owner, "theirs")
    assert logged_in(user("operator")).post(f"/account/tokens/{token.pk}/end/").status_code == 404
    browser = logged_in(user("admin"))
    assert "theirs" in text(browser.get(f"/users/{owner.pk}/"))
    assert browser.post(f"/account/tokens/{token.pk}/end/")["Location"] == f"/users/{owner.pk}/"
    assert not ApiToken.objects.exists()
    refused = browser.post("/account/tokens/", {"name": "n" * 101})
    assert refused.status_code == 400 and "no more than 100 characters" in text(refused) and "n" * 101 in text(refused)


def test_own_password(user: Callable[[str], Any]) -> None:
    """It takes the current one, and a strong new one; this session goes on, tokens end."""
    me = user("viewer")
    ApiToken.issue(me)
    browser = logged_in(me)
    wrong = browser.post("/account/password/", {"old": "guess", "password": "another good one"})
    assert wrong.status_code == 400 and "This is not your current password." in text(wrong)
    weak = browser.post("/account/password/", {"old": "correct horse", "password": "short"})
    assert weak.status_code == 400 and "too short" in text(weak)
    done = browser.post("/account/password/", {"old": "correct horse", "password": "another good one"}, follow=True)
    assert "The password is changed" in text(done) and not ApiToken.objects.exists()
    assert Client().login(username="the-viewer", password="another good one")


def test_an_admin_makes_and_changes_users(user: Callable[[str], Any]) -> None:
    """Create, refuse, change the role, switch off, delete."""
    browser = logged_in(user("admin"))
    form = {"username": "ada", "email": "", "role": "operator", "password": "a long enough one"}
    for change, sentence in (
        ({"username": ""}, "This field may not be blank."),
        ({"username": "a b"}, "Enter a valid username."),
        ({"username": "the-admin"}, "already exists"),
        ({"email": "nonsense"}, "Enter a valid email address."),
        ({"role": "king"}, '"king" is not a valid choice.'),
        ({"password": ""}, "This field may not be blank."),
        ({"password": "1234567890123"}, "entirely numeric"),
    ):
        answer = browser.post("/users/new/", form | change)
        shown = text(answer)
        assert answer.status_code == 400 and sentence in shown, change
        assert "a long enough one" not in shown and (change.get("username", "ada") or "") in shown
    browser.post("/users/new/", form)
    ada = User.objects.get(username="ada")
    theirs = Client()
    assert theirs.login(username="ada", password="a long enough one")
    assert theirs.get("/models/new/").status_code == 200
    page = f"/users/{ada.pk}/"
    browser.post(page, {"username": "ada", "role": "viewer", "is_active": "on"})
    assert theirs.get("/models/new/").status_code == 403
    browser.post(page, {"username": "ada", "role": "viewer"})
    assert theirs.get("/models/").status_code == 302
    assert "switched off" in text(browser.get("/users/"))
    browser.post(f"{page}delete/")
    assert not User.objects.filter(username="ada").exists()


def test_an_admin_does_not_lock_themselves_out(user: Callable[[str], Any]) -> None:
    """Neither the role nor the login nor the user of the acting admin can be taken by themselves."""
    me = user("admin")
    browser = logged_in(me)
    for change in ({"role": "viewer", "is_active": "on"}, {"role": "admin"}):
        answer = browser.post(f"/users/{me.pk}/", {"username": "the-admin", **change})
        assert answer.status_code == 409 and "cannot take your own admin role" in text(answer)
    assert "cannot delete yourself" in text(browser.post(f"/users/{me.pk}/delete/", follow=True))
    assert User.objects.filter(pk=me.pk, is_active=True).exists()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_users_are_for_admins(user: Callable[[str], Any], role: str) -> None:
    """Others neither see nor change users, and the navigation does not offer it."""
    me = user(role)
    browser = logged_in(me)
    for path in ("/users/", "/users/new/", f"/users/{me.pk}/"):
        assert browser.get(path).status_code == 403
        assert browser.post(path, {"role": "admin"}).status_code in (403, 405)
    assert browser.post(f"/users/{me.pk}/delete/").status_code == 403
    assert 'href="/users/"' not in text(browser.get("/account/"))


def test_the_api_page(user: Callable[[str], Any]) -> None:
    """It shows how to log in and each resource as curl and Python that compile."""
    shown = text(logged_in(user("viewer")).get("/programs/"))
    programs = re.findall(r'-python">([^<]+)</pre>', shown)
    assert len(programs) >= 9 and shown.count("curl -s") > len(programs)
    for program in programs:
        compile(program, "program", "exec")
