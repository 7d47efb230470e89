"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """The app `site`: what every page has in common. It has no tables."""

    name = "backend.site"
    label = "site"
