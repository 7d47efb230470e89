"""The login page, and who may see pages at all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from backend.accounts import login
from backend.accounts.models import User
from backend.accounts.roles import Role, at_least
from backend.audit.recording import note, recorded

_P = ParamSpec("_P")
Page = Callable[..., HttpResponseBase]


def _for(least: Role) -> Callable[[Callable[Concatenate[HttpRequest, _P], HttpResponseBase]], Page]:
    def guard(page: Callable[Concatenate[HttpRequest, _P], HttpResponseBase]) -> Page:
        @functools.wraps(page)
        def checked(request: HttpRequest, *args: _P.args, **kwargs: _P.kwargs) -> HttpResponseBase:
            if not at_least(request.user, least):
                raise PermissionDenied
            return page(request, *args, **kwargs)

        return checked

    return guard


viewers_only = _for(Role.VIEWER)
"""A page for viewers and up; a logger's user has none."""
operators_only = _for(Role.OPERATOR)
"""A page or an action for operators and admins."""
admins_only = _for(Role.ADMIN)
"""A page or an action for admins."""


class LoginForm(AuthenticationForm):
    """Django's form with guessing slowed down."""

    def clean(self) -> dict[str, Any]:
        """Check name and password once."""
        username, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if username is not None and password:
            assert self.request is not None
            try:
                self.user_cache = login.check(self.request, username, password)
            except login.TooManyFailuresError as error:
                raise forms.ValidationError(str(error)) from error
            if self.user_cache is None:
                raise forms.ValidationError("The user name or password is wrong.")
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data


class LoginPage(LoginView):
    """`/login/`."""

    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Log in."""
        with recorded("session.begin", form.get_user()):
            return super().form_valid(form)


class LogoutPage(LogoutView):
    """`/logout/`."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Log out; who has no session any more has nothing to end."""
        if isinstance(request.user, User):
            note("session.end", request.user)
        return super().post(request, *args, **kwargs)
