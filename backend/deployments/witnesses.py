"""The ends of logs that were witnessed: what is known of one, one that a person brings, one that a person gives up."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.db.models import Max
from rest_framework import status

from backend.accounts.models import User
from backend.audit.recording import note
from backend.deployments.models import Deployment, State, WitnessAcceptance
from backend.deployments.projection import projection
from backend.rest.problems import Problem
from mainstem.protocol.witness import Witness, holds

log = logging.getLogger(__name__)

SHOWN = 100
"""Acceptances that are told, the newest."""


def state_of(deployment: Deployment) -> dict[str, Any]:
    """What was witnessed of its log, and what a person has accepted."""
    acceptances = list(deployment.acceptances.order_by("-number")[:SHOWN])[::-1]
    return {
        "federation": deployment.federation,
        "witness": deployment.witness,
        "end": deployment.chain_end,
        "doubt": deployment.doubt,
        "unwitnessed": deployment.unwitnessed,
        "accepted": acceptances[-1].number if acceptances else 0,
        "acceptances": [row.stated for row in acceptances],
    }


@transaction.atomic
def bring(pk: int, witness: Witness) -> None:
    """Take a witness that was kept elsewhere: unless the folded log holds it, the whole log is read for it.

    Raises Problem where the federation is none that was opened.
    """
    deployment = _locked(pk)
    note("deployment.witness", deployment.identity, detail=str(witness))
    if holds(projection.hashes_of(deployment), witness):
        return
    lost = deployment.lost_end
    if lost is None or lost.count < witness.count:
        deployment.lose(witness)
        deployment.save(update_fields=["lost_count", "lost_hash"])
    projection.doubt(deployment, f"a witness of {witness} was imported")


@transaction.atomic
def accept(pk: int, hash_: str, why: str, user: User) -> WitnessAcceptance:
    """The log that ends with the record of this sha256 is the run's from here on; raises Problem.

    Also where it holds all that was witnessed here: an aggregator may have read more than ever came here.
    """
    deployment = _locked(pk)
    if deployment.doubt:
        raise Problem(status.HTTP_409_CONFLICT, "The log is about to be read again: accept it after that.")
    end, lost = deployment.chain_end, deployment.lost_end
    if end is None:
        raise Problem(status.HTTP_409_CONFLICT, "The log holds no run that could be accepted.")
    if end.hash != hash_:
        raise Problem(status.HTTP_409_CONFLICT, f"The log ends with {end.hash} by now: look at it again.", field="hash")
    number = (deployment.acceptances.aggregate(newest=Max("number"))["newest"] or 0) + 1
    row = WitnessAcceptance.objects.create(
        deployment=deployment, number=number, count=end.count, hash=end.hash,
        lost_count=deployment.lost_count, lost_hash=deployment.lost_hash, by=user.username, why=why,
    )  # fmt: skip
    deployment.lose(None)
    deployment.save(update_fields=["lost_count", "lost_hash"])
    note("deployment.accept", deployment.identity, detail=f"{end}: {why}")
    given_up = f"given up: {lost}" if lost is not None else "nothing that was witnessed here is given up"
    log.warning("federation %s: %s accepts %s (%s); %s", deployment.federation, user.username, end, why, given_up)
    return row


def _locked(pk: int) -> Deployment:
    deployment = Deployment.objects.select_for_update().get(pk=pk)
    if deployment.state in (State.OPENING, State.DELETING):
        raise Problem(
            status.HTTP_409_CONFLICT, f"The run is {deployment.get_state_display()}; it has no log to be witnessed."
        )
    return deployment
