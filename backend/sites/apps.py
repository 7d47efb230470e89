"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class SitesConfig(AppConfig):
    """The app `sites`."""

    name = "backend.sites"
    label = "sites"
