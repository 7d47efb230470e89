"""The catalog's page, rendered on the server."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backend.accounts.pages import viewers_only
from backend.catalog.models import Model


@require_safe
@viewers_only
def model_list(request: HttpRequest) -> HttpResponse:
    """All models, the newest first."""
    rows = Model.objects.defer("architecture", "layers", "tensors").prefetch_related("configurations")
    page = Paginator(rows, 50).get_page(request.GET.get("page"))
    return render(request, "catalog/list.html", {"page": page})
