"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class LaunchersConfig(AppConfig):
    """The app `launchers`."""

    name = "backend.launchers"
    label = "launchers"
