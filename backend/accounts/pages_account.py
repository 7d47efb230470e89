"""One's own account: role, password, tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe
from rest_framework import status

from backend.accounts import services, sessions
from backend.accounts.models import ApiToken, Scope, User, UserSession
from backend.accounts.pages import viewers_only
from backend.accounts.roles import Role, at_least, role_of, user_of
from backend.accounts.serializers import TokenSerializer, UserSerializer
from backend.rest.problems import Problem
from backend.rest.query import number_of
from backend.site.forms import Form, choice, secret, text

_Owned = TypeVar("_Owned", ApiToken, UserSession)

MAY = {
    "viewer": "read everything but users",
    "operator": "read everything but users; create, deploy, stop, resume, restart and predict",
    "admin": "do everything, deleting and managing users included",
}


SCOPES = [
    (Scope.READ, "read: only look"),
    (Scope.OPERATE, "operate: do what operators may"),
    (Scope.ADMIN, "admin: do all that you may"),
]
DAYS = [("30", "after 30 days"), ("90", "after 90 days"), ("365", "after a year"), ("", "never")]


class TokenForm(Form):
    """A new token."""

    name = text("What it is for", "Such as: nightly job of site 3.", maxlength=100, autocomplete="off")
    scope = choice("It may", SCOPES)
    days = choice("It ends", DAYS)


class PasswordForm(Form):
    """Another password."""

    old = secret("Current password", known=True)
    password = secret(
        "New password",
        f"At least {settings.PASSWORD_LENGTH} characters. It ends your other sessions and all your tokens.",
    )


@require_safe
@viewers_only
def account(request: HttpRequest) -> HttpResponse:
    """Who one is, what one may do, and one's tokens."""
    return _page(request)


@require_POST
@viewers_only
def token_new(request: HttpRequest) -> HttpResponse:
    """Make a token and show its key, this once."""
    form = TokenForm(request.POST)

    def make() -> tuple[ApiToken, str]:
        typed = form.typed()
        days = number_of(typed.pop("days", ""))
        ends = None if days is None else (timezone.now() + timedelta(days=min(days, 3650))).isoformat()
        asked = TokenSerializer(data={**typed, "expires_at": ends})
        asked.is_valid(raise_exception=True)
        return services.issue_token(user_of(request), asked.validated_data)

    made = form.judged(make)
    if made is None:
        return _page(request, token_form=form)
    return _page(request, token=made[0], key=made[1])


@require_POST
@viewers_only
def token_end(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of one's own tokens; an admin anybody's."""
    token = get_object_or_404(_within_reach(request, ApiToken.objects.all()), pk=pk)
    services.end_token(token)
    messages.success(request, f"The token {token.name or 'without a name'} is ended: programs that used it get 401.")
    return _back(request, token.user)


@require_POST
@viewers_only
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of one's own sessions; an admin anybody's."""
    found = get_object_or_404(_within_reach(request, sessions.living().exclude(key=request.session.session_key)), pk=pk)
    sessions.end(found)
    messages.success(request, "The session is ended: its browser must log in again.")
    return _back(request, found.user)


def _within_reach(request: HttpRequest, rows: QuerySet[_Owned]) -> QuerySet[_Owned]:
    return rows if at_least(request.user, Role.ADMIN) else rows.filter(user=user_of(request))


def _back(request: HttpRequest, owner: User) -> HttpResponse:
    return redirect("account-page") if owner == request.user else redirect("user-page", owner.pk)


@sensitive_post_parameters()
@require_POST
@viewers_only
def password(request: HttpRequest) -> HttpResponse:
    """Change one's own password, if one knows the current one."""
    form, user = PasswordForm(request.POST), user_of(request)

    def change() -> User:
        if not user.check_password(form.typed().get("old", "")):
            raise Problem(status.HTTP_400_BAD_REQUEST, "This is not your current password.", field="old")
        asked = UserSerializer(user, data={"password": form.typed().get("password", "")}, partial=True)
        asked.is_valid(raise_exception=True)
        return services.save_user(asked)

    changed = form.judged(change)
    if changed is None:
        return _page(request, password_form=form)
    update_session_auth_hash(request, changed)
    sessions.begin(User, request, changed)
    messages.success(request, "The password is changed; your tokens and other sessions are ended.")
    return redirect("account-page")


def logins_of(request: HttpRequest, user: User) -> dict[str, Any]:
    """A user's tokens and sessions, for a page that lists them."""
    return {
        "tokens": user.tokens.all(),
        "sessions": sessions.living().filter(user=user),
        "current": request.session.session_key,
        "token_destroys": ["the login of every program that uses it"],
    }


def _page(request: HttpRequest, **shown: Any) -> HttpResponse:
    user = user_of(request)
    token_form = TokenForm(initial={"scope": Scope.OPERATE, "days": "90"})
    forms = [shown.setdefault("token_form", token_form), shown.setdefault("password_form", PasswordForm())]
    context = {"may": MAY.get(role_of(user) or "", "do nothing here"), **shown}
    context |= logins_of(request, user)
    return render(request, "accounts/account.html", context, status=max(form.status for form in forms))
