"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """The app `catalog`."""

    name = "backend.catalog"
    label = "catalog"
