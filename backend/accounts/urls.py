"""Pages: logging in and out."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.urls import path

from backend.accounts.pages import LoginPage

urlpatterns = [
    path("login/", login_not_required(LoginPage.as_view()), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
