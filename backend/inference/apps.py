"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    """The app `inference`."""

    name = "backend.inference"
    label = "inference"
