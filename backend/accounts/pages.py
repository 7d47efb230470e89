"""The login page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView

from backend.accounts import login


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
