"""The flight recorder: any run again, from its first record to its last, at any speed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.deployments import events, runs
from backend.deployments.models import Deployment
from backend.deployments.pages import LEGEND, find, tabbed


@require_safe
@viewers_only
def recorder(request: HttpRequest, federation: str) -> HttpResponseBase:
    """The page; the tape is fetched by its script."""
    deployment = find(federation)
    metrics = runs.metric_names(deployment, runs.told_rounds(deployment)[-2:])
    context = {
        **tabbed(deployment, "recorder-page"),
        "legend": LEGEND,
        "metric": metrics[0] if metrics else "",
        "clients": list(deployment.members.order_by("client").values_list("client", flat=True)[: runs.CLIENTS]),
    }
    return render(request, "deployments/recorder.html", context)


@require_safe
@viewers_only
def tape(request: HttpRequest, federation: str) -> HttpResponseBase:
    """All events of the run in order, one JSON value a line, as the live page has got them."""
    return StreamingHttpResponse(_lines(find(federation)), content_type="text/plain; charset=utf-8")


def _lines(deployment: Deployment) -> Iterator[bytes]:
    batch: list[bytes] = []
    for data in events.tape(deployment):
        batch.append(msgspec.json.encode(data) + b"\n")
        if len(batch) >= events.BATCH:
            yield b"".join(batch)
            batch = []
    yield b"".join(batch)
