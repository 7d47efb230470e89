"""Has a version examined by a process of its own, one at a time, and keeps what came of it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from backend.audit.recording import recorded
from backend.deployments.models import Deployment, Examination, Round
from mainstem.runtime.processes import run_child

SECONDS = 600
"""Longest that one examination may take."""
FEWEST = 5
"""Updates below which none is marked for its distance."""
STRAY = 3.5
"""An update is marked from this modified z-score on (Iglewicz and Hoaglin, 1993), or where it points away."""

_turn = threading.Lock()


def ask(deployment: Deployment, round_: Round) -> Examination:
    """Have the round's version examined, unless that is under way already."""
    found = current(deployment, round_)
    if found is not None and found.pending:
        return found
    with recorded("version.examine", (f"{deployment.federation}/{round_.version}", deployment.name)):
        made, _ = Examination.objects.update_or_create(
            deployment=deployment,
            version=round_.version,
            defaults={"sha256": _sha256(deployment, round_), "asked_at": timezone.now(), "outcome": None},
        )
    threading.Thread(target=_run, args=(made.pk, deployment.federation, round_.version), daemon=True).start()
    return made


def current(deployment: Deployment, round_: Round) -> Examination | None:
    """The examination of this very version, where there is one that is not given up."""
    found = Examination.objects.filter(deployment=deployment, version=round_.version).first()
    if found is None or found.sha256 != _sha256(deployment, round_):
        return None
    late = found.outcome is None and timezone.now() - found.asked_at > timedelta(seconds=SECONDS + 60)
    return None if late else found


def outliers(measures: Sequence[dict[str, Any]]) -> set[int]:
    """The offsets of the updates that went unusually far, or away from where the version went."""
    norms = [measure["norm"] for measure in measures if measure["norm"] is not None]
    if len(norms) < FEWEST:
        norms = []  # a handful has no usual distance to stand out from
    middle = statistics.median(norms) if norms else 0.0
    spread = statistics.median(abs(norm - middle) for norm in norms) if norms else 0.0
    far = {
        measure["offset"]
        for measure in measures
        if measure["norm"] is not None and spread and 0.6745 * abs(measure["norm"] - middle) / spread > STRAY
    }
    return far | {measure["offset"] for measure in measures if (measure["cosine"] or 0.0) < 0}


def _sha256(deployment: Deployment, round_: Round) -> str:
    return deployment.versions.values_list("sha256", flat=True).get(number=round_.version)


def _run(pk: int, federation: str, version: int) -> None:
    """In a thread that waits for the process; the web workers' threads go on meanwhile."""
    command = [sys.executable, "-m", "backend.deployments.examinations.examiner", federation, str(version)]
    secret = ("MAINSTEM_SECRET_KEY", "MAINSTEM_ADMIN_PASSWORD", "DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in secret}
    try:
        with _turn:
            done = run_child(command, seconds=SECONDS, env=environment)
        outcome = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        reason = "took too long" if isinstance(error, subprocess.TimeoutExpired) else "ended without an answer"
        outcome = {"error": f"The examination {reason}; try it again."}
    try:
        Examination.objects.filter(pk=pk).update(outcome=outcome)
    finally:
        connection.close()
