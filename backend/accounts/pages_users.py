"""Users and their roles; for admins."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backend.accounts import services, sessions
from backend.accounts.models import User
from backend.accounts.pages import admins_only
from backend.accounts.pages_account import MAY, logins_of
from backend.accounts.roles import role_of, user_of
from backend.accounts.serializers import UserSerializer
from backend.rest.problems import Problem
from backend.site.forms import Form, choice, secret, text

ROLES = [
    *((role, f"{role}: may {may}") for role, may in MAY.items()),
    ("logger", "logger: only for the control loggers' programs; has no pages"),
]


class UserForm(Form):
    """A new user."""

    username = text("User name", "Letters, digits and @ . + - _", required=True, maxlength=150, autocomplete="off")
    email = text("E-mail", maxlength=254, autocomplete="off")
    role = choice("Role", ROLES)
    password = secret(
        "Password", f"At least {settings.PASSWORD_LENGTH} characters, not only digits, and no common word."
    )


class ChangeForm(UserForm):
    """A change of a user."""

    password = secret("New password", "Leave it empty to keep it. Another one ends their tokens.", required=False)
    is_active = forms.BooleanField(label="May log in", help_text="Off: sessions and tokens are refused at once.")


@require_safe
@admins_only
def user_list(request: HttpRequest) -> HttpResponse:
    """All users by name."""
    sought = request.GET.get("q", "").strip()
    users = User.objects.filter(username__icontains=sought).order_by("username").annotate(keys=Count("tokens"))
    page = Paginator(users.prefetch_related("groups"), 50).get_page(request.GET.get("page"))
    rows = [(user, role_of(user)) for user in page]
    return render(request, "accounts/users.html", {"page": page, "rows": rows, "sought": sought})


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@admins_only
def user_new(request: HttpRequest) -> HttpResponse:
    """Create a user."""
    form = UserForm(request.POST or None, initial={"role": "viewer"})
    if form.is_bound:

        def make() -> User:
            asked = UserSerializer(data={"username": "", "role": "", "password": "", **form.typed()})
            asked.is_valid(raise_exception=True)
            return services.save_user(asked)

        made = form.judged(make)
        if made is not None:
            messages.success(request, f"{made.username} may log in now.")
            return redirect("user-list-page")
    return render(request, "accounts/user.html", {"form": form}, status=form.status)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@admins_only
def user_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Change a user's name, role or password, or switch them off."""
    user = get_object_or_404(User, pk=pk)
    now = {"username": user.username, "email": user.email, "role": role_of(user), "is_active": user.is_active}
    form = ChangeForm(request.POST or None, initial=now)
    if form.is_bound:

        def change() -> User:
            wanted = {"email": "", "role": "", "username": "", **form.typed(), "is_active": "is_active" in request.POST}
            asked = UserSerializer(user, data=wanted, partial=True)
            asked.is_valid(raise_exception=True)
            return services.change_user(asked, user_of(request))

        if form.judged(change) is not None:
            messages.success(request, f"{user.username} is changed.")
            return redirect("user-list-page")
        user.refresh_from_db()
    context: dict[str, Any] = {"form": form, "person": user, "destroys": _destroys(user), **logins_of(request, user)}
    return render(request, "accounts/user.html", context, status=form.status)


@require_POST
@admins_only
def user_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a user; what they made stays."""
    user = get_object_or_404(User, pk=pk)
    try:
        services.delete_user(user, user_of(request))
    except Problem as problem:
        messages.error(request, str(problem.detail))
        return redirect("user-page", pk)
    messages.success(request, f"{user.username} is deleted.")
    return redirect("user-list-page")


@require_POST
@admins_only
def sessions_end(request: HttpRequest) -> HttpResponse:
    """End everybody's sessions but this one."""
    count = sessions.end_all(but=request.session.session_key or "")
    messages.success(request, f"{count} session{'s' * (count != 1)} ended: those browsers must log in again.")
    return redirect("user-list-page")


def _destroys(user: User) -> list[str]:
    count = user.tokens.count()
    return ["their login", f"{count} token{'s' * (count != 1)} that programs use"]
