"""The page of one data source: which federations it fits, and the Jobs that train on it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.launchers.jobs import matching
from backend.streams.models import DataSource
from backend.streams.pages import ROWS, offset_of


@require_safe
@viewers_only
def source_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One stream: what it says of itself, which federations it fits and why others do not."""
    source = get_object_or_404(DataSource, pk=pk)
    jobs = list(source.jobs.select_related("deployment").order_by("-id")[:ROWS])
    said = matching.notes_on(jobs)
    context = {
        "source": source,
        "fits": [] if source.problem else matching.explain(source),
        "jobs": [(job, said.get(job.pk, "")) for job in jobs],
        "key": "0x" + bytes(source.key or b"").hex(),
        "raw": bytes(source.value or b"")[:4096].decode("utf-8", "replace"),
        "address": f"/api/datasources/{pk}/",
        "at": offset_of(request),
    }
    return render(request, "launchers/source.html", context)
