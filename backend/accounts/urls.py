"""Pages: logging in and out, one's own account, and the users."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LogoutView
from django.urls import path

from backend.accounts import pages_account, pages_users
from backend.accounts.pages import LoginPage

urlpatterns = [
    path("login/", login_not_required(LoginPage.as_view()), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("account/", pages_account.account, name="account-page"),
    path("account/password/", pages_account.password, name="account-password"),
    path("account/tokens/", pages_account.token_new, name="account-token-new"),
    path("account/tokens/<int:pk>/end/", pages_account.token_end, name="account-token-end"),
    path("users/", pages_users.user_list, name="user-list-page"),
    path("users/new/", pages_users.user_new, name="user-new-page"),
    path("users/<int:pk>/", pages_users.user_change, name="user-page"),
    path("users/<int:pk>/delete/", pages_users.user_delete, name="user-delete"),
]
