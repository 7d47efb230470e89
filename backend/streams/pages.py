"""The data sources' pages: announced streams, their samples, and injecting sample data."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from backend.accounts.pages import operators_only, viewers_only
from backend.accounts.roles import user_of
from backend.deployments.log import kafka
from backend.rest.query import OFFSET_DIGITS, number_of
from backend.site.forms import Form, area, choice, number, text
from backend.streams import injections, samples
from backend.streams.models import DataSource, Injection, InjectionState
from backend.streams.serializers import InjectionSerializer
from mainstem.errors import MainstemError
from mainstem.streams.codecs import FORMATS

ROWS = 50
RECENT = 5
ARRIVING = timedelta(minutes=1)
"""For so long after an injection the page looks for its streams: the data control logger reads them from Kafka."""


class InjectionForm(Form):
    """Sample data to inject."""

    clients = number("Clients", "A stream each.", required=True, inputmode="numeric")
    train_samples = number("Samples to train, each", required=True, inputmode="numeric")
    test_samples = number("Samples to test, each", required=True, inputmode="numeric")
    alpha = number("Label skew", "Dirichlet's alpha: 0.3 gives each few classes; without it all are alike.")
    seed = number("Seed", "The same seed, the same samples.", required=True, inputmode="numeric")
    topic = text("Topic", "Created where it is missing.", required=True, autocomplete="off")
    input_format = choice("Format", [(name, name) for name in FORMATS])
    restriction = area("Data restriction", "JSON that a federation must share exactly.", rows=2)


def _form(data: Any = None) -> InjectionForm:
    usual = Injection()
    return InjectionForm(data, initial={name: getattr(usual, name) for name in InjectionForm.base_fields})


@require_safe
@viewers_only
def source_list(request: HttpRequest) -> HttpResponse:
    """Announced streams, the newest first, refused announcements included."""
    return _list(request, _form())


@require_http_methods(["POST"])
@operators_only
def inject(request: HttpRequest) -> HttpResponse:
    """Ask the launcher process to inject sample data."""
    form = _form(request.POST)

    def ask() -> Injection:
        typed = form.typed()
        asked = InjectionSerializer(data={name: None if name == "alpha" else "" for name in form.fields} | typed)
        asked.is_valid(raise_exception=True)
        return injections.ask(asked, user_of(request))

    made = form.judged(ask)
    if made is None:
        return _list(request, form)
    messages.success(request, f"{str(made).capitalize()}: the launcher takes it within a second.")
    return redirect("datasource-list-page")


@require_safe
@viewers_only
def injection_rows(request: HttpRequest) -> HttpResponse:
    """The newest injections, for a page that waits for one."""
    context = _injections()
    return render(request, "streams/injections.html", context)


def _injections() -> dict[str, Any]:
    recent = list(Injection.objects.select_related("created_by")[:RECENT])
    busy = any(one.state in (InjectionState.WAITING, InjectionState.RUNNING) for one in recent)
    done = [one for one in recent if one.state == InjectionState.SUCCEEDED]
    fresh = timezone.now() - ARRIVING
    arriving = any(one.ended_at is None or one.ended_at > fresh for one in done)
    return {"injections": recent, "busy": busy, "arriving": arriving, "announced": bool(done)}


def _list(request: HttpRequest, form: InjectionForm) -> HttpResponse:
    sought, input_format = request.GET.get("q", "").strip(), request.GET.get("format", "")
    refused = request.GET.get("refused", "")
    rows: QuerySet[DataSource] = DataSource.objects.defer("value").annotate(trains=Count("jobs"))
    rows = rows.order_by("-id")
    if sought:
        rows = rows.filter(Q(topic__icontains=sought) | Q(description__icontains=sought))
    if input_format in FORMATS:
        rows = rows.filter(input_format=input_format)
    if refused in ("yes", "no"):
        rows = rows.exclude(problem="") if refused == "yes" else rows.filter(problem="")
    page = Paginator(rows, ROWS).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "form": form,
        "sought": sought,
        "format": input_format,
        "formats": FORMATS,
        "refused": refused,
        "filtered": bool(sought or input_format or refused),
        "example": {"clients": 3},
        **_injections(),
    }
    return render(request, "streams/sources.html", context, status=form.status)


@require_safe
@viewers_only
def source_samples(request: HttpRequest, pk: int) -> HttpResponse:
    """Some of its samples, decoded; digits as pictures. Read from Kafka, so a fragment of its own."""
    source = get_object_or_404(DataSource, pk=pk, problem="")
    context: dict[str, Any] = {"source": source}
    try:
        context["look"] = found = samples.look(kafka.stream_log(), source, offset_of(request))
        context["before"], context["after"] = found.start - samples.AT_ONCE, found.after
    except MainstemError as error:
        context["away"] = str(error)
    whole = not request.headers.get("HX-Request")
    return render(request, "streams/samples_page.html" if whole else "streams/samples.html", context)


def offset_of(request: HttpRequest) -> int:
    """The first sample that is asked for."""
    return number_of(request.GET.get("at"), OFFSET_DIGITS) or 0
