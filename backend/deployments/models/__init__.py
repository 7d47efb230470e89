"""Tables of the federations: what was asked for (deployment, outbox) and what the log says (the projection)."""

from backend.deployments.models.acceptance import WitnessAcceptance
from backend.deployments.models.deployment import (
    OPEN,
    Deployment,
    FederationId,
    OutboxEntry,
    OutboxKind,
    State,
)
from backend.deployments.models.examination import Examination
from backend.deployments.models.runs import (
    ClientRound,
    ControlRecord,
    Member,
    Refusal,
    Round,
    Version,
)

__all__ = [
    "OPEN",
    "ClientRound",
    "ControlRecord",
    "Deployment",
    "Examination",
    "FederationId",
    "Member",
    "OutboxEntry",
    "OutboxKind",
    "Refusal",
    "Round",
    "State",
    "Version",
    "WitnessAcceptance",
]
