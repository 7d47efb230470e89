"""Waiting for a new topic's leaders: a broker tells of a topic a moment before it takes records for it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from mainstem.kafka.cursor import PASSING

_YOUNG = PASSING | {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}


def await_leaders(admin: AdminClient, topics: Mapping[str, int], timeout: float) -> None:
    """Return once every partition's leader answers for it; `topics` are their names and numbers of partitions.

    Records that are sent sooner are refused and sent again, which an idempotent producer does not do safely where it is
    not known yet (see `acknowledgement`). Raises KafkaException.
    """
    deadline = time.monotonic() + timeout
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(name, n): end for name, count in topics.items() for n in range(count)}
    while asked:
        for target, future in admin.list_offsets(asked, request_timeout=timeout).items():
            try:
                future.result()
                del asked[target]
            except KafkaException as error:
                if error.args[0].code() not in _YOUNG or time.monotonic() > deadline:
                    raise
        if asked:
            time.sleep(0.02)
