"""What people do with deployments. Each writes rows and an outbox entry in one transaction; Kafka comes after."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone
from msgspec import convert, to_builtins
from rest_framework import status

from backend.accounts.models import User
from backend.audit.recording import recorded
from backend.catalog import workshop
from backend.catalog.forests import forest_of
from backend.catalog.models import Configuration, Model
from backend.deployments.log.opening import topics_of
from backend.deployments.models import Deployment, FederationId, OutboxEntry, OutboxKind, State
from backend.deployments.planning.plan import PlanError, RunPlan, check_settings, plan
from backend.deployments.projection.columns import whole
from backend.deployments.projection.fold import REJECTED
from backend.rest.problems import Problem
from mainstem.errors import ConfigError
from mainstem.jobs import compiling, forests
from mainstem.protocol import adapting
from mainstem.protocol.messages import Adaptation, Admission, TensorSpec, Training
from mainstem.protocol.topics import check_federation_id, new_federation_id

DEFINING = ("training", "strategy", "rules", "data", "input", "adaptation", "job")
"""The columns that define a run, beside its model."""


def create(asked: Mapping[str, Any], user: User | None) -> list[Deployment]:
    """One federation for the asked model, or for each model of the configuration; raises Problem, FieldError.

    All of them are created or none.
    """
    wanted = planned(asked)
    if asked.get("check"):
        for model, _, objects in wanted:
            check_training(model, objects)
    configuration: Configuration = asked["configuration"]
    name = asked.get("name") or configuration.name
    with transaction.atomic():
        return [
            _open(
                name=name if len(wanted) == 1 else f"{name[:60]}: {model.name}"[:100],
                federation=asked.get("federation"),
                configuration=configuration,
                model=model,
                objects=objects,
                parent=None,
                user=user,
            )
            for model, _, objects in wanted
        ]


def planned(asked: Mapping[str, Any]) -> list[tuple[Model, RunPlan, dict[str, Any]]]:
    """Each model that `create` would open a federation of, with its plan and the deployment's JSON columns.

    Writes nothing; raises Problem, FieldError.
    """
    models = _models(asked["configuration"], asked.get("model"))
    if asked.get("federation") and len(models) > 1:
        raise Problem(
            status.HTTP_400_BAD_REQUEST,
            "A fixed federation id needs one model: name it in model.",
            field="federation",
        )
    plans = [(model, plan(asked, model.compile, model.output_shape, forest_of(model))) for model in models]
    for model, chosen in plans:
        personal_tensors(chosen.adaptation, model)
    return [(model, chosen, _objects(chosen, model) | {"job": asked.get("job") or {}}) for model, chosen in plans]


def personal_tensors(adaptation: Adaptation, model: Model) -> tuple[int, ...]:
    """The numbers of the model's tensors that stay at each site; raises FieldError."""
    try:
        specs = convert(model.tensors, tuple[TensorSpec, ...])
        return adapting.personal_of(adaptation.personal, specs, model.architecture)
    except ConfigError as error:
        raise PlanError("personal", f"{error}.") from error


def _models(configuration: Configuration, chosen: Model | None) -> list[Model]:
    models = list(configuration.models.order_by("id"))
    if chosen is None and models:
        return models
    if chosen in models:
        return [chosen]
    field = "model" if chosen is not None else "configuration"
    what = f"The model {chosen} is not part of" if chosen is not None else "There is no model in"
    raise Problem(status.HTTP_400_BAD_REQUEST, f"{what} the configuration {configuration}.", field=field)


def check_training(model: Model, objects: Mapping[str, Any]) -> None:
    """Have the workshop compile the model with these settings and train a step on zeros; raises Problem.

    Of a forest nothing is compiled, and its plan has judged its settings.
    """
    if forest_of(model) is not None:
        return
    settings = {name: objects[name] for name in ("training", "input")}
    workshop.run([{"op": "check_training", "architecture": model.architecture, **settings}])


def _objects(chosen: RunPlan, model: Model) -> dict[str, Any]:
    """The protocol's objects as the deployment's JSON columns."""
    forest, loss = forest_of(model), chosen.training.loss
    described = (
        compiling.input_of(model.input_shape, model.input_dtype, model.output_shape, loss)
        if forest is None
        else forests.input_of(forest)
    )
    return {
        "training": whole(chosen.training),
        "strategy": whole(chosen.strategy),
        "rules": whole(chosen.rules),
        "data": whole(chosen.data),
        "adaptation": whole(chosen.adaptation),
        "input": whole(described),
    }


