"""The models' pages, rendered on the server."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backend.accounts.pages import admins_only, operators_only, viewers_only
from backend.accounts.roles import Role, at_least, user_of
from backend.catalog import services
from backend.catalog.forms import ModelForm, ModelNameForm
from backend.catalog.models import Configuration, Model, ModelKind
from backend.catalog.serializers import ModelCreateSerializer, ModelSerializer
from backend.catalog.services import Built
from backend.rest.problems import Problem
from backend.site.forms import Form

ROWS = 50
EXAMPLE = {"name": "digits", "template": {"name": "cnn", "params": {"classes": 10}}, "seed": 7}


@require_safe
@viewers_only
def model_list(request: HttpRequest) -> HttpResponse:
    """All models, the newest first, with where each is used and how many versions were trained of it."""
    sought, kind = request.GET.get("q", "").strip(), request.GET.get("kind", "")
    rows: QuerySet[Model] = Model.objects.defer("architecture", "layers", "tensors", "origin")
    rows = rows.prefetch_related("configurations").annotate(
        runs=Count("deployments", distinct=True),
        trained=Count("deployments__versions", distinct=True, filter=Q(deployments__versions__number__gt=0)),
    )
    rows = rows.order_by("-created_at", "-id")  # counting loses the model's own order
    if sought:
        rows = rows.filter(name__icontains=sought)
    if kind in ModelKind.values:
        rows = rows.filter(kind=kind)
    page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
    context = {"page": page, "sought": sought, "kind": kind, "kinds": ModelKind.choices}
    return render(request, "catalog/models.html", context | {"any": bool(sought or kind) or bool(page.object_list)})


@require_http_methods(["GET", "HEAD", "POST"])
@operators_only
def model_new(request: HttpRequest) -> HttpResponse:
    """Create a model."""
    form = _form(request)
    if request.method == "POST":
        model = form.judged(lambda: services.build_model(_checked(form), user_of(request)))
        if model is not None:
            messages.success(request, f"The model {model.name} is made.")
            return redirect("model-page", model.pk)
    return render(request, "catalog/model_new.html", {"form": form, "example": EXAMPLE}, status=form.status)


@require_POST
@operators_only
def model_check(request: HttpRequest) -> HttpResponse:
    """Have the workshop build the model, show what it looks like, and keep nothing."""
    form = _form(request)
    built: Built | None = form.judged(lambda: services.try_model(_checked(form, secrets.token_hex(16))))
    context: dict[str, Any] = {"form": form, "built": built.answer if built else None, "refused": built is None}
    context["example"] = EXAMPLE
    if request.headers.get("HX-Request"):
        return render(request, "catalog/checked.html", context)
    return render(request, "catalog/model_new.html", context, status=form.status)


def _form(request: HttpRequest) -> ModelForm:
    if request.method == "POST":
        return ModelForm(request.POST, request.FILES)
    kind = request.GET.get("kind", "")
    return ModelForm(initial={"kind": kind} if kind in ModelKind.values else None)


def _checked(form: ModelForm, name: str | None = None) -> dict[str, Any]:
    """What REST makes of the form; with `name` in the place of the form's own. Raises ValidationError."""
    asked = ModelCreateSerializer(data={"name": "", **form.body()} | ({} if name is None else {"name": name}))
    asked.is_valid(raise_exception=True)
    checked: dict[str, Any] = asked.validated_data
    return checked


@require_http_methods(["GET", "HEAD", "POST"])
@viewers_only
def model_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One model: layers, shapes, what it was made from, where it is used; an operator may rename it."""
    query = Model.objects.select_related("weights", "created_by").prefetch_related(
        Prefetch("configurations", Configuration.objects.order_by("name"))
    )
    model = get_object_or_404(query, pk=pk)
    form = ModelNameForm(request.POST or None, initial={"name": model.name, "description": model.description})
    if request.method == "POST":
        renamed = _rename(request, model, form)
        if renamed is not None:
            return renamed
    runs = model.deployments.defer("architecture").order_by("-created_at")
    context = {
        "model": model,
        "form": form,
        "runs": runs[:ROWS],
        "run_count": runs.count(),
        "destroys": services.model_destroys(model),
        "kept_by": list(model.configurations.all()),
        "address": f"/api/models/{pk}/",
    }
    return render(request, "catalog/model.html", context, status=form.status)


def _rename(request: HttpRequest, model: Model, form: Form) -> HttpResponse | None:
    if not at_least(request.user, Role.OPERATOR):
        raise PermissionDenied

    def change() -> Model:
        asked = ModelSerializer(model, data={"name": "", "description": "", **form.typed()}, partial=True)
        asked.is_valid(raise_exception=True)
        return services.change_model(asked)

    if form.judged(change) is None:
        model.refresh_from_db(fields=["name", "description"])
        return None
    messages.success(request, "The model is changed.")
    return redirect("model-page", model.pk)


@require_POST
@admins_only
def model_delete(request: HttpRequest, pk: int) -> HttpResponse:
    """Delete a model that nothing needs any more."""
    model = get_object_or_404(Model, pk=pk)
    try:
        services.delete_model(model)
    except Problem as problem:
        messages.error(request, str(problem.detail))
        return redirect("model-page", pk)
    messages.success(request, f"The model {model.name} is deleted.")
    return redirect("model-list-page")
