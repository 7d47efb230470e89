"""The configurations' pages, rendered on the server."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backend.accounts.pages import admins_only, operators_only, viewers_only
from backend.accounts.roles import Role, at_least, user_of
from backend.catalog import services
from backend.catalog.forms import ConfigurationForm
from backend.catalog.models import Configuration, Model
from backend.catalog.pages import ROWS
from backend.catalog.serializers import ConfigurationSerializer
from backend.rest.problems import Problem


@require_safe
@viewers_only
def configuration_list(request: HttpRequest) -> HttpResponse:
    """All configurations, the newest first, with their models and where each is used."""
    sought = request.GET.get("q", "").strip()
    rows = Configuration.objects.filter(name__icontains=sought).prefetch_related("models")
    page = Paginator(rows.annotate(runs=Count("deployments")).order_by("-created_at", "-id"), ROWS).get_page(
        request.GET.get("page")
    )
    context = {"page": page, "sought": sought, "has_models": Model.objects.exists()}
    return render(request, "catalog/configurations.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def configuration_new(request: HttpRequest) -> HttpResponse:
    """Create a configuration; `?model=` chooses its first model."""
    chosen = [word for word in request.GET.getlist("model") if word.isascii() and word.isdigit()]
    form = ConfigurationForm(request.POST or None, initial={"models": chosen})
    if form.is_bound:

        def make() -> Configuration:
            asked = ConfigurationSerializer(data=form.body())
            asked.is_valid(raise_exception=True)
            return services.save_configuration(asked, user_of(request))

        made = form.judged(make)
        if made is not None:
            messages.success(request, f"The configuration {made.name} is made.")
            return redirect("configuration-page", made.pk)
    context = {"form": form, "has_models": Model.objects.exists()}
    return render(request, "catalog/configuration_new.html", context, status=form.status)


@require_http_methods(["GET", "HEAD", "POST"])
@viewers_only
def configuration_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One configuration: its models, where it is used; an operator may change it."""
    found = get_object_or_404(Configuration.objects.select_related("created_by"), pk=pk)
    models = list(found.models.defer("architecture", "layers", "tensors").order_by("name"))
    now = {"name": found.name, "description": found.description, "models": [model.pk for model in models]}
    form = ConfigurationForm(request.POST or None, initial=now)
    if form.is_bound:
        changed = _change(request, found, form)
        if changed is not None:
            return changed
    runs = found.deployments.defer("architecture").order_by("-created_at")
    context: dict[str, Any] = {
        "configuration": found,
        "models": models,
        "form": form,
        "runs": runs[:ROWS],
        "run_count": runs.count(),
        "address": f"/api/configurations/{pk}/",
        "destroys": services.configuration_destroys(found),
    }
    return render(request, "catalog/configuration.html", context, status=form.status)


def _change(request: HttpRequest, found: Configuration, form: ConfigurationForm) -> HttpResponse | None:
    if not at_least(request.user, Role.OPERATOR):
        raise PermissionDenied

    def change() -> Configuration:
        asked = ConfigurationSerializer(found, data=form.body())
        asked.is_valid(raise_exception=True)
        return services.save_configuration(asked, user_of(request))

    if form.judged(change) is None:
        found.refresh_from_db()
        return None
    messages.success(
        request, "The configuration is changed; federations that are open keep what they were opened with."
    )
    return redirect("configuration-page", found.pk)


@require_POST
@operators_only
def configuration_duplicate(request: HttpRequest, pk: int) -> HttpResponse:
    """A copy under the first free name."""
    try:
        copy = services.duplicate(get_object_or_404(Configuration, pk=pk), None, user_of(request))
    except Problem as problem:
        messages.error(request, str(problem.detail))
        return redirect("configuration-page", pk)
    messages.success(request, f"This is the copy, {copy.name}.")
    return redirect("configuration-page", copy.pk)


@require_POST
@admins_only
def configuration_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a configuration; its models and federations stay."""
    found = get_object_or_404(Configuration, pk=pk)
    services.delete_configuration(found)
    messages.success(request, f"The configuration {found.name} is deleted.")
    return redirect("configuration-list-page")
