"""Looking for samples in everything that a Kafka holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.kafka.client.overview import topic_overviews

WINDOW, STEP = 64, 4
"""A sample is recognised by any 16 neighbouring float32 numbers of it that are not mostly zero."""


def records(servers: str) -> Iterator[tuple[str, bytes]]:
    """Every byte that a Kafka's topics hold: topic, and each record's key, value and headers."""
    log = KafkaLog(client_config(servers))
    try:
        for topic in topic_overviews(client_config(servers)):
            for partition in range(topic.partitions):
                for record in log.read(topic.name, partition, *log.bounds(topic.name, partition)):
                    for part in (record.key, record.value, *record.headers.values()):
                        yield topic.name, part or b""
    finally:
        log.close()


def windows(samples: Iterable[bytes]) -> set[bytes]:
    """Pieces of samples, every one that shows something: a quarter or more of its numbers are not zero."""
    pieces = {sample[at : at + WINDOW] for sample in samples for at in range(0, len(sample) - WINDOW + 1, STEP)}
    zero = bytes(STEP)
    return {p for p in pieces if sum(p[i : i + STEP] != zero for i in range(0, WINDOW, STEP)) >= WINDOW // STEP // 4}


def sightings(pieces: set[bytes], found: Iterable[tuple[str, bytes]]) -> dict[str, int]:
    """In which topics any of the pieces occurs, at whatever place in a record, and how often."""
    seen: dict[str, int] = {}
    anchors = {piece[:8] for piece in pieces}
    for topic, part in found:
        for at in range(len(part) - WINDOW + 1):
            if part[at : at + 8] in anchors and part[at : at + WINDOW] in pieces:
                seen[topic] = seen.get(topic, 0) + 1
    return seen
