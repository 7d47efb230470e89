"""One's own account: role, password, tokens."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe
from rest_framework import status

from backend.accounts.models import ApiToken, User
from backend.accounts.pages import viewers_only
from backend.accounts.roles import role_of, user_of
from backend.accounts.serializers import TokenSerializer, UserSerializer
from backend.config.forms import Form, secret, text
from backend.config.problems import Problem

MAY = {
    "viewer": "read everything but users",
    "operator": "read everything but users; create, deploy, stop, resume, restart and predict",
    "admin": "do everything, deleting and managing users included",
}


class TokenForm(Form):
    """A new token."""

    name = text("What it is for", "Such as: nightly job of site 3.", maxlength=100, autocomplete="off")


class PasswordForm(Form):
    """Another password."""

    old = secret("Current password")
    password = secret("New password", "At least 10 characters. It ends your other sessions and all your tokens.")


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
        asked = TokenSerializer(data={"name": form.typed().get("name", "")})
        asked.is_valid(raise_exception=True)
        return ApiToken.issue(user_of(request), asked.validated_data.get("name", ""))

    made = form.judged(make)
    if made is None:
        return _page(request, token_form=form)
    return _page(request, token=made[0], key=made[1])


@require_POST
@viewers_only
def token_end(request: HttpRequest, pk: int) -> HttpResponse:
    """End one of one's own tokens."""
    token = get_object_or_404(ApiToken, pk=pk, user=user_of(request))
    token.delete()
    messages.success(request, f"The token {token.name or 'without a name'} is ended: programs that used it get 401.")
    return redirect("account-page")


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
        return asked.save()

    changed = form.judged(change)
    if changed is None:
        return _page(request, password_form=form)
    update_session_auth_hash(request, changed)
    messages.success(request, "The password is changed; your tokens and other sessions are ended.")
    return redirect("account-page")


def _page(request: HttpRequest, **shown: Any) -> HttpResponse:
    user = user_of(request)
    forms = [shown.setdefault("token_form", TokenForm()), shown.setdefault("password_form", PasswordForm())]
    context = {"tokens": user.tokens.all(), "may": MAY.get(role_of(user) or "", "do nothing here"), **shown}
    context["token_destroys"] = ["the login of every program that uses it"]
    return render(request, "accounts/account.html", context, status=max(form.status for form in forms))
