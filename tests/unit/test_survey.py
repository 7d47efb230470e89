"""What can be read of an announced stream: counted, told in a sentence, and never mistaken for another topic's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import stream_spec
from mainstem.runtime.clock import SystemClock
from mainstem.streams.announcement import parse_ranges
from mainstem.streams.survey import Standing, shortfall, survey
from mainstem.testing.memory_log import MemoryLog

RANGES = parse_ranges("site:0:0:10")


@pytest.fixture
def log() -> MemoryLog:
    """A topic of ten records."""
    log = MemoryLog(SystemClock())
    log.create_topics([stream_spec("site")])
    log.append("site", [Outgoing(b"x")] * 10)
    return log


def test_a_whole_stream_is_ready_and_its_topic_is_remembered(log: MemoryLog) -> None:
    """All records are there: nothing to tell people."""
    found = survey(log, RANGES, announced=10)
    identity = log.identify("site")
    assert identity is not None
    assert (found.standing, found.notice, found.readable) == (Standing.READY, "", 10)
    assert found.topic_ids == {"site": identity.id}


def test_a_topic_of_the_same_name_is_another_one(log: MemoryLog) -> None:
    """Deleted, and made again with as many records: gone, and for good."""
    known = survey(log, RANGES).topic_ids
    log.delete_topics(["site"])
    assert survey(log, RANGES, known=known).notice == "its topic site was deleted"
    log.create_topics([stream_spec("site")])
    log.append("site", [Outgoing(b"y")] * 10)
    found = survey(log, RANGES, known=known, counted=10)
    assert found.standing is Standing.GONE and "made again" in found.notice and found.topic_ids == known


def test_what_retention_took_is_counted(log: MemoryLog) -> None:
    """The range no longer holds what was announced."""
    log.delete_records("site", 0, 4)
    found = survey(log, RANGES, announced=10, counted=10)
    assert found.standing is Standing.GONE and found.readable == 6
    assert found.notice == "10 announced, 6 readable: 4 were deleted since (the topic's retention)"


def test_what_is_not_there_yet_is_waited_for(log: MemoryLog) -> None:
    """A topic that nobody has made, a partition and offsets that nobody has written to."""
    for text, word in (("other:0:0:5", "not exist yet"), ("site:3:0:5", "1 partitions"), ("site:0:5:15", "up to 10")):
        found = survey(log, parse_ranges(text))
        assert found.standing is Standing.WAITS and word in found.notice
    assert survey(log, parse_ranges("site")) == replace(survey(log, RANGES), readable=None)


def test_what_is_missing_is_told_with_its_reason() -> None:
    """The sentence of the stream's page."""
    assert shortfall(550, 10, True) == "550 announced, 10 readable: the topic is compacted"
    assert "aborted" in shortfall(500, 380, False) and "or" in shortfall(500, 380, None)
    assert shortfall(380, 380, True) == shortfall(10, 12, False) == ""
