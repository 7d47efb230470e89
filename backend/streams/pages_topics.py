"""The topics' pages: what is in Kafka, who reads it, its messages, and deleting what is over."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from backend.accounts.pages import admins_only, viewers_only
from backend.rest.problems import Problem
from backend.rest.query import OFFSET_DIGITS, number_of
from backend.streams import topics
from mainstem.errors import LogError
from mainstem.kafka.client.inspection import Inspection
from mainstem.protocol.topics import federation_of

ROWS = 50


@require_safe
@viewers_only
def topic_list(request: HttpRequest) -> HttpResponse:
    """All topics with their partitions and records, and whose they are."""
    where = topics.cluster(request.GET.get("at", ""))
    sought = request.GET.get("q", "").strip()
    context: dict[str, Any] = {"where": where, "clusters": topics.clusters(), "sought": sought}
    try:
        found = [one for one in topics.overview(where) if sought.lower() in one.name.lower()]
    except LogError as error:
        return render(request, "streams/topics.html", context | {"away": topics.away(error)})
    page = Paginator(found, ROWS).get_page(request.GET.get("page"))
    rows = [(one, topics.purpose(one.name), federation_of(one.name)) for one in page]
    return render(request, "streams/topics.html", context | {"page": page, "rows": rows})


@require_safe
@viewers_only
def topic_detail(request: HttpRequest, name: str) -> HttpResponse:
    """One topic: partitions, consumers with their lag, and its messages, the newest first unless `?from=` says."""
    where = topics.cluster(request.GET.get("at", ""))
    context: dict[str, Any] = {"name": name, "where": where, "purpose": topics.purpose(name)}
    context |= {"federation": federation_of(name), "reason": topics.kept_because([name])[name]}
    try:
        found = topics.inspection(where, name)
        if found is None:
            raise Http404
        context |= {"found": found, "total": sum(part.records for part in found.partitions)}
        context |= _messages(request, where, found)
    except LogError as error:
        context["away"] = topics.away(error)
    context["destroys"] = topics.destroys(name, context.get("total", 0))
    context["address"] = f"/api/topics/{name}/"
    return render(request, "streams/topic.html", context)


def _messages(request: HttpRequest, where: topics.KafkaCluster, found: Inspection) -> dict[str, Any]:
    numbers = [part.number for part in found.partitions]
    asked = number_of(request.GET.get("partition"))
    fullest = max(found.partitions, key=lambda part: part.records).number if numbers else 0
    number = asked if asked in numbers else fullest
    part = next(part for part in found.partitions if part.number == number)
    newest = max(part.first, part.end - topics.AT_ONCE)
    start = number_of(request.GET.get("from"), OFFSET_DIGITS)
    start = newest if start is None else max(part.first, min(start, newest))
    shown = list(topics.messages(where, found.name, number, start, part.end))
    end = shown[-1].offset + 1 if shown else part.end
    return {
        "part": part,
        "shown": shown[::-1],
        "start": start,
        "end": end,
        "older": max(part.first, start - topics.AT_ONCE) if start > part.first else None,
        "newer": end if end < part.end else None,
    }


@require_POST
@admins_only
def topic_delete(request: HttpRequest, name: str) -> HttpResponse:
    """Delete a topic of a federation that is over."""
    where = topics.cluster(request.POST.get("at", ""))
    try:
        topics.delete(where, name, request.POST.get("confirm", "").strip())
    except (Problem, LogError) as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('topic-page', args=[name])}?at={where.name}")
    messages.success(request, f"The topic {name} is deleted.")
    return redirect(f"{reverse('topic-list-page')}?at={where.name}")
