"""`/events/`: what happens in the runs that a browser's pages show, as it comes, for as long as somebody looks."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from backend.accounts.pages import viewers_only
from backend.accounts.roles import user_of
from backend.deployments.live.events import events
from backend.deployments.live.hub import STANDING, Feed, hub, made
from backend.deployments.models import Deployment
from backend.gate.life import life
from backend.gate.places import Places

BEAT_SECONDS = 3.0
"""After so long without an event the stream says that it still hears the database; pages wait 10 s for it."""
WAKE_SECONDS = 1.0
"""How soon a stream notices that its reader, or the server, is gone."""
MOST = 64
"""Runs that one stream tells of."""
RUN = re.compile(r"(?P<run>[a-z0-9]{8})(:(?P<after>-1|[0-9]{1,18})(:(?P<made>[0-9]{1,18}\.[0-9]{1,18}))?)?")
"""-1: from the first record on."""
RETRY = b"retry: 1000\n\n"
BEAT = b"event: beat\ndata: {}\n\n"
OUT = b"event: out\ndata: {}\n\n"
"""The session that the stream was opened in is over."""
REFUSED_SECONDS = 5

_places = Places(settings.LIVE_STREAMS, settings.LIVE_STREAMS_EACH)


@dataclass(frozen=True, slots=True)
class PagePosition:
    """A run, and what its page shows of it: the events up to offset `after`, of rows made as `made` says."""

    run: str
    after: int | None
    made: str


@require_GET
@viewers_only
def live(request: HttpRequest) -> HttpResponseBase:
    """Server-sent events of each `?run=FEDERATION:AFTER:MADE`, after that offset (without it, from now on).

    `?once` answers with what there is and ends. A stream holds a thread of the server: when all places are taken, or
    all that one person may have, it answers 503, and the browser asks with `?once` from time to time instead.
    """
    asked = _asked(request)
    if not 0 < len(asked) <= MOST:
        said = f"Name 1 to {MOST} runs, each as run=FEDERATION:OFFSET, the offset being that of the last event seen.\n"
        return HttpResponse(said, "text/plain", status=400)
    found = {row.federation: row for row in Deployment.objects.filter(federation__in=asked).only(*STANDING)}
    first = b"".join(_changed(one, found.get(one.run)) for one in asked.values())
    positions = {
        row: row.folded if (after := asked[run].after) is None else after + 1
        for run, row in found.items()
        if asked[run].made in ("", made(row))
    }
    if "once" in request.GET:
        return EventResponse(_once(first, positions))
    if refusal := _places.take(user_of(request).pk):
        headers = {"Retry-After": str(REFUSED_SECONDS)}
        return HttpResponse(f"Live streams: {refusal}\n", "text/plain", status=503, headers=headers)
    gone = getattr(request.META.get("gunicorn.socket"), "gone", lambda: False)
    return EventStream(_told(first, positions, request.session.session_key or "", gone), user_of(request).pk)


class EventResponse(StreamingHttpResponse):
    """Events."""

    def __init__(self, told: Iterator[bytes]) -> None:
        super().__init__(told, content_type="text/event-stream")
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"  # a proxy passes each event on at once


class EventStream(EventResponse):
    """Gives its place back when it is closed, also where nobody ever read from it."""

    def __init__(self, told: Iterator[bytes], person: int) -> None:
        super().__init__(told)
        self._placed, self._person = True, person

    def close(self) -> None:
        """End the stream."""
        if self._placed:
            self._placed = False
            _places.give_back(self._person)
        super().close()


def _asked(request: HttpRequest) -> dict[str, PagePosition]:
    """What is asked for, by run; empty where one of it cannot be read. The last event's id is newer than its offset."""
    found: dict[str, PagePosition] = {}
    for text in request.GET.getlist("run"):
        read = RUN.fullmatch(text)
        if read is None:
            return {}
        after = None if read["after"] is None else int(read["after"])
        found[read["run"]] = PagePosition(read["run"], after, read["made"] or "")
    last = RUN.fullmatch(request.headers.get("Last-Event-ID", ""))
    if last is not None and last["after"] is not None and last["run"] in found:
        found[last["run"]] = PagePosition(last["run"], int(last["after"]), found[last["run"]].made)
    return found


def _changed(asked: PagePosition, row: Deployment | None) -> bytes:
    """What the page must know before any event."""
    if row is None:
        return _ended("deleted", asked.run)
    return b"" if asked.made in ("", made(row)) else _ended("reset", asked.run)


def _ended(kind: str, run: str) -> bytes:
    """A run of which nothing more is told: it was `deleted`, or its rows were made anew (`reset`: read them again)."""
    return b'event: %s\ndata: "%s"\n\n' % (kind.encode(), run.encode())


def _once(first: bytes, positions: dict[Deployment, int]) -> Iterator[bytes]:
    yield first + BEAT
    for deployment, position in positions.items():
        for _, event in events(deployment, position - 1, deployment.folded):
            yield event


class FeedReader:
    """Goes along a feed, from a position on. Used under the hub's condition."""

    def __init__(self, feed: Feed, position: int) -> None:
        self._feed, self._position, self._resets = feed, position, feed.resets
        self.ended = False
        """Whether nothing more comes of this run."""

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        feed = self._feed
        return feed.deleted or feed.resets != self._resets or feed.next > self._position

    def take(self) -> Iterable[bytes]:
        """What is new, to be read once the condition is released."""
        feed, start = self._feed, self._position
        if feed.deleted or feed.resets != self._resets:
            self.ended = True
            return [_ended("deleted" if feed.deleted else "reset", feed.deployment.federation)]
        self._position = max(start, feed.next)
        if start < feed.floor:
            return _caught_up(feed.deployment, start, feed.next)
        fresh = b"".join(event for offset, event in feed.kept if offset >= start)
        return [fresh] if fresh else []


def _told(first: bytes, positions: dict[Deployment, int], session: str, gone: Callable[[], bool]) -> Iterator[bytes]:
    """Each run's events from its offset on, beats between them."""
    connection.close()  # the view's: a stream that waits has none
    with hub.watching(positions, session) as watch:
        readers = [FeedReader(feed, position) for feed, position in zip(watch.feeds, positions.values(), strict=True)]
        said = time.monotonic()
        yield RETRY + first
        while readers and life.alive() and not gone():
            with hub.changed:
                if not watch.over and not any(reader.has_news for reader in readers):
                    hub.changed.wait(WAKE_SECONDS)
                over, taken = watch.over, [reader.take() for reader in readers]
            if over:
                yield OUT
                return
            for event in itertools.chain.from_iterable(taken):
                yield event
                said = time.monotonic()
            readers = [reader for reader in readers if not reader.ended]
            now = time.monotonic()
            if now - said > BEAT_SECONDS and now - hub.polled < BEAT_SECONDS:
                yield BEAT
                said = now


def _caught_up(deployment: Deployment, position: int, until: int) -> Iterator[bytes]:
    """What the feed no longer holds, from the database; its connection is not kept while the stream waits."""
    try:
        for _, event in events(deployment, position - 1, until):
            yield event
    finally:
        connection.close()
