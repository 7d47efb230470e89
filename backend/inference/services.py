"""Deploying versions for inference. Each step changes a row; the launcher process makes it true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from rest_framework import status

from backend.accounts.models import User
from backend.audit.recording import recorded
from backend.deployments.models import Deployment, State, Version
from backend.inference import versions
from backend.inference.models import Inference, ServingState
from backend.rest.problems import Problem
from mainstem.errors import ConfigError
from mainstem.protocol.messages import InputSpec
from mainstem.serving.spec import check_name, check_topic, samples_codec


def defaults(deployment: Deployment, version: int, name: str | None = None) -> dict[str, Any]:
    """What a version is deployed with where nothing else is said; the topics' names follow from its name."""
    name = name or f"{deployment.federation}-v{version}"
    return {
        "name": name,
        "input_topic": f"{name}-in",
        "output_topic": f"{name}-out",
        "input_config": default_config(deployment),
    }


def default_config(deployment: Deployment) -> dict[str, Any]:
    """INPUT_CONFIG of arrays as the model takes them."""
    shape = deployment.input.get("shape", ())
    return {
        "data_type": str(deployment.input.get("dtype", "float32")),
        "data_reshape": " ".join(map(str, shape)),
    }


def planned(data: Mapping[str, Any]) -> Inference:
    """The row that `data` (see InferenceCreateSerializer) asks for, checked but not saved; raises Problem, LogError."""
    deployment = Deployment.objects.filter(federation=data["federation"]).exclude(state=State.DELETING).first()
    if deployment is None:
        raise Problem(400, f"There is no federation {data['federation']!r}.", field="federation")
    version = deployment.versions.filter(number=data["version"]).first()
    if version is None:
        raise Problem(400, f"Federation {deployment.federation} has no version {data['version']}.", field="version")
    said = {name: value for name, value in data.items() if value is not None}
    given = defaults(deployment, version.number, said.get("name")) | said
    inference = Inference(
        name=_checked("name", check_name, given["name"]),
        federation=deployment.federation,
        deployment=deployment,
        version=version.number,
        sha256=version.sha256,
        replicas=given["replicas"],
        input_topic=_checked("input_topic", check_topic, given["input_topic"]),
        output_topic=_checked("output_topic", check_topic, given["output_topic"]),
        input_format=str(given["input_format"]).strip().upper(),
        input_config=given["input_config"],
        answers=given["answers"],
        delivery=given["delivery"],
        partitions=given["partitions"],
        state=ServingState.STARTING if given["replicas"] else ServingState.STOPPED,
    )
    _check_config(inference, deployment)
    _check_circle(inference)
    if Inference.objects.filter(name=inference.name).exists():
        raise Problem(
            status.HTTP_409_CONFLICT,
            f"{inference.name} is the name of another one: choose another name.",
            field="name",
        )
    return inference


def create(data: Mapping[str, Any], user: User | None) -> Inference:
    """Deploy a version; the launcher starts its replicas. Raises Problem naming the field, UnreadableError, LogError.

    Its weights must still be in Kafka.
    """
    inference = planned(data)
    assert inference.deployment is not None
    versions.check_readable(inference.deployment, _version(inference))
    inference.created_by = user
    with recorded("inference.create", _named(inference)):
        inference.save()
    return inference


def scale(inference: Inference, replicas: int) -> None:
    """Want so many replicas; raises Problem where it is being ended."""
    state = ServingState.STARTING if replicas else ServingState.STOPPED
    changed = Inference.objects.filter(pk=inference.pk).exclude(state=ServingState.ENDING)
    with recorded("inference.scale", _named(inference), f"replicas {replicas}"):
        if not changed.update(replicas=replicas, state=state, detail=""):
            raise Problem(status.HTTP_409_CONFLICT, f"{inference.name} is being ended.")


def end(inference: Inference) -> None:
    """End its replicas, forget their place in the input topic, and remove it. Topics stay."""
    with recorded("inference.end", _named(inference)):
        Inference.objects.filter(pk=inference.pk).update(state=ServingState.ENDING, detail="")


def _named(inference: Inference) -> tuple[str, str]:
    return inference.name, f"{inference.federation}/{inference.version}"


def destroys(inference: Inference) -> list[str]:
    """What ending it destroys, for a person to read before it is done."""
    return [
        f"its {inference.replicas} {'replica' if inference.replicas == 1 else 'replicas'}",
        f"their place in {inference.input_topic}: deployed again, they answer it from its beginning",
    ]


def _version(inference: Inference) -> Version:
    assert inference.deployment is not None
    return inference.deployment.versions.get(number=inference.version)


def _checked(field: str, check: Any, value: Any) -> str:
    try:
        return str(check(str(value), field))
    except ConfigError as error:
        raise Problem(400, f"{error}.", field=field) from error


def _check_config(inference: Inference, deployment: Deployment) -> None:
    config = inference.input_config
    if not isinstance(config, dict):
        raise Problem(400, 'input_config must be a JSON object such as {"data_type": "float32"}.', field="input_config")
    try:
        samples_codec(inference.input_format, config, msgspec.convert(deployment.input, InputSpec))
    except ConfigError as error:
        field = "input_format" if str(error).startswith("INPUT_FORMAT") else "input_config"
        raise Problem(400, f"{error}.", field=field) from error


def _check_circle(inference: Inference) -> None:
    """Refuse an output topic that, by way of others, leads back to the input topic."""
    onward: dict[str, set[str]] = {}
    for source, sink in Inference.objects.values_list("input_topic", "output_topic"):
        onward.setdefault(source, set()).add(sink)
    seen, ahead = {inference.output_topic}, [inference.output_topic]
    while ahead:
        for topic in onward.get(ahead.pop(), set()) - seen:
            seen.add(topic)
            ahead.append(topic)
    if inference.input_topic in seen:
        raise Problem(
            400,
            f"What is written to {inference.output_topic} comes back to {inference.input_topic}, so that every answer "
            "would be a question again: choose another output topic.",
            field="output_topic",
        )
