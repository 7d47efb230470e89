"""Waiting for a new topic's leaders: a broker tells of a topic a moment before it takes records for it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from mainstem.kafka.client.admin import Administrator
from mainstem.kafka.client.cursor import PASSING

_YOUNG = PASSING | {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._NOENT,  # no partition has a leader yet, as where several brokers must agree on one
}

PATIENCE = 1.0
"""Seconds in which one client should have heard of them: then it has failed once (see `renewed`)."""


def await_leaders(admins: Administrator, topics: Mapping[str, int], timeout: float) -> None:
    """Return once every partition's leader answers for it; `topics` are their names and numbers of partitions.

    Records that are sent sooner are refused and sent again, which an idempotent producer does not do safely where it is
    not known yet (see `acknowledgement`). Raises KafkaException.
    """
    deadline = time.monotonic() + timeout
    end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = {TopicPartition(name, n): end for name, count in topics.items() for n in range(count)}
    while asked:
        try:
            with admins.lend() as admin:
                _ask(admin, asked, max(1.0, timeout / 4))
        except KafkaException as error:
            if error.args[0].code() not in _YOUNG or time.monotonic() > deadline:
                raise


def _ask(admin: AdminClient, asked: dict[TopicPartition, OffsetSpec], timeout: float) -> None:
    """Take from `asked` who answers; raises KafkaException where one does not for a while.

    A client may hold on to the leader before the last election, and be refused for it, for a quarter of an hour.
    """
    until = time.monotonic() + PATIENCE
    while asked:
        problem: KafkaException | None = None
        for target, future in admin.list_offsets(asked, request_timeout=timeout).items():
            try:
                future.result()
                del asked[target]
            except KafkaException as error:
                problem = error
                if error.args[0].code() not in _YOUNG:
                    raise
        if problem is not None:
            if time.monotonic() > until:
                raise problem
            time.sleep(0.02)
