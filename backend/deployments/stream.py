"""`/deployments/{federation}/events/`: a run's events as they come, for as long as somebody looks."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from backend.accounts.pages import viewers_only
from backend.accounts.roles import user_of
from backend.deployments.events import events
from backend.deployments.hub import DELETED, RESET, STANDING, Feed, hub
from backend.deployments.models import Deployment
from backend.gate.places import Places

HEARTBEAT_SECONDS = 5.0
"""A reader that has gone is noticed at the second heartbeat after."""
WAKE_SECONDS = 1.0
"""How soon a stream notices that the server ends."""
OFFSET = re.compile(r"-1|[0-9]{1,18}")
"""-1: from the first record on."""
RETRY = b"retry: 1000\n\n"
HEARTBEAT = b": still here\n\n"

_places = Places(settings.LIVE_STREAMS, settings.LIVE_STREAMS_EACH)


@require_GET
@viewers_only
def live(request: HttpRequest, federation: str) -> HttpResponseBase:
    """Server-sent events after `Last-Event-ID` (or `?after=`); without either, from now on.

    A stream holds a thread of the server. When all places are taken, or all that one person may have, it answers 503,
    and the page tries again.
    """
    deployment = get_object_or_404(Deployment.objects.only(*STANDING), federation=federation)
    asked = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    position = int(asked) + 1 if OFFSET.fullmatch(asked) else deployment.folded
    if refusal := _places.take(user_of(request).pk):
        headers = {"Retry-After": "5"}
        return HttpResponse(f"Live streams: {refusal}\n", "text/plain", status=503, headers=headers)
    return Stream(deployment, position, user_of(request).pk)


class Stream(StreamingHttpResponse):
    """The answer; gives its place back when it is closed, also where nobody ever read from it."""

    def __init__(self, deployment: Deployment, position: int, person: int) -> None:
        super().__init__(_told(deployment, position), content_type="text/event-stream")
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"  # a proxy passes each event on at once
        self._placed, self._person = True, person

    def close(self) -> None:
        """End the stream."""
        if self._placed:
            self._placed = False
            _places.give_back(self._person)
        super().close()


def _told(deployment: Deployment, position: int) -> Iterator[bytes]:
    """Events from offset `position` on, heartbeats between them."""
    with hub.watching(deployment) as feed:
        resets, said = feed.resets, time.monotonic()
        yield RETRY
        while hub.alive():
            with hub.changed:
                if not _news(feed, position, resets):
                    hub.changed.wait(WAKE_SECONDS)
                deleted, reset = feed.deleted, feed.resets != resets
                until, behind = feed.next, position < feed.floor
                fresh = b"".join(event for offset, event in feed.kept if offset >= position)
            if deleted or reset:
                yield DELETED if deleted else RESET
                return
            if behind:
                yield from _caught_up(feed.deployment, position, until)
            elif fresh:
                yield fresh
            if until > position or time.monotonic() - said > HEARTBEAT_SECONDS:
                if not (behind or fresh):
                    yield HEARTBEAT
                said = time.monotonic()
            position = max(position, until)


def _news(feed: Feed, position: int, resets: int) -> bool:
    return feed.deleted or feed.resets != resets or feed.next > position


def _caught_up(deployment: Deployment, position: int, until: int) -> Iterator[bytes]:
    """What the feed no longer holds, from the database; its connection is not kept while the stream waits."""
    try:
        for _, event in events(deployment, position - 1, until):
            yield event
    finally:
        connection.close()
