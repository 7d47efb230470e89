"""A broker that comes back with an older copy of its data: whoever reads notices, and begins from what there is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from mainstem.errors import LogError, UnknownTopicError, UnreadableError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.group_source import GroupSource
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.batch import Batch
from mainstem.protocol.log import Cursor, Outgoing
from mainstem.protocol.topics import TopicSpec
from tests.support.older_copy import OlderCopy
from tests.support.patience import PATIENCE, until

pytestmark = pytest.mark.kafka

QUIET = 0.2
"""Seconds after which readers look."""


@dataclass
class Place:
    """A broker of the test's own, and a log whose readers look soon."""

    broker: EmbeddedKafka
    copy: OlderCopy
    log: KafkaLog

    def write(self, topic: str, *values: str, log: KafkaLog | None = None) -> None:
        """Append records."""
        (log or self.log).append(topic, [Outgoing(value.encode()) for value in values])

    def writes(self, topic: str, value: str) -> bool:
        """Whether an append is acknowledged: the broker does not know the producer any more."""
        try:
            self.write(topic, value)
        except LogError:
            return False
        return True

    def another(self) -> KafkaLog:
        """A log whose clients have seen nothing yet."""
        return KafkaLog(client_config(self.broker.bootstrap_servers), quiet=QUIET)


@pytest.fixture(params=["stopped", pytest.param("killed", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A broker that is stopped before it goes back, or killed."""
    with EmbeddedKafka(tmp_path / "kafka") as broker:
        kill = broker.kill if request.param == "killed" else None
        log = KafkaLog(client_config(broker.bootstrap_servers), quiet=QUIET)
        yield Place(broker, OlderCopy(broker, tmp_path / "kafka", tmp_path / "copy", kill), log)
        log.close()


def trouble(cursor: Cursor) -> LogError:
    """What the reader says, once it has noticed."""
    told: list[LogError] = []

    def noticed() -> bool:
        try:
            cursor.poll(QUIET)
        except LogError as error:
            told.append(error)
        return bool(told)

    until(noticed, what="a word of the reader")
    return told[0]


def taken(source: GroupSource, enough: Callable[[list[str]], bool]) -> list[str]:
    """Values as they come, until there are enough; each batch is committed."""
    values: list[str] = []

    def read() -> bool:
        batch: Batch | None = source.batch(QUIET)
        if batch is not None:
            values.extend((record.value or b"").decode() for record in batch.records)
            source.commit(batch)
        return enough(values)

    until(read, what="the delivery of all records")
    return values


def test_readers_notice_what_the_log_has_lost(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Cursors and a logger's source, behind an end that came back and behind one that has grown over it again."""
    place.log.create_topics([TopicSpec(name, 1, {}) for name in ("short", "grown")])
    for topic in ("short", "grown"):
        place.write(topic, *"ab")
    place.copy.take()
    for topic in ("short", "grown"):
        place.write(topic, *"cde")
    source = GroupSource(
        client_config(place.broker.bootstrap_servers), group="g", topics=["^(short|grown)$"], quiet=QUIET
    )
    with closing(source), closing(place.log.cursor("short", 0, 5)) as short:
        assert sorted(taken(source, lambda values: len(values) == 10)) == sorted("abcde" * 2)
        short.poll(QUIET)
        place.copy.go_back()
        with closing(place.another()) as other:
            place.write("grown", *"XYZ", log=other)
        error = trouble(short)
        assert isinstance(error, UnreadableError), error
        assert str(error).startswith("short ends at offset 2, before 5: Kafka was restored from an older copy")
        with caplog.at_level(logging.ERROR):
            again = taken(source, lambda values: set("abXYZ") <= set(values) and values.count("a") == 2)
        assert not set("cde") & set(again)
        assert "short:0 ends at offset 2, and reached 5 before: Kafka was restored from an older copy" in caplog.text
        until(lambda: place.writes("short", "f"), what="an append")  # by a writer that lived through it
        assert set(taken(source, bool)) == {"f"}


def test_a_topic_that_was_deleted_is_called_by_its_name(tmp_path: Path, kafka: EmbeddedKafka) -> None:
    """Its readers say that it does not exist, rather than wait; so does who asks for its bounds, or writes to it."""
    with closing(KafkaLog(client_config(kafka.bootstrap_servers), quiet=QUIET)) as log:
        log.create_topics([TopicSpec("doomed", 1, {})])
        log.append("doomed", [Outgoing(b"a")])
        with closing(log.cursor("doomed", 0, 0)) as cursor:
            assert len(cursor.poll(PATIENCE)) == 1
            with closing(KafkaLog(client_config(kafka.bootstrap_servers))) as other:
                other.delete_topics(["doomed"])
            error = trouble(cursor)
            assert isinstance(error, UnknownTopicError) and str(error) == "topic doomed does not exist"
        for ask in (lambda: log.bounds("doomed", 0), lambda: log.append("doomed", [Outgoing(b"b")])):
            with pytest.raises(UnknownTopicError, match="topic doomed does not exist"):
                ask()
