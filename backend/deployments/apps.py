"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    """The app `deployments`."""

    name = "backend.deployments"
    label = "deployments"
