"""Tables of the launchers, which are built on this app and not the other way round."""

from __future__ import annotations

from typing import Any

from django.apps import apps


def jobs() -> Any:
    """All Jobs, as a query set of `launchers.Job`."""
    return apps.get_model("launchers", "Job")._default_manager.all()


def report() -> Any:
    """What the launcher said of itself last, a `launchers.Report`; None where none has run."""
    return apps.get_model("launchers", "Report")._default_manager.first()
