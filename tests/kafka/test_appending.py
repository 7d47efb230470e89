"""Appends of several threads through one producer: what decides goes first, and a failure leaves nobody waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mainstem.errors import LogError
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol.log import Outgoing
from mainstem.protocol.topics import MESSAGE_LIMIT, TopicSpec
from tests.support.patience import PATIENCE

MIB = bytes(1 << 20)


@pytest.fixture
def log(kafka: EmbeddedKafka) -> KafkaLog:
    """A log with a topic of two partitions, both of which are known."""
    log = KafkaLog(client_config(kafka.bootstrap_servers), timeout=PATIENCE)
    log.create_topics([TopicSpec("outbox", 2, {"max.message.bytes": str(MESSAGE_LIMIT)})])
    log.append("outbox", [Outgoing(b"first", partition=partition) for partition in (0, 1)])
    return log


def test_one_record_goes_ahead_of_long_appends(log: KafkaLog) -> None:
    """A record that another thread appends meanwhile stands in the midst of an append that is long; each in order."""
    started = threading.Event()

    def long() -> list[int]:
        def records() -> Iterator[Outgoing]:
            for number in range(60):
                yield Outgoing(MIB)
                if number == 4:
                    started.set()

        return log.append("outbox", records())

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(long)
        assert started.wait(PATIENCE)
        (decisive,) = log.append("outbox", [Outgoing(b"decides")])
        offsets = running.result(PATIENCE)
    assert offsets == sorted(offsets) and offsets[0] < decisive < offsets[-1]
    log.close()


def test_small_records_of_many_threads_all_arrive(log: KafkaLog) -> None:
    """Every record of 40 threads and two partitions gets an offset of its own."""

    def some(number: int) -> list[tuple[int, int]]:
        partition = number % 2
        records = [Outgoing(b"%d" % number * 1000, partition=partition) for _ in range(20)]
        return [(partition, offset) for offset in log.append("outbox", records)]

    with ThreadPoolExecutor(40) as threads:
        places = [place for found in threads.map(some, range(40)) for place in found]
    assert len(set(places)) == 800
    log.close()


def test_a_failed_append_leaves_nobody_waiting(log: KafkaLog) -> None:
    """A record too large for the topic fails at once; an append beside it ends soon, with offsets or a LogError."""
    with ThreadPoolExecutor(1) as threads:
        beside = threads.submit(log.append, "outbox", [Outgoing(MIB) for _ in range(40)])
        with pytest.raises(LogError):
            log.append("outbox", [Outgoing(bytes(MESSAGE_LIMIT + 1))])
        began = time.monotonic()
        problem = beside.exception(20)
    assert problem is None or isinstance(problem, LogError)
    assert time.monotonic() - began < 20
    assert len(log.append("outbox", [Outgoing(b"after")])) == 1, "a new producer took its place"
    log.close()


def test_an_append_whose_producer_was_given_up_fails_at_once(log: KafkaLog) -> None:
    """Also where all that it had sent so far was acknowledged, so that nothing of it was waiting."""

    def records() -> Iterator[Outgoing]:
        yield Outgoing(b"first")
        log.append("outbox", [Outgoing(b"after it: both are acknowledged")])
        with pytest.raises(LogError):
            log.append("outbox", [Outgoing(bytes(MESSAGE_LIMIT + 1))])
        yield Outgoing(b"second")

    with pytest.raises(LogError, match="given up after another append had failed"):
        log.append("outbox", records())
    assert len(log.append("outbox", [Outgoing(b"after")])) == 1
    log.close()


def test_a_new_topic_takes_every_record(kafka: EmbeddedKafka) -> None:
    """Records that follow a topic's creation at once are all there, in order, though its leader may not be ready."""
    log = KafkaLog(client_config(kafka.bootstrap_servers), timeout=PATIENCE)
    for number in range(25):
        topic = f"young-{number}"
        log.create_topics([TopicSpec(topic, 1, {})])
        assert log.append(topic, iter([Outgoing(bytes([n]) * 400_000) for n in range(6)])) == [*range(6)]
        assert [record.value[0] for record in log.read(topic, 0, 0, 6) if record.value] == [*range(6)]
        log.delete_topics([topic])
    log.close()
