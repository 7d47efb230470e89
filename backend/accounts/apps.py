"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The app `accounts`."""

    name = "backend.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Register what the OpenAPI schema says of our tokens, and note who logs in."""
        from django.contrib.auth.signals import user_logged_in

        import backend.accounts.schema  # noqa: F401
        from backend.accounts import sessions

        user_logged_in.connect(sessions.begin, dispatch_uid="sessions")
