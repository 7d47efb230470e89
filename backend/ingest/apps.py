"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class IngestConfig(AppConfig):
    """The app `ingest`. It has no tables."""

    name = "backend.ingest"
    label = "ingest"
