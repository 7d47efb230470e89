"""Watches the projection for all open streams of this process: one thread and one query, however many people look.

It also asks whether those who look still may: a stream ends with the session that it was opened in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import Error, connection

from backend.accounts.sessions import may_look
from backend.deployments.live.events import events
from backend.deployments.models import Deployment
from backend.gate.life import life

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
FAULT_SECONDS = 2.0
ADMIT_SECONDS = 2.0
"""How soon a stream notices that its session is over."""
KEPT = 256
"""Newest events of a federation that are kept for its streams; who is further behind reads the database."""


class Feed:
    """The newest events of one federation. Guarded by the hub's condition."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.floor = self.next = deployment.folded
        """Events with offsets in [floor, next) are in `kept`."""
        self.kept: deque[tuple[int, bytes]] = deque()
        self.watchers = 0
        self.resets = 0
        self.deleted = False

    def add(self, fresh: list[tuple[int, bytes]], until: int) -> None:
        """Take the events up to offset `until`."""
        self.kept.extend(fresh)
        self.next = until
        while len(self.kept) > KEPT:
            self.floor = self.kept.popleft()[0] + 1

    def reset(self, deployment: Deployment) -> None:
        """Start again from where the deployment now stands."""
        self.deployment = deployment
        self.floor = self.next = deployment.folded
        self.kept.clear()
        self.resets += 1


class FeedWatch:
    """What one stream watches, and whether its session still lets it. Guarded by the hub's condition."""

    def __init__(self, session: str, feeds: list[Feed]) -> None:
        self.session, self.feeds = session, feeds
        self.over = False


class Hub:
    """All feeds of this process."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.polled = float("-inf")
        """When the database last answered, by `time.monotonic`."""
        self._feeds: dict[str, Feed] = {}
        self._watches: set[FeedWatch] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, deployments: Iterable[Deployment], session: str) -> Iterator[FeedWatch]:
        """The federations' feeds while a stream of that session needs them."""
        with self.changed:
            feeds = [self._feeds.setdefault(one.federation, Feed(one)) for one in deployments]
            watch = FeedWatch(session, feeds)
            self._watches.add(watch)
            for feed in feeds:
                feed.watchers += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="live-hub", daemon=True)
                self._thread.start()
        try:
            yield watch
        finally:
            with self.changed:
                self._watches.discard(watch)
                for feed in feeds:
                    feed.watchers -= 1
                    federation = feed.deployment.federation
                    if not feed.watchers and self._feeds.get(federation) is feed:
                        del self._feeds[federation]

    def _run(self) -> None:
        """Poll while anybody watches."""
        admitted = time.monotonic()
        while life.alive():
            with self.changed:
                watched = dict(self._feeds)
                sessions = {watch.session for watch in self._watches}
                if not sessions:
                    self._thread = None
                    break
            try:
                self._poll(watched)
                if time.monotonic() - admitted >= ADMIT_SECONDS:
                    self._admit(sessions)
                    admitted = time.monotonic()
                self.polled = time.monotonic()
                time.sleep(POLL_SECONDS)
            except Error as error:
                log.warning("live pages wait for the database: %s", error)
                connection.close()
                time.sleep(FAULT_SECONDS)
        connection.close()

    def _admit(self, sessions: set[str]) -> None:
        """End the streams of sessions that are over."""
        over = {session for session in sessions if not may_look(session)}
        if over:
            with self.changed:
                for watch in self._watches:
                    watch.over = watch.over or watch.session in over
                self.changed.notify_all()

    def _poll(self, watched: dict[str, Feed]) -> None:
        found = {row.federation: row for row in Deployment.objects.filter(federation__in=watched).only(*STANDING)}
        for federation, feed in watched.items():
            row = found.get(federation)
            if row is None or _made_anew(feed.deployment, row):
                log.info("%s: its live pages begin anew", federation)
                with self.changed:
                    feed.deleted = row is None
                    if row is not None:
                        feed.reset(row)
                    self.changed.notify_all()
            elif row.folded > feed.next:
                fresh = list(events(row, feed.next - 1, row.folded))
                with self.changed:
                    feed.deployment = row  # with its first record it has learnt its topic's id
                    feed.add(fresh, row.folded)
                    self.changed.notify_all()


STANDING = ("federation", "cluster_id", "topic_id", "refolds", "folded")


def _made_anew(before: Deployment, row: Deployment) -> bool:
    """Whether the rows are other ones than before, or belong to another topic; not where none was known yet."""
    if (before.pk, before.refolds) != (row.pk, row.refolds):
        return True
    return bool(before.topic_id) and (before.cluster_id, before.topic_id) != (row.cluster_id, row.topic_id)


def made(row: Deployment) -> str:
    """Which making of the run's rows this is: a page that shows another one is read again."""
    return f"{row.pk}.{row.refolds}"


hub = Hub()
