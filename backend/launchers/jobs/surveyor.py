"""Asks the site's Kafka what it holds of the announced streams, and remembers it: matching and Jobs go by that.

Part of the launcher process, in a loop of its own: counting reads a stream once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.db.models import Q, QuerySet

from backend.launchers.jobs.matching import open_federations
from backend.launchers.models import JobState
from backend.streams import intake
from backend.streams.models import DataSource
from mainstem.errors import OLDER, MainstemError
from mainstem.protocol.log import Streams
from mainstem.protocol.topics import DATA_CONTROL
from mainstem.streams.survey import Standing, survey

log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
"""Between two looks at a stream that waits, or that a Job may have to be started on once more."""

AT_REST = (JobState.SUCCEEDED, JobState.FAILED)


class Surveyor:
    """One look at every stream that is due, at a time. `now` is seconds since the epoch. Not for several threads."""

    def __init__(self, connect: Callable[[], Streams], now: Callable[[], float] = time.time) -> None:
        self._connect, self._now = connect, now
        self._announced = float("-inf")

    def step(self) -> None:
        """Look at the streams that are due, up to the first that Kafka tells nothing of: the next step goes on."""
        if self._now() > self._announced + AGAIN_SECONDS and DataSource.objects.exists():
            self._announced = self._now()
            self._drop_unannounced()
        for pk in list(self._due().order_by("id").values_list("pk", flat=True)):
            source = DataSource.objects.get(pk=pk)
            try:
                self._look(source)
            except MainstemError as error:
                log.warning("stream %s: %s", source.topic[:100], error)
                self._keep(source, standing=Standing.WAITS, notice=f"Kafka does not tell what it holds: {error}")
                return

    def _drop_unannounced(self) -> None:
        """Forget streams whose announcement lies behind the end that the announcements' topic has now."""
        try:
            source = self._connect()
            topic = source.identify(DATA_CONTROL)
            end = source.bounds(DATA_CONTROL, 0)[1] if topic is not None else 0
        except MainstemError as error:
            log.warning("%s: %s", DATA_CONTROL, error)
            return
        if topic is not None:
            for lost in DataSource.objects.filter(topic_id=topic.id, partition=0, offset__gte=end):
                intake.forget(lost, f"{DATA_CONTROL} ends at offset {end}, before its announcement: {OLDER}")

    def _due(self) -> QuerySet[DataSource]:
        """New streams; those that a federation may want that opened since; those that may have changed meanwhile."""
        streams = DataSource.objects.filter(problem="").exclude(standing=Standing.GONE)
        opened = [deployment.created_at for deployment in open_federations()]
        if not opened:
            return streams.filter(surveyed_at=None)
        unsure = Q(standing=Standing.WAITS) | (Q(jobs__isnull=False) & ~Q(jobs__state__in=AT_REST))
        before = self._time() - timedelta(seconds=AGAIN_SECONDS)
        due = Q(surveyed_at=None) | Q(surveyed_at__lt=max(opened)) | (unsure & Q(surveyed_at__lt=before))
        return streams.filter(due).distinct()

    def _look(self, source: DataSource) -> None:
        began = self._time()
        found = survey(
            self._connect(),
            source.announcement.ranges,
            announced=source.total_msg,
            known=source.stream_ids,
            counted=source.readable,
        )
        if (found.standing, found.notice) != (source.standing, source.notice):
            log.info("stream %s is %s %s", source.topic[:100], found.standing, found.notice)
        ids = dict(found.topic_ids)
        self._keep(
            source, standing=found.standing, notice=found.notice, stream_ids=ids, readable=found.readable, began=began
        )

    def _keep(self, source: DataSource, began: datetime | None = None, **fields: object) -> None:
        DataSource.objects.filter(pk=source.pk).update(surveyed_at=began or self._time(), **fields)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)
