"""A federation's versions from the log: weights, `.keras` files, predictions. The database holds only manifests."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rest_framework import status

from backend.catalog import exports, workshop
from backend.catalog.arrays import array_of, npz
from backend.config.problems import Problem
from backend.deployments import kafka
from backend.deployments.columns import plain
from backend.deployments.models import Deployment, Version
from mainstem import updates
from mainstem.codecs.exact import unfit
from mainstem.errors import RefusedError, UnreadableError
from mainstem.messages import Weights
from mainstem.topics import data_topic

MOST_INPUTS = 10_000
MOST_VALUES = 10_000_000
WEIGHTS_FILE = "weights.npz"


def weights_file(deployment: Deployment, version: Version) -> Path:
    """The version's npz (`t0000`, `t0001`, ... in the order of its tensors), read from Kafka unless it is cached.

    Raises LogError where Kafka is away, UnreadableError where the chunks are gone or not what the manifest says.
    """
    return exports.cached(f"{version.sha256}.npz", lambda: npz(_tensors(deployment, version)))


def _tensors(deployment: Deployment, version: Version) -> list[Any]:
    weights = msgspec.convert(version.weights, Weights)
    try:
        return updates.read(kafka.message_log(), data_topic(deployment.federation), weights)
    except RefusedError as error:
        raise UnreadableError(
            f"The weights of version {version.number} can no longer be read from Kafka: {error.detail}."
        ) from error


def check_readable(deployment: Deployment, version: Version) -> None:
    """Raises UnreadableError where chunks of the version are gone from Kafka, LogError where it is away.

    It compares offsets only: what the chunks hold is checked by whoever reads them.
    """
    weights = msgspec.convert(version.weights, Weights)
    needed: dict[int, int] = {}
    for run in weights.chunks:
        needed[run.partition] = min(run.first, needed.get(run.partition, run.first))
    log, topic = kafka.message_log(), data_topic(deployment.federation)
    for partition, first in needed.items():
        if log.bounds(topic, partition)[0] > first:
            raise UnreadableError(f"The weights of version {version.number} can no longer be read from Kafka.")


def keras_file(deployment: Deployment, version: Version) -> Path:
    """The version as a `.keras` file; raises Problem and what `weights_file` raises."""
    _require_architecture(deployment)
    return exports.keras_file(
        deployment.architecture, version.sha256, lambda: weights_file(deployment, version).read_bytes()
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
    return {"shape": list(outputs.shape), "outputs": plain(outputs.tolist())}


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
