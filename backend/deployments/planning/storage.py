"""What a deployment's run will need of Kafka's disk, beside what is free there."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from django.conf import settings

from backend.catalog.forests import FRAMEWORK
from backend.deployments.models import Deployment
from mainstem.errors import ConfigError
from mainstem.jobs import forests
from mainstem.protocol.forests import CARRIED, rows_of
from mainstem.protocol.messages import Rules
from mainstem.protocol.weights import payload_bytes
from mainstem.rounds.needs import Needs, needs
from mainstem.runtime.disk import Disks, size

GONE = ("left", "failed")


def free() -> int | None:
    """Bytes that are free where Kafka's data lie; None where they lie on another machine."""
    disk = Disks(settings.HOME, settings.DISK_FLOOR).kafka()
    return None if disk is None else disk.free


def needs_of(deployment: Deployment) -> Needs | None:
    """Of the rounds to come; None of a run that has ended, or whose model or rules are not known."""
    nbytes = _model_bytes(deployment)
    if not nbytes or deployment.ended:
        return None
    members = deployment.members.exclude(state__in=GONE).count() if deployment.pk else 0
    try:
        rules = msgspec.convert(deployment.rules, Rules)
        return needs(rules, nbytes, done=deployment.round, members=members, brings=_brought(deployment))
    except (msgspec.ValidationError, ConfigError):
        return None  # of another version of Mainstem


def shown(deployment: Deployment) -> dict[str, Any] | None:
    """The same for the API and the pages, with a warning where it is more than there is."""
    found, room = needs_of(deployment), free()
    if found is None:
        return None
    there = "how much is free there is not known here" if room is None else f"{size(room)} are free"
    return {
        "needed_bytes": found.total,
        "updates_bytes": found.updates,
        "versions_bytes": found.versions,
        "free_bytes": room,
        "detail": f"{found.said}; {there}",
        "warning": found.warning(room, settings.DISK_FLOOR),
    }


def _brought(deployment: Deployment) -> int | None:
    """Bytes of an update of a forest; None of what is none."""
    if deployment.framework != FRAMEWORK or not deployment.architecture:
        return None
    params = forests.params_of(deployment.architecture)
    return payload_bytes(rows_of(params.specs[number], params.rows) for number in CARRIED)


def _model_bytes(deployment: Deployment) -> int:
    version = deployment.versions.first() if deployment.pk else None
    if version is not None:
        return int(version.nbytes)
    specs = deployment.model.tensors if deployment.model is not None else []
    return sum(math.prod(spec["shape"]) * np.dtype(spec["dtype"]).itemsize for spec in specs)
