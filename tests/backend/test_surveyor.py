"""The launcher's looks at streams, over a real database and a log in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from backend.launchers.jobs import matching
from backend.launchers.jobs.surveyor import AGAIN_SECONDS, Surveyor
from backend.launchers.models import Job
from backend.streams.models import DataSource
from mainstem.errors import LogError
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import stream_spec
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.backend.support import logged_in, text
from tests.backend.test_launch_jobs import federation, stream

pytestmark = [pytest.mark.backend, pytest.mark.django_db]


def announced(ranges: str = "site:0:0:10", **more: Any) -> DataSource:
    """A stream as its announcement leaves it."""
    source = stream(standing="", readable=None, stream_ids={}, surveyed_at=None, **more)
    DataSource.objects.filter(pk=source.pk).update(topic=ranges)
    return DataSource.objects.get(pk=source.pk)


class Site:
    """A site's Kafka with a topic of ten records, and what looks at it; `late` are seconds added to the clock."""

    def __init__(self) -> None:
        self.log = MemoryLog(SystemClock())
        self.away, self.late = False, 0.0
        self.fill()
        self._surveyor = Surveyor(self._connect, lambda: time.time() + self.late)

    def _connect(self) -> MemoryLog:
        if self.away:
            raise LogError("Kafka at site:9092 does not answer")
        return self.log

    def fill(self) -> None:
        """Make the topic and its records."""
        self.log.create_topics([stream_spec("site")])
        self.log.append("site", [Outgoing(b"x")] * 10)

    def look(self, late: float = 0.0) -> DataSource:
        """The newest stream after a step, so many seconds later."""
        self.late += late
        self._surveyor.step()
        return DataSource.objects.order_by("-pk")[0]


@pytest.fixture
def site() -> Site:
    """The Kafka of the data streams."""
    return Site()


def test_a_topic_made_anew_trains_nobody_that_opens_later(site: Site, user: Callable[[str], Any]) -> None:
    """Its id is remembered from the announcement on; the run that trained on the first one goes on."""
    federation("before00")
    source = announced()
    assert matching.match() == 0
    assert site.look().readable == 10 and matching.match() == 1
    assert Job.objects.get().records == 10
    site.log.delete_topics(["site"])
    site.fill()
    federation("after000")
    assert matching.match() == 0
    assert site.look().standing == "gone" and matching.match() == 0
    reasons = {fit["federation"]: fit["reason"] for fit in matching.explain(DataSource.objects.get())}
    assert "deleted and made again" in reasons["after000"]
    browser = logged_in(user("viewer"))
    assert "deleted and made again" in text(browser.get(f"/datasources/{source.pk}/"))
    for name in ("before00", "after000"):
        assert "deleted and made again" in browser.get(f"/api/deployments/{name}/").json()["notices"][0]
        assert "deleted and made again" in text(browser.get(f"/deployments/{name}/"))
    assert "made again" in browser.get(f"/api/jobs/{Job.objects.get().name}/").json()["notice"]


def test_what_is_not_there_yet_is_looked_at_again(site: Site) -> None:
    """Not at every step, and the stream says meanwhile what is missing."""
    deployment = federation()
    announced("site:0:0:15", total_msg=15)
    source = site.look()
    assert source.standing == "waits" and "can be read up to 10" in source.notice
    assert matching.explain(source)[0]["reason"].startswith("it waits: it is announced up to offset 15")
    assert matching.notices(deployment) == [f"stream {source.pk} (site:0:0:15): {source.notice}"]
    site.log.append("site", [Outgoing(b"x")] * 5)
    assert site.look().standing == "waits"
    assert site.look(AGAIN_SECONDS + 1).standing == "ready" and matching.match() == 1


def test_a_kafka_that_is_away_is_asked_again(site: Site) -> None:
    """Nothing is lost, and nothing starts meanwhile."""
    federation()
    announced()
    site.away = True
    source = site.look()
    assert source.notice == "Kafka does not tell what it holds: Kafka at site:9092 does not answer"
    assert matching.match() == 0
    site.away = False
    assert site.look(AGAIN_SECONDS + 1).notice == "" and matching.match() == 1


def test_streams_without_ends_are_not_counted(site: Site) -> None:
    """The Job waits for their records itself; incremental beside exact ranges changes nothing."""
    federation(data={"min_data": 11})
    announced("site", incremental=True, total_msg=None)
    assert site.look().readable is None and matching.match() == 1
    source = announced(incremental=True)
    assert site.look().readable == 10 and matching.match() == 0
    assert "10 records that can be read" in matching.explain(DataSource.objects.get(pk=source.pk))[0]["reason"]
