"""A run's figures as a CSV file: one line a client's update."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.deployments.live import events
from backend.deployments.models import ClientRound, Deployment
from backend.rest import downloads
from backend.rest.sheets import sheet
from backend.runs.pages.deployments import find

FIELDS = (
    "round__number", "round__seq", "round__version", "client", "base_version", "examples", "coefficient", "scale",
    "score", "left_out", "nbytes", "received_ms", "train_seconds", "upload_seconds", "sha256",
)  # fmt: skip


@require_safe
@viewers_only
def rounds_csv(request: HttpRequest, federation: str) -> HttpResponseBase:
    """`rounds.csv`: streamed, so that a long run takes no memory."""
    deployment = find(federation)
    return downloads.csv_file(_lines(deployment), f"{federation}.csv")


def _lines(deployment: Deployment) -> Iterator[str]:
    rows = ClientRound.objects.filter(round__deployment=deployment).order_by("round__seq", "client")
    first = rows.first()
    names = sorted(events.names(first.training)) if first is not None else []
    measured = sorted(events.names(first.evaluation)) if first is not None else []
    header = [name.rpartition("__")[2] for name in FIELDS]
    header += [*(f"training_{n}" for n in names), *(f"evaluation_{n}" for n in measured)]

    def cells() -> Iterator[list[object]]:
        for *fixed, training, evaluation in rows.values_list(*FIELDS, "training", "evaluation").iterator():
            trained, found = events.values(training), events.values(evaluation)
            yield [*fixed, *(trained.get(name, "") for name in names), *(found.get(name, "") for name in measured)]

    return sheet(header, cells())