def _open(
    *,
    name: str,
    federation: str | None,
    configuration: Configuration | None,
    model: Model,
    objects: Mapping[str, Any],
    parent: str | None,
    user: User | None,
) -> Deployment:
    with recorded("deployment.create", detail=f"restarts {parent}" if parent else "") as act:
        deployment = Deployment.objects.create(
            federation=_reserve(federation),
            name=name,
            configuration=configuration,
            model=model,
            parent=parent,
            framework=model.framework,
            architecture=model.architecture,
            nonce=secrets.token_hex(16),
            created_by=user,
            **objects,
        )
        act.of(deployment.identity)
        OutboxEntry.objects.create(deployment=deployment, kind=OutboxKind.OPEN)
    return deployment


def _reserve(asked: str | None) -> str:
    """A federation id that was never given away before; raises Problem where the asked one was."""
    if asked is not None:
        check_federation_id(asked)
        if not FederationId.objects.get_or_create(id=asked)[1]:
            raise Problem(
                status.HTTP_409_CONFLICT,
                f"The federation id {asked} was used before; ids are never reused.",
                field="federation",
            )
        return asked
    while True:
        made = new_federation_id()
        if FederationId.objects.get_or_create(id=made)[1]:
            return made


def restart(deployment: Deployment, user: User | None, admission: Admission) -> Deployment:
    """A new federation with the same model and parameters, which names this one as its parent.

    It admits whom `admission` says: some of those that the first one did may be revoked. Raises Problem, FieldError.
    """
    if deployment.model is None:
        raise Problem(
            status.HTTP_409_CONFLICT,
            "Its model is no longer in the catalog, so that it cannot be started anew from here.",
        )
    training, rounds = convert(deployment.training, Training), deployment.rules["rounds"]
    output = None if forest_of(deployment.model) is not None else deployment.model.output_shape
    check_settings(training, output, deployment.data["min_data"], rounds)
    objects = {name: getattr(deployment, name) for name in DEFINING}
    objects["rules"] = {**deployment.rules, "admission": to_builtins(admission)}
    with transaction.atomic():
        return _open(
            name=deployment.name,
            federation=None,
            configuration=deployment.configuration,
            model=deployment.model,
            objects=objects,
            parent=deployment.federation,
            user=user,
        )


def stop(deployment: Deployment, user: User | None) -> None:
    """Ask the run to stop; raises Problem where it has ended."""
    _require(not deployment.ended, deployment, "cannot be stopped")
    _command(deployment, user, action="stop")


@transaction.atomic
def resume(deployment: Deployment, user: User | None, admission: Admission | None = None) -> None:
    """Ask a stopped or failed run to go on, and announce it anew so that a worker looks; raises Problem.

    `admission` is given where it is to admit others from then on.
    """
    _require(deployment.state in (State.STOPPED, State.FAILED), deployment, "cannot be resumed")
    _command(deployment, user, action="resume")
    if admission is not None:
        _admit(deployment, admission, user)


def admit(deployment: Deployment, admission: Admission, user: User | None) -> None:
    """Ask the run to admit these from now on, and no others; raises Problem where it has ended."""
    _require(not deployment.ended, deployment, "admits nobody else")
    _admit(deployment, admission, user)


def _admit(deployment: Deployment, admission: Admission, user: User | None) -> None:
    told = ", ".join(site.name for site in admission.sites) or ("anyone" if admission.mode == "open" else "nobody")
    _command(deployment, user, told, action="admission", admission=to_builtins(admission))


def rollback(deployment: Deployment, version: int, user: User | None) -> None:
    """Ask the run to go on from an earlier version; also one that has ended. Raises Problem."""
    _require(deployment.state not in (State.OPENING, State.DELETING), deployment, "cannot be rolled back")
    if not deployment.versions.filter(number=version).exists():
        newest = deployment.versions.order_by("-number").values_list("number", flat=True).first()
        known = "it has none yet" if newest is None else f"the newest is {newest}"
        raise Problem(status.HTTP_400_BAD_REQUEST, f"There is no version {version}; {known}.", field="version")
    if version not in deployment.lineage:
        raise Problem(
            status.HTTP_400_BAD_REQUEST,
            f"Version {version} was rolled back itself: the run's model does not descend from it.",
            field="version",
        )
    if version == deployment.version:
        raise Problem(status.HTTP_409_CONFLICT, f"Version {version} is the run's model already.", field="version")
    _command(deployment, user, action="rollback", version=version)


