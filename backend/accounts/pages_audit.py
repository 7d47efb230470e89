"""The page of who did what, and the same as a file; for admins."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import admins_only
from backend.audit.actions import ACTIONS
from backend.audit.filters import AuditFilters
from backend.audit.models import AuditEntry, Means, Result
from backend.audit.recording import note
from backend.rest.downloads import csv_file
from backend.rest.sheets import sheet

ROWS = 50
COLUMNS = ("at", "who", "by", "token", "action", "object", "name", "address", "result", "detail", "uid")
CHOICES: dict[str, Any] = {"actions": ACTIONS.items(), "means": Means.choices, "results": Result.choices}


@require_safe
@admins_only
def audit(request: HttpRequest) -> HttpResponseBase:
    """Records in pages, the newest first, narrowed by person, means, action, object, result and time."""
    rows, wrong = _asked(request)
    context = {
        "page": Paginator(rows, ROWS).get_page(request.GET.get("page")),
        "asked": {name: request.GET.get(name, "").strip() for name in AuditFilters.base_filters},
        "filtered": any(request.GET.get(name) for name in AuditFilters.base_filters),
        "wrong": wrong,
        "waiting": AuditEntry.objects.filter(sent_at=None).count(),
        **CHOICES,
    }
    return render(request, "accounts/audit.html", context, status=400 if wrong else 200)


@require_safe
@admins_only
def audit_csv(request: HttpRequest) -> HttpResponseBase:
    """The same records as a CSV file."""
    rows, wrong = _asked(request)
    if wrong:
        return audit(request)
    told = "&".join(f"{name}={request.GET[name]}" for name in AuditFilters.base_filters if request.GET.get(name))
    note("audit.download", detail=told)
    return csv_file(sheet(COLUMNS, rows.values_list(*COLUMNS).iterator()), "audit.csv")


def _asked(request: HttpRequest) -> tuple[QuerySet[AuditEntry], list[str]]:
    """The rows, and a sentence for each filter that is none: then there are no rows."""
    filters = AuditFilters(request.GET, AuditEntry.objects.all())
    if filters.is_valid():
        return filters.qs, []
    return AuditEntry.objects.none(), [
        f"{name}: {' '.join(map(str, sentences))}" for name, sentences in filters.errors.items()
    ]
