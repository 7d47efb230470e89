"""Making models and configurations."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from rest_framework import status
from rest_framework.serializers import BaseSerializer

from backend.accounts.models import User
from backend.audit.recording import recorded
from backend.catalog import forests, workshop
from backend.catalog.arrays import specs_in
from backend.catalog.models import Blob, Configuration, Model, ModelKind
from backend.rest.problems import Problem
from backend.rest.strict_json import JsonError, check_keepable
from mainstem.errors import RefusedError
from mainstem.runtime.words import few

LARGEST_SEED = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Built:
    """What the workshop says of a model, its weights as an npz, and what it was made from."""

    answer: Mapping[str, Any]
    weights: IO[bytes]
    """A temporary file."""
    origin: Mapping[str, Any]


def try_model(data: Mapping[str, Any]) -> Built:
    """Have the workshop build the model that `data` describes (see ModelCreateSerializer), and keep nothing.

    Raises Problem naming the field.
    """
    kind = ModelKind(data["kind"])
    if kind is ModelKind.FOREST:
        return Built(*forests.make(data["forest"]), {"forest": data["forest"]})
    operation: dict[str, Any] = {"op": "build", "kind": kind.value, "seed": data["seed"]}
    files: dict[str, bytes | Path] = {}
    origin: dict[str, Any] = {}
    if kind is ModelKind.KERAS:
        upload: UploadedFile[bytes] = data["file"]
        files["model.keras"] = _content(upload)
        operation["file"] = "model.keras"
        origin = {"file": upload.name}
    elif kind is ModelKind.JSON:
        operation["config"] = data["config"]
    else:
        operation[kind.value] = origin[kind.value] = data[kind.value]
    weights = tempfile.NamedTemporaryFile()  # noqa: SIM115 (it goes with what was built)
    answer = workshop.run([operation], files=files, saved={"weights.npz": Path(weights.name)}).answers[0]
    _check_tensors(answer["tensors"], weights)
    _check_settings(answer["compile"])
    return Built(answer, weights, origin)


def build_model(data: Mapping[str, Any], user: User | None) -> Model:
    """`try_model`, and store what came of it; raises Problem naming the field."""
    built = try_model(data)
    answer = built.answer
    with recorded("model.create") as act:
        model = Model.objects.create(
            name=data["name"],
            description=data["description"],
            kind=ModelKind(data["kind"]),
            framework=forests.FRAMEWORK if data["kind"] == ModelKind.FOREST else "tf",
            origin=built.origin,
            seed=data["seed"],
            architecture=answer["architecture"],
            weights=Blob.store(built.weights),
            tensors=answer["tensors"],
            input_shape=answer["input"]["shape"],
            input_dtype=answer["input"]["dtype"],
            output_shape=answer["output"]["shape"],
            output_dtype=answer["output"]["dtype"],
            layers=answer["layers"],
            parameters=answer["params"],
            compile=answer["compile"],
            created_by=user,
        )
        act.of(model)
    return model


def _content(upload: UploadedFile[bytes]) -> bytes | Path:
    if isinstance(upload, TemporaryUploadedFile):
        return Path(upload.temporary_file_path())
    content: bytes = upload.read()
    return content


def _check_tensors(tensors: list[dict[str, Any]], weights: IO[bytes]) -> None:
    """What the workshop says of the weights must be true of the file, and have a place on the wire."""
    try:
        specs = specs_in(weights, [str(tensor["name"]) for tensor in tensors])
    except RefusedError as error:
        raise Problem(
            status.HTTP_400_BAD_REQUEST, f"The model's weights cannot be sent to clients: {error}."
        ) from error
    told = [(tensor["dtype"], tuple(tensor["shape"])) for tensor in tensors]
    if told != [(spec.dtype, spec.shape) for spec in specs]:
        raise Problem(status.HTTP_503_SERVICE_UNAVAILABLE, "The workshop's weights are not what it says they are.")


def _check_settings(compiled: Mapping[str, Any] | None) -> None:
    """What the model was compiled with must have a place in JSON."""
    try:
        check_keepable({"compile": compiled})
    except JsonError as error:
        raise Problem(
            status.HTTP_400_BAD_REQUEST,
            f"What the model was compiled with cannot be kept, at {error.field}: {error}",
            field=error.field,
        ) from error


def delete_model(model: Model) -> None:
    """Delete a model that nothing needs any more; raises Problem naming what does."""
    used = list(model.configurations.values_list("name", flat=True)[:5])
    if used:
        names = ", ".join(used)
        raise Problem(
            status.HTTP_409_CONFLICT, f"The model is part of the configurations {names}: take it out of them first."
        )
    if model.deployments.filter(state="opening").exists():
        raise Problem(status.HTTP_409_CONFLICT, "A deployment of this model is being opened: wait until it is open.")
    blob = model.weights
    with recorded("model.delete", model):
        model.delete()
        if not Model.objects.filter(weights=blob).exists():
            blob.delete()


def duplicate(configuration: Configuration, name: str | None, user: User | None) -> Configuration:
    """A copy under another name: the given one, or the old one with the first free number; raises Problem."""
    base = configuration.name[:90]
    names = [name] if name else [f"{base} ({number})" for number in range(2, 1000)]
    taken = set(Configuration.objects.filter(name__in=names).values_list("name", flat=True))
    free = next((candidate for candidate in names if candidate not in taken), None)
    if free is None:
        raise Problem(status.HTTP_409_CONFLICT, "There is a configuration of that name already.", field="name")
    with recorded("configuration.create", detail=f"a copy of {configuration.pk}") as act:
        copy = Configuration.objects.create(name=free, description=configuration.description, created_by=user)
        copy.models.set(configuration.models.all())
        act.of(copy)
    return copy


def save_configuration(asked: BaseSerializer[Configuration], user: User) -> Configuration:
    """Make what a checked request asks for, or change it."""
    found = asked.instance
    if found is None:
        with recorded("configuration.create") as act:
            made = asked.save(created_by=user)
            act.of(made)
        return made
    with recorded("configuration.change", found, few(sorted(asked.validated_data), 8)):
        return asked.save()


def delete_configuration(configuration: Configuration) -> None:
    """Delete it; its models and federations stay."""
    with recorded("configuration.delete", configuration):
        configuration.delete()


def change_model(asked: BaseSerializer[Model]) -> Model:
    """Change a model's name or description as a checked request asks."""
    assert asked.instance is not None
    with recorded("model.change", asked.instance, few(sorted(asked.validated_data), 8)):
        return asked.save()


def model_destroys(model: Model) -> list[str]:
    """What deleting the model destroys, for a person to read before it is done."""
    lines = [f"its architecture and initial weights ({model.parameters:,} parameters)"]
    runs = model.deployments.count()
    if runs:
        what = "federation keeps its own versions, but it" if runs == 1 else "federations keep their own versions, but"
        lines.append(f"{runs} {what} cannot be restarted anew")
    return lines


def configuration_destroys(configuration: Configuration) -> list[str]:
    """What deleting the configuration destroys, likewise; its models and federations stay."""
    count, runs = configuration.models.count(), configuration.deployments.count()
    lines = [f"the choice of its {count} model{'s' * (count != 1)}; they stay"]
    if runs:
        lines.append(f"the mention of it at {runs} deployment{'s' * (runs != 1)}; they stay")
    return lines
