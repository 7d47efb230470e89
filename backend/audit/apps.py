"""Django's registration of the app."""

from __future__ import annotations

from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The app `audit`. Its pages and addresses are in `accounts`, which knows who may read them."""

    name = "backend.audit"
    label = "audit"