def change_deadline(deployment: Deployment, seconds: float, user: User | None) -> None:
    """Ask for another deadline of the rounds from the open one on; raises Problem where the run has ended."""
    _require(not deployment.ended, deployment, "takes no other deadline")
    _command(deployment, user, action="deadline", deadline_ms=round(seconds * 1000))


def remove(deployment: Deployment, client: str, user: User | None) -> None:
    """Ask the run to put a client out; raises Problem where the run has ended or the client is not in it."""
    _require(not deployment.ended, deployment, "has nobody to be removed")
    member = deployment.members.filter(client=client).first()
    if member is None:
        raise Problem(
            status.HTTP_404_NOT_FOUND, f"No client {client[:64]!r} has joined this federation.", field="client"
        )
    if member.gone:
        raise Problem(
            status.HTTP_409_CONFLICT, f"{client} is {member.state}: nobody waits for it any more.", field="client"
        )
    _command(deployment, user, action="remove", client=client)


def give_up(deployment: Deployment, client: str) -> None:
    """The client's Job is over, perhaps without a word: no round is to wait for it.

    Nothing where none does, and where too few were left for a round to open: there `missed_limit` ends the wait.
    """
    here = {member.client for member in deployment.members.all() if not member.gone}
    ordered = deployment.outbox.filter(kind=OutboxKind.COMMAND, payload__action="remove")
    staying = here - {client, *ordered.values_list("payload__client", flat=True)}
    if not deployment.ended and client in here and len(staying) >= deployment.rules.get("min_clients", 1):
        _command(deployment, None, action="remove", client=client)


def _require(allowed: bool, deployment: Deployment, cannot: str) -> None:
    if not allowed:
        raise Problem(status.HTTP_409_CONFLICT, f"The run is {deployment.get_state_display()}; it {cannot}.")


def _command(deployment: Deployment, user: User | None, told: str = "", **fields: Any) -> None:
    by = user.username if user is not None else ""
    told = told or ", ".join(f"{name} {value}" for name, value in fields.items() if name != "action")
    with recorded(f"deployment.{fields['action']}", deployment.identity, told):
        # the answer to an earlier command would look like one to this
        Deployment.objects.filter(pk=deployment.pk, detail__startswith=REJECTED).update(detail="")
        OutboxEntry.objects.create(
            deployment=deployment, kind=OutboxKind.COMMAND, payload={"id": secrets.token_hex(16), "by": by, **fields}
        )


def destroys(deployment: Deployment) -> dict[str, Any]:
    """What deleting the deployment destroys, for a person to read before it is done."""
    return {
        "federation": deployment.federation,
        "topics": topics_of(deployment.federation),
        "rounds": deployment.rounds.count(),
        "versions": deployment.versions.count(),
        "jobs": deployment.jobs.count(),
        "inferences": list(deployment.inferences.values_list("name", flat=True)),
        "restarted_as": list(
            Deployment.objects.filter(parent=deployment.federation).values_list("federation", flat=True)
        ),
    }


def delete(deployment: Deployment, confirmed: str) -> None:
    """Have the outbox remove the federation from Kafka, then from here; raises Problem unless confirmed by its id."""
    if confirmed != deployment.federation:
        doomed = destroys(deployment)
        raise Problem(
            status.HTTP_400_BAD_REQUEST,
            f"This destroys {doomed['rounds']} rounds, {doomed['versions']} versions and 3 topics of federation "
            f"{deployment.federation}: repeat it with ?confirm={deployment.federation}.",
            field="confirm",
        )
    with recorded("deployment.delete", deployment.identity):
        now = timezone.now()
        deployment.outbox.filter(done_at=None).update(done_at=now)  # what was still to be written no longer matters
        Deployment.objects.filter(pk=deployment.pk).update(state=State.DELETING)
        OutboxEntry.objects.create(deployment=deployment, kind=OutboxKind.DELETE)
