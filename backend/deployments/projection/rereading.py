"""Reads a run's control topic again, whole, where the rows are in doubt: what the log does not hold is dropped, loudly.

The log alone says which of two histories is the run's: a logger may still bring what it read of the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from django.db import transaction
from django.utils import timezone

from backend.deployments.models import ControlRecord, Deployment
from backend.deployments.projection import projection
from mainstem.protocol.log import Holding, Holdings, MessageLog, Record
from mainstem.protocol.topics import control_topic
from mainstem.protocol.witness import Witness, holds

log = logging.getLogger(__name__)


class Held(MessageLog, Protocol):
    """A log that can be asked what it holds."""

    def holdings(self, topics: Collection[str]) -> Holdings:
        """What there is under these names; raises LogError."""
        ...


def reread(pk: int, source: Held) -> bool:
    """Make a deployment's rows those of its log, with its row locked; whether any had to be dropped. Raises LogError.

    Until then loggers' records of it are refused. All of these were in the log before its end is asked here.
    """
    with transaction.atomic():
        deployment = Deployment.objects.select_for_update().filter(pk=pk).first()
        if deployment is None:
            return False
        topic = control_topic(deployment.federation)
        holdings = source.holdings([topic])
        holding = holdings.topics[topic]
        if holding is None:
            return False  # nothing says what was: the rows stay, and that the topic is gone is said elsewhere
        try:
            return _replace(
                deployment, holdings.cluster, holding, list(source.read(topic, 0, holding.first, holding.end))
            )
        except BaseException:
            projection.forget_all()  # what the readers in memory have seen was not committed
            raise


def _replace(deployment: Deployment, cluster: str, holding: Holding, records: Sequence[Record]) -> bool:
    false = _false(deployment, (cluster, holding.id), holding.first, records)
    why, stood = deployment.doubt, (deployment.round, deployment.version)
    witness = deployment.witness
    if false:
        first = ControlRecord.of(deployment).filter(pk__in=false).order_by("offset")[0].offset
        ControlRecord.objects.filter(pk__in=false).delete()
        deployment.cluster_id, deployment.topic_id = cluster, holding.id
        projection.fold_again(deployment)
    known = set(ControlRecord.of(deployment).values_list("offset", flat=True))
    deployment.doubt = ""
    projection.store_and_fold(deployment, records, known, projection.Intake())
    _compare(deployment, witness)
    if not false:
        log.info("federation %s: the log holds what was folded (%s)", deployment.federation, why)
        return False
    deployment.amended = (
        f"On {timezone.now():%Y-%m-%d at %H:%M} UTC this run was read again from the log, which did not hold what was "
        f"shown here: {why}. {len(false)} control records from offset {first} on are gone; the run stood at round "
        f"{stood[0]}, version {stood[1]}, and by the log at round {deployment.round}, version {deployment.version}."
    )
    deployment.save(update_fields=["amended"])
    log.error("federation %s: %s", deployment.federation, deployment.amended)
    return True


def _compare(deployment: Deployment, witness: Witness | None) -> None:
    """What was witnessed before is lost until the log, which was read whole, holds it."""
    lost = witness is not None and not holds(projection.hashes_of(deployment), witness)
    deployment.lose(witness if lost else None)
    deployment.save(update_fields=["lost_count", "lost_hash"])
    if lost:
        log.error("federation %s: %s", deployment.federation, deployment.unwitnessed)


def _false(deployment: Deployment, place: tuple[str, str], begin: int, records: Sequence[Record]) -> list[int]:
    """The kept records, by key, that the log does not hold; what it has deleted since, below its beginning, stays."""
    kept = ControlRecord.of(deployment)
    if (deployment.cluster_id, deployment.topic_id) != place:
        return list(kept.values_list("pk", flat=True))
    held = {record.offset: record for record in records}
    later = kept.filter(offset__gte=begin).iterator()
    return [row.pk for row in later if row.offset not in held or not row.equals(held[row.offset])]
