"""The flight recorder: any run again, from its first record to its last, at any speed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.runs.charts import grid, tape
from backend.runs.ordering import members_in_order
from backend.runs.pages.deployments import LEGEND, find, tabbed

BATCH = 200


@require_safe
@viewers_only
def recorder(request: HttpRequest, federation: str) -> HttpResponseBase:
    """The page; the tape is fetched by its script."""
    deployment = find(federation)
    metrics = grid.metric_names(deployment, grid.told_rounds(deployment)[-2:])
    context = {
        **tabbed(deployment, "recorder-page"),
        "legend": LEGEND,
        "metric": metrics[0] if metrics else "",
    }
    return render(request, "runs/recorder.html", context)


@require_safe
@viewers_only
def recorder_tape(request: HttpRequest, federation: str) -> HttpResponseBase:
    """What the recorder plays, one JSON value a line: see `tape.lines`. `?metric=` names what the curve shows."""
    deployment = find(federation)
    clients = members_in_order(deployment.members.all())[: grid.CLIENTS]
    lines = tape.lines(deployment, clients, request.GET.get("metric", "")[:128])
    return StreamingHttpResponse(_joined(lines), content_type="text/plain; charset=utf-8")


def _joined(lines: Iterator[dict[str, object]]) -> Iterator[bytes]:
    batch: list[bytes] = []
    for line in lines:
        batch.append(msgspec.json.encode(line) + b"\n")
        if len(batch) >= BATCH:
            yield b"".join(batch)
            batch = []
    yield b"".join(batch)
