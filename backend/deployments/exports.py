"""A run's figures as a CSV file: one line a client's update."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.deployments import events
from backend.deployments.models import ClientRound, Deployment
from backend.deployments.pages import find

FIELDS = (
    "round__number", "round__seq", "round__version", "client", "base_version", "examples", "coefficient", "nbytes",
    "received_ms", "train_seconds", "upload_seconds", "sha256",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@require_safe
@viewers_only
def rounds_csv(request: HttpRequest, federation: str) -> HttpResponseBase:
    """`rounds.csv`: streamed, so that a long run takes no memory."""
    deployment = find(federation)
    response = StreamingHttpResponse(_lines(deployment), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{federation}.csv"'
    return response


def _lines(deployment: Deployment) -> Iterator[str]:
    rows = ClientRound.objects.filter(round__deployment=deployment).order_by("round__seq", "client")
    first = rows.first()
    names = sorted(events.names(first.training)) if first is not None else []
    measured = sorted(events.names(first.evaluation)) if first is not None else []
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    header = [name.rpartition("__")[2] for name in FIELDS]
    writer.writerow([*header, *(f"training_{n}" for n in names), *(f"evaluation_{n}" for n in measured)])
    for *fixed, training, evaluation in rows.values_list(*FIELDS, "training", "evaluation").iterator():
        trained, found = events.values(training), events.values(evaluation)
        cells = [*fixed, *(trained.get(name, "") for name in names), *(found.get(name, "") for name in measured)]
        writer.writerow([_safe(cell) for cell in cells])
        if buffer.tell() > 1 << 16:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _safe(cell: object) -> object:
    """Text that a spreadsheet would take for a formula is kept text (a client's name may begin with a dash)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
