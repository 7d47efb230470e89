"""Django's registration of the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from backend.launchers.extensions import Step
    from backend.launchers.options import Options
    from backend.launchers.replicas import Fleet
    from mainstem.protocol.log import MessageLog


class InferenceConfig(AppConfig):
    """The app `inference`."""

    name = "backend.inference"
    label = "inference"

    def ready(self) -> None:
        """Have the launcher process keep the replicas, and show how many versions are deployed."""
        from backend.launchers import extensions

        extensions.LOOPS["serving"] = _replicas
        extensions.COUNTED.append(_deployed)


def _replicas(fleet: Fleet, options: Options, streams: Callable[[], MessageLog]) -> Step:
    from backend.inference.replicas import ServingReconciler

    return ServingReconciler(fleet, options, streams).tick


def _deployed() -> Metric:
    from backend.inference.models import Inference, ServingState
    from backend.launchers.meters import by_state
    from mainstem.runtime.metrics import names

    return by_state(names.INFERENCES, Inference.objects.all(), ServingState.values)
