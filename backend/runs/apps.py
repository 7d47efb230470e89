"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """The app `runs`. It has no tables."""

    name = "backend.runs"
    label = "runs"
