"""What people should know of a run that keeps it from nothing."""

from __future__ import annotations

from backend.catalog.forests import FRAMEWORK
from backend.deployments.models import Deployment
from backend.launchers.jobs import matching
from backend.runs.charts.participation import tallies
from backend.runs.reasons.overlooked import notice
from backend.sites import admission
from mainstem.protocol.adapting import named


def notices(deployment: Deployment) -> list[str]:
    """What its streams lack, whom its strategy overlooks, what of its model no version changes, whom it should not
    admit any more."""
    return [
        *matching.notices(deployment),
        *_overlooked(deployment),
        *_unaveraged(deployment),
        *_forged(deployment),
        *filter(None, [deployment.missing]),
        *admission.revoked_in(deployment),
    ]


def _overlooked(deployment: Deployment) -> list[str]:
    said = notice(deployment.strategy.get("name", "its strategy"), tallies(deployment))
    return [said] if said else []


def _forged(deployment: Deployment) -> list[str]:
    if not deployment.forged:
        return []
    records = f"{deployment.forged} records" if deployment.forged > 1 else "a record"
    told = f"its control topic has {records} that the platform has not signed: they count for nothing"
    return [f"{told}, but somebody could write there (docs/security.md)"]


def _unaveraged(deployment: Deployment) -> list[str]:
    """A sentence that names the integer and boolean tensors, which keep version 0's values; none where there are none.

    The states of random generators, such as a Dropout layer's, are nothing that clients share.
    """
    model = deployment.model
    tensors = model.tensors if model is not None and model.framework != FRAMEWORK else []
    names = [t["name"] for t in tensors if not t["dtype"].startswith("float") and "seed_generator" not in t["name"]]
    if not names:
        return []
    verb = "keep" if len(names) > 1 else "keeps"
    return [f"integers and booleans are not averaged: {named(names)} {verb} version 0's values"]
