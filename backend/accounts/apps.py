"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The app `accounts`."""

    name = "backend.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Register what the OpenAPI schema says of our tokens."""
        import backend.accounts.schema  # noqa: F401
