"""Pages: logging in and out, one's own account, how a program logs in, and the users."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.urls import path

from backend.accounts import pages_account, pages_audit, pages_programs, pages_users, stepping
from backend.accounts.pages import LoginPage, LogoutPage

urlpatterns = [
    path("login/", login_not_required(LoginPage.as_view()), name="login"),
    path("logout/", LogoutPage.as_view(), name="logout"),
    path("account/", pages_account.account, name="account-page"),
    path("account/password/", pages_account.password, name="account-password"),
    path("account/tokens/", pages_account.token_new, name="account-token-new"),
    path("account/tokens/<int:pk>/end/", pages_account.token_end, name="account-token-end"),
    path("account/sessions/<int:pk>/end/", pages_account.session_end, name="account-session-end"),
    path("confirm/", stepping.confirm, name="confirm"),
    path("users/sessions/end/", pages_users.sessions_end, name="sessions-end"),
    path("programs/", pages_programs.programs, name="api-page"),
    path("audit/", pages_audit.audit, name="audit-page"),
    path("audit/audit.csv", pages_audit.audit_csv, name="audit-csv"),
    path("users/", pages_users.user_list, name="user-list-page"),
    path("users/new/", pages_users.user_new, name="user-new-page"),
    path("users/<int:pk>/", pages_users.user_change, name="user-page"),
    path("users/<int:pk>/delete/", pages_users.user_delete, name="user-delete"),
]
