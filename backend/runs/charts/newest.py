"""The newest measure of a run's model, beside that of the models that sites have of their own."""

from __future__ import annotations

from typing import Any

from backend.deployments.live.events import values
from backend.deployments.models import Deployment
from backend.runs.charts.figures import figure


def newest_measure(deployment: Deployment) -> dict[str, Any] | None:
    """The newest version that was measured: its accuracy where there is one, else its loss or what there is; and the
    same of the models that sites have of their own in its place."""
    measured = deployment.versions.filter(evaluation__isnull=False).order_by("-number").only("number", "evaluation")
    for version in measured[:3]:
        found = values(version.evaluation)
        for name in ("accuracy", "loss", *found):
            if name in found:
                own = values(_own_models(deployment, version.number)).get(name)
                told = None if own is None else figure(own)
                return {"name": name, "value": figure(found[name]), "version": version.number, "own": told}
    return None


def _own_models(deployment: Deployment, version: int) -> Any:
    """What sites measured of their own models in the place of a version: at the run's end, or in the round after it."""
    if version == deployment.version and deployment.personal:
        return deployment.personal
    rounds = deployment.rounds.filter(base_version=version, personal__isnull=False).order_by("-seq")
    return rounds.values_list("personal", flat=True).first()
