"""Watches the projection for all open streams of this process: one thread and one query, however many people look."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import Error, connection

from backend.deployments.events import events
from backend.deployments.models import Deployment

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
FAULT_SECONDS = 2.0
KEPT = 256
"""Newest events of a federation that are kept for its streams; who is further behind reads the database."""

RESET = b"event: reset\ndata: {}\n\n"
"""The run's rows were made anew: read the page again."""
DELETED = b"event: deleted\ndata: {}\n\n"


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


class Hub:
    """All feeds of this process."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.alive: Callable[[], bool] = lambda: True
        """Whether the server goes on; the server's configuration sets it, streams end when it does not."""
        self._feeds: dict[str, Feed] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, deployment: Deployment) -> Iterator[Feed]:
        """The federation's feed while a stream needs it."""
        with self.changed:
            feed = self._feeds.setdefault(deployment.federation, Feed(deployment))
            feed.watchers += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="live-hub", daemon=True)
                self._thread.start()
        try:
            yield feed
        finally:
            with self.changed:
                feed.watchers -= 1
                if not feed.watchers and self._feeds.get(deployment.federation) is feed:
                    del self._feeds[deployment.federation]

    def _run(self) -> None:
        """Poll while anybody watches."""
        while self.alive():
            with self.changed:
                watched = dict(self._feeds)
                if not watched:
                    self._thread = None
                    break
            try:
                self._poll(watched)
                time.sleep(POLL_SECONDS)
            except Error as error:
                log.warning("live pages wait for the database: %s", error)
                connection.close()
                time.sleep(FAULT_SECONDS)
        connection.close()

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


hub = Hub()
