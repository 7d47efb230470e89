"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class StreamsConfig(AppConfig):
    """The app `streams`."""

    name = "backend.streams"
    label = "streams"
