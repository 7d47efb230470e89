"""What a Kafka holds of an announced stream: is it the topic that was announced, and how much of it can be read?

Offsets do not count records: compaction, aborted transactions and their markers leave gaps. So records are counted by
reading them, committed ones alone; `source` must read so (`KafkaLog(..., committed=True)`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mainstem.protocol.log import Streams, TopicIdentity
from mainstem.streams.announcement import StreamRange, exact


class Standing(StrEnum):
    """Whether a Job may train on a stream."""

    READY = "ready"
    WAITS = "waits"
    """Not yet: something that was announced is not there, or in a transaction that is open."""
    GONE = "gone"
    """Never again: records that were announced are deleted, or the topic is another one."""


@dataclass(frozen=True, slots=True)
class Survey:
    """How a stream stands. `notice` is a sentence for people: why no Job may train on it, or what is missing of it."""

    standing: Standing
    notice: str = ""
    topic_ids: Mapping[str, str] = field(default_factory=dict)
    """The ids of its topics, by name, as they were first seen."""
    readable: int | None = None
    """Its records that can be read; None of a stream without exact ranges, and where they were not counted."""


def survey(
    source: Streams,
    ranges: Sequence[StreamRange],
    *,
    announced: int | None = None,
    known: Mapping[str, str] | None = None,
    counted: int | None = None,
) -> Survey:
    """Look at a stream; raises LogError.

    `announced` is its `total_msg`, `known` its topics' ids where they were seen before. `counted` spares counting:
    what an earlier survey has counted of it, and cannot have changed unless a topic is compacted.
    """
    known = known or {}
    found = identities(source, ranges)
    ids = {name: topic.id for name, topic in found.items() if topic is not None} | dict(known)
    reason = replaced(found, known)
    if reason:
        return Survey(Standing.GONE, reason, ids, counted)
    missing = next((name for name, topic in found.items() if topic is None), None)
    if missing is not None:
        return Survey(Standing.WAITS, f"its topic {missing} does not exist yet", ids)
    if not exact(ranges):
        return Survey(Standing.READY, "", ids)
    return _count(source, ranges, found, ids, announced, counted)


def identities(source: Streams, ranges: Sequence[StreamRange]) -> dict[str, TopicIdentity | None]:
    """The topics that the ranges name, as they are now; raises LogError."""
    return {name: source.identify(name) for name in dict.fromkeys(part.topic for part in ranges)}


def replaced(found: Mapping[str, TopicIdentity | None], known: Mapping[str, str]) -> str:
    """Which topic is no longer the one of the known id, in a sentence; empty where all are."""
    for name, topic in found.items():
        if name in known and topic is None:
            return f"its topic {name} was deleted"
        if name in known and topic is not None and topic.id != known[name]:
            return f"its topic {name} was deleted and made again: other records are there now than were announced"
    return ""


def shortfall(announced: int, readable: int, compacted: bool | None) -> str:
    """`550 announced, 10 readable: the topic is compacted`, and so on; empty where nothing is missing."""
    if readable >= announced:
        return ""
    why = {
        True: "the topic is compacted",
        False: "the other offsets hold aborted transactions or markers",
        None: "the topic is compacted, or transactions were aborted",
    }[compacted]
    return f"{announced} announced, {readable} readable: {why}"


def _count(
    source: Streams,
    ranges: Sequence[StreamRange],
    found: Mapping[str, TopicIdentity | None],
    ids: Mapping[str, str],
    announced: int | None,
    counted: int | None,
) -> Survey:
    compacted = compaction(found)
    pieces: list[tuple[str, int, int, int]] = []
    span = deleted = 0
    for part in ranges:
        assert part.partition is not None and part.start is not None and part.end is not None
        if part.partition >= (count := source.partitions(part.topic)):
            return Survey(Standing.WAITS, f"its topic {part.topic} has {count} partitions, numbered from 0", ids)
        first, end = source.bounds(part.topic, part.partition)
        if part.end > end:
            reason = (
                f"it is announced up to offset {part.end} of {part.topic}:{part.partition}, and can be read up to "
                f"{end}: a transaction is open, or the rest is not written yet"
            )
            return Survey(Standing.WAITS, reason, ids)
        start = min(max(first, part.start), part.end)
        span, deleted = span + part.end - part.start, deleted + start - part.start
        pieces.append((part.topic, part.partition, start, part.end))
    if counted is None or deleted or compacted is not False:
        counted = sum(1 for piece in pieces for _ in source.read(*piece))
    announced = min(span, announced or span)
    if deleted:
        reason = f"{announced} announced, {counted} readable: {deleted} were deleted since (the topic's retention)"
        return Survey(Standing.GONE, reason, ids, counted)
    return Survey(Standing.READY if counted else Standing.GONE, shortfall(announced, counted, compacted), ids, counted)


def compaction(found: Mapping[str, TopicIdentity | None]) -> bool | None:
    """Whether one of the topics is compacted; None where that is not known of all."""
    told = {topic.compacted for topic in found.values() if topic is not None}
    return True if True in told else None if None in told else False
