"""Carries out what waits in the outbox. `publish_pending` is called in a loop by the launcher process."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import msgspec
from django.db import DatabaseError, transaction
from django.db.models import Min
from django.utils import timezone

from backend.audit.models import Result
from backend.audit.recording import note
from backend.catalog.arrays import payload_in
from backend.catalog.forests import forest_of
from backend.catalog.models import Blob
from backend.deployments.log import opening
from backend.deployments.models import Deployment, FederationId, OutboxEntry, OutboxKind, State
from backend.deployments.services import personal_tensors
from backend.rest.problems import Problem
from mainstem.errors import LogError, MainstemError
from mainstem.jobs import forests
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Adaptation, Command, Data, InputSpec, Rules, StrategyChoice, TensorSpec, Training
from mainstem.protocol.weights import Buffer
from mainstem.runtime import logs
from mainstem.runtime.backoff import pause

log = logging.getLogger(__name__)

LEASE_SECONDS = 20
"""How long an entry is one publisher's; after that another assumes that it died. Two at once would do no harm."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 30.0


def publish_pending(message_log: MessageLog) -> int:
    """Try every entry that is due, of each deployment the oldest first; how many were done.

    What fails stays and is tried again later; the deployment shows why.
    """
    done = 0
    for entry in _due():
        if _lease(entry):
            done += _attempt(message_log, entry)
    return done


def _due() -> Iterator[OutboxEntry]:
    """The oldest open entry of each deployment, where it is due: later ones wait for it."""
    waiting = OutboxEntry.objects.filter(done_at=None)
    oldest = waiting.order_by().values("deployment").annotate(first=Min("id")).values_list("first", flat=True)
    due = waiting.filter(id__in=list(oldest), due_at__lte=timezone.now())
    yield from due.select_related("deployment__model__weights")


def _lease(entry: OutboxEntry) -> bool:
    """Take the entry for a while; False where another publisher has it. No transaction stays open meanwhile."""
    until = timezone.now() + timedelta(seconds=LEASE_SECONDS)
    mine = OutboxEntry.objects.filter(pk=entry.pk, due_at=entry.due_at, done_at=None)
    return mine.update(due_at=until, attempts=entry.attempts + 1) == 1


def _attempt(message_log: MessageLog, entry: OutboxEntry) -> bool:
    with logs.bind(federation=entry.deployment.federation):
        return _try(message_log, entry)


def _try(message_log: MessageLog, entry: OutboxEntry) -> bool:
    deployment = entry.deployment
    try:
        _carry_out(message_log, entry)
    except LogError as error:
        _retry(entry, f"Kafka did not take it: {error}")
        return False
    except (MainstemError, Problem) as error:
        # Time does not mend this: the federation fails, with the sentence that says why.
        with transaction.atomic():
            _finish(entry)
            note(_action(entry), deployment.identity, Result.FAILED, str(error))
            if entry.kind == OutboxKind.OPEN:
                Deployment.objects.filter(pk=deployment.pk, state=State.OPENING).update(
                    state=State.FAILED, detail=str(error)
                )
            else:
                detail = f"The last {entry.kind} could not be carried out: {error}"
                Deployment.objects.filter(pk=deployment.pk).update(detail=detail)
        log.error("%s of federation %s failed: %s", entry.kind, deployment.federation, error)
        return True
    except DatabaseError:
        raise
    except Exception as error:  # a defect of ours, with this entry: those of other deployments go on
        log.exception("%s of federation %s", entry.kind, deployment.federation)
        _retry(entry, f"unexpected {type(error).__name__}: {error}")
        return False
    log.info("%s of federation %s is written", entry.kind, deployment.federation)
    return True


def _action(entry: OutboxEntry) -> str:
    """Its name in records of who did what."""
    return f"deployment.{entry.payload['action'] if entry.kind == OutboxKind.COMMAND else entry.kind}"


def _carry_out(message_log: MessageLog, entry: OutboxEntry) -> None:
    deployment = entry.deployment
    match entry.kind:
        case OutboxKind.OPEN:
            opening.open_federation(message_log, _opening(deployment))
            _finish(entry)
            Deployment.objects.filter(pk=deployment.pk, state=State.OPENING).update(state=State.WAITING)
        case OutboxKind.COMMAND:
            order = msgspec.convert({**entry.payload, "federation": deployment.federation}, Command)
            opening.command(message_log, order)
            if order.action in ("resume", "rollback"):
                # a worker that let go of the ended run looks again at a higher revision
                Deployment.objects.filter(pk=deployment.pk, revision=deployment.revision).update(
                    revision=deployment.revision + 1
                )
                deployment.refresh_from_db(fields=["revision"])
                opening.announce(message_log, deployment.announcement)
            _finish(entry)
        case OutboxKind.DELETE:
            opening.remove(message_log, deployment.federation, deployment.nonce)
            with transaction.atomic():
                FederationId.objects.update_or_create(id=deployment.federation, defaults={"deleted_at": timezone.now()})
                deployment.delete()


def _opening(deployment: Deployment) -> opening.Opening:
    model = deployment.model
    if model is None:
        raise MainstemError("its model was deleted from the catalog before it could be opened")
    adaptation = msgspec.convert(deployment.adaptation, Adaptation)
    forest = forest_of(model)
    weights, specs = model.weights, msgspec.convert(model.tensors, tuple[TensorSpec, ...])
    return opening.Opening(
        announcement=deployment.announcement,
        nonce=deployment.nonce,
        architecture=model.architecture,
        training=msgspec.convert(deployment.training, Training),
        strategy=msgspec.convert(deployment.strategy, StrategyChoice),
        rules=msgspec.convert(deployment.rules, Rules),
        data=msgspec.convert(deployment.data, Data),
        input=msgspec.convert(deployment.input, InputSpec),
        specs=specs,
        payload=lambda: _payload(weights, specs),
        untrained=tuple(number for number, tensor in enumerate(model.tensors) if tensor.get("untrained")),
        frozen=tuple(number for number, tensor in enumerate(model.tensors) if tensor.get("frozen")),
        adaptation=adaptation,
        personal=personal_tensors(adaptation, model),
        parent=deployment.parent,
        forest=None if forest is None else forests.parts_of(forest),
    )


@contextmanager
def _payload(weights: Blob, specs: tuple[TensorSpec, ...]) -> Iterator[Iterator[Buffer]]:
    """The model's bytes, by way of a temporary file."""
    with tempfile.TemporaryFile() as file:
        weights.write(file)
        yield payload_in(file, specs)


def _finish(entry: OutboxEntry) -> None:
    OutboxEntry.objects.filter(pk=entry.pk).update(done_at=timezone.now())
    Deployment.objects.filter(pk=entry.deployment_id).exclude(error="").update(error="")


def _retry(entry: OutboxEntry, why: str) -> None:
    wait = pause(entry.attempts + 1, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)  # read before this attempt was counted
    OutboxEntry.objects.filter(pk=entry.pk).update(due_at=timezone.now() + timedelta(seconds=wait))
    Deployment.objects.filter(pk=entry.deployment_id).update(error=why)
    log.warning("%s of federation %s: %s; trying again in %.2f s", entry.kind, entry.deployment.federation, why, wait)
