"""A version as it stands in the log: its manifest from the chain, its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mainstem.errors import ConfigError, RefusedError, UnreadableError
from mainstem.lineage.history import read_history
from mainstem.protocol.changes import Way, read_version
from mainstem.protocol.chunks import Limits
from mainstem.protocol.exchange import exchange
from mainstem.protocol.log import MessageLog
from mainstem.protocol.messages import Opened
from mainstem.protocol.weights import Tensor
from mainstem.serving.spec import ServingSpec

Predict = Callable[[NDArray[Any]], NDArray[Any]]
"""Samples (n, *input shape) to outputs (n, *output shape); raises TrainingError."""


@dataclass(frozen=True, slots=True)
class VersionManifest:
    """What defines a version: the run's opening record, and how its weights are read."""

    opened: Opened
    way: Way


def find(log: MessageLog, spec: ServingSpec) -> VersionManifest:
    """The version's manifest; raises ConfigError where the run has no such version, LogError."""
    history = read_history(log, spec.federation)
    way = history.way(spec.version)
    if way is None:
        raise ConfigError(f"MODEL_VERSION is {spec.version}; federation {spec.federation} has no such version")
    if spec.sha256 is not None and way.end.sha256 != spec.sha256:
        raise ConfigError(f"MODEL_SHA256 is not that of version {spec.version} of federation {spec.federation}")
    return VersionManifest(history.opened, way)


def tensors_of(log: MessageLog, manifest: VersionManifest) -> list[Tensor]:
    """The version's tensors, checked; raises UnreadableError, LogError."""
    opened, specs = manifest.opened, exchange(manifest.opened)
    limits = Limits(nbytes=opened.weights.nbytes, tensors=len(specs.model))
    try:
        return read_version(log, opened.topics.data, manifest.way, specs, limits=limits, written=True)
    except RefusedError as error:
        raise UnreadableError(f"the version's weights can no longer be read from Kafka: {error.detail}") from error
