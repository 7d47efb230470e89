"""A federation's versions from the log: weights, files for Keras or XGBoost, predictions. The database has manifests
only."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import msgspec
import numpy as np
from rest_framework import status

from backend.catalog import exports, forests, workshop
from backend.catalog.arrays import array_of, write_npz
from backend.deployments.log import kafka
from backend.deployments.models import Deployment, Version
from backend.deployments.projection.columns import plain
from backend.rest.problems import Problem
from mainstem.errors import RefusedError, UnreadableError
from mainstem.lineage import read_history
from mainstem.protocol import updates
from mainstem.protocol.adapting import named
from mainstem.protocol.changes import is_whole, read_version
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import TensorSpec, Weights
from mainstem.protocol.topics import data_topic
from mainstem.protocol.weights import payload_of
from mainstem.streams.codecs.exact import unfit

MOST_INPUTS = 10_000
MOST_VALUES = 10_000_000
WEIGHTS_FILE = "weights.npz"
MISSING_HEADER = "Mainstem-Missing"
"""Of a download: tensors that it does not have as the sites have them, percent-encoded."""


def weights_file(deployment: Deployment, version: Version) -> Path:
    """The version's npz (`t0000`, `t0001`, ... in the order of its tensors), read from Kafka unless it is cached.

    Raises LogError where Kafka is away, UnreadableError where the chunks are gone or not what the manifest says.
    """
    return exports.cached(f"{version.sha256}.npz", lambda file: _write(deployment, version, file))


def _write(deployment: Deployment, version: Version, file: IO[bytes]) -> None:
    weights, log, topic = _manifest(version), kafka.message_log(), data_topic(deployment.federation)
    specs = msgspec.convert(deployment.tensors, tuple[TensorSpec, ...])
    try:
        if is_whole(weights):
            write_npz(file, specs, updates.stream(log, topic, weights, specs))
            return
        history = read_history(log, deployment.federation)
        way = history.way(version.number)
        if way is None or way.end.sha256 != weights.sha256:
            raise UnreadableError(f"Version {version.number} no longer stands in the federation's control topic.")
        write_npz(file, specs, payload_of(read_version(log, topic, way, exchange(history.opened))))
    except RefusedError as error:
        raise UnreadableError(
            f"The weights of version {version.number} can no longer be read from Kafka: {error.detail}."
        ) from error


def _manifest(version: Version) -> Weights:
    return msgspec.convert(version.weights, Weights)


def check_readable(deployment: Deployment, version: Version) -> None:
    """Raises UnreadableError where chunks of the version are gone from Kafka, LogError where it is away.

    It compares offsets only: what the chunks hold is checked by whoever reads them.
    """
    weights = _manifest(version)
    needed: dict[int, int] = {}
    for run in (*weights.chunks, *(weights.change.chunks if weights.change is not None else ())):
        needed[run.partition] = min(run.first, needed.get(run.partition, run.first))
    log, topic = kafka.message_log(), data_topic(deployment.federation)
    for partition, first in needed.items():
        if log.bounds(topic, partition)[0] > first:
            raise UnreadableError(f"The weights of version {version.number} can no longer be read from Kafka.")


def missing_header(deployment: Deployment) -> dict[str, str]:
    """Of a download: the tensors that stay at the sites, whose place in the file is held by version 0's."""
    names = named(deployment.personal_tensors)
    return {MISSING_HEADER: quote(names, safe=" ,/")} if names else {}


def keras_file(deployment: Deployment, version: Version) -> Path:
    """The version as a `.keras` file; raises Problem and what `weights_file` raises."""
    _require_architecture(deployment)
    if deployment.framework == forests.FRAMEWORK:
        raise Problem(
            status.HTTP_409_CONFLICT, "This federation's model is a forest: its versions have a model.json instead."
        )
    return exports.keras_file(deployment.architecture, version.sha256, lambda: weights_file(deployment, version))


def xgboost_file(deployment: Deployment, version: Version) -> Path:
    """A forest's version as XGBoost's JSON; raises Problem and what `weights_file` raises."""
    _require_architecture(deployment)
    if deployment.framework != forests.FRAMEWORK:
        raise Problem(
            status.HTTP_409_CONFLICT, "This federation's model is no forest: its versions have a model.keras instead."
        )
    return exports.cached(
        f"{exports.key_of(deployment.architecture, version.sha256)}.json",
        lambda file: forests.write_json(deployment.architecture, weights_file(deployment, version), file),
    )


def _require_architecture(deployment: Deployment) -> None:
    if not deployment.architecture:
        raise Problem(
            status.HTTP_409_CONFLICT,
            "The record that opened this federation was not received: its architecture is unknown.",
        )


def predict(deployment: Deployment, version: Version, inputs: Any) -> Mapping[str, Any]:
    """The version's outputs for `inputs`, nested lists of shape (n, *input shape).

    Raises Problem naming the field, and what `weights_file` raises.
    """
    _require_architecture(deployment)
    array = _array(inputs, tuple(deployment.input.get("shape", ())), str(deployment.input.get("dtype", "float32")))
    if deployment.framework == forests.FRAMEWORK:
        answers = forests.answer_of(deployment.architecture, weights_file(deployment, version), array)
        return {"shape": list(answers.shape), "outputs": plain(answers.tolist())}
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    result = workshop.run(
        [
            {
                "op": "predict",
                "architecture": deployment.architecture,
                "weights": WEIGHTS_FILE,
                "inputs": "x.npy",
                "out": "y.npy",
            }
        ],
        files={WEIGHTS_FILE: weights_file(deployment, version), "x.npy": buffer.getvalue()},
        wanted=["y.npy"],
        keep=hashlib.sha256(deployment.architecture.encode()).hexdigest(),
    )
    outputs = array_of(result.files["y.npy"])
    answer = {"shape": list(outputs.shape), "outputs": plain(outputs.tolist())}
    return answer | ({"missing": deployment.personal_tensors} if deployment.personal_tensors else {})


def _array(inputs: Any, shape: tuple[int, ...], dtype: str) -> Any:
    wanted = "".join(f"[{n}]" for n in shape)
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MOST_INPUTS:
        raise Problem(400, f"inputs must be a list of 1 to {MOST_INPUTS:,} samples.", field="inputs")
    try:
        array = np.asarray(inputs)
        told = unfit(array, np.dtype(dtype)) if array.shape[1:] == shape else None
    except (ValueError, TypeError, OverflowError) as error:
        raise Problem(
            400, f"inputs must be numbers in nested lists of the shape [n]{wanted}.", field="inputs"
        ) from error
    if told is not None:
        raise Problem(400, f"A value of inputs {told}.", field="inputs")
    if array.shape[1:] != shape or array.size > MOST_VALUES:
        raise Problem(400, f"inputs have the shape {list(array.shape)}; the model takes [n]{wanted}.", field="inputs")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Problem(400, "inputs hold NaN or infinity.", field="inputs")
    return array.astype(dtype)
