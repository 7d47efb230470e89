"""Questions from one topic, answers to another: each question is answered exactly once for whoever reads committed.

The answers to a batch of questions and the position behind them are one Kafka transaction (KIP-98), which the broker
refuses from a member that has lost its place in the group (KIP-447). So a replica may die at any instruction. For
readers that take the ends of transactions for messages there is a way without: the position is committed behind answers
that are acknowledged, so that each question is answered at least once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from mainstem.errors import LogError
from mainstem.kafka.client.acknowledgement import acknowledged
from mainstem.kafka.client.cursor import PASSING
from mainstem.kafka.client.door import explanation
from mainstem.protocol.topics import MESSAGE_LIMIT
from mainstem.serving.spec import Answer, AnswerTally, Question, RecordPlace

OPEN_SECONDS: Final = 10
"""How long Kafka keeps a dead replica's transaction open; until then nobody reads past it."""
BATCH_BYTES: Final = 8 << 20
"""Of the questions that are taken at once."""
_TOO_LONG: Final = frozenset((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE))


class TooLongError(LogError):
    """Kafka takes no record as long as one of these answers; nothing was written, and they can be given again."""


class TopicExchange:
    """A member of the group that answers the topic `source` in the topic `sink`. For one thread.

    Every method may raise LogError; after one the exchange is good for `close` only: a new one goes on from the last
    position that was committed. `member` names it among its fellows, see `ServingSpec.member`.
    """

    def __init__(
        self,
        config: Mapping[str, str | int | float | bool],
        *,
        group: str,
        source: str,
        sink: str,
        member: str | None = None,
        timeout: float = 30.0,
        transactions: bool = True,
    ) -> None:
        self._source, self._sink, self._timeout, self._transactions = source, sink, timeout, transactions
        self._problem: KafkaError | None = None
        self._assignments = 0
        self._membership: Any = None
        self._tallies: dict[int, AnswerTally] = {}
        fenced = {
            "transactional.id": f"{group}-{member or secrets.token_hex(8)}",
            "transaction.timeout.ms": OPEN_SECONDS * 1000,
        }
        self._config = {**config, "group.id": group, **(fenced if transactions else {})}
        self._producer = Producer(
            {
                **config,
                **(fenced if transactions else {"enable.idempotence": True}),
                "linger.ms": 2,
                "message.max.bytes": MESSAGE_LIMIT,
                "partitioner": "murmur2_random",  # a key's answers stand where Kafka's own clients would put them
            }
        )
        self._consumer = Consumer(
            {
                **config,
                "group.id": group,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "partition.assignment.strategy": "range",  # all partitions are given anew: see `poll`
                "session.timeout.ms": 10_000,
                "heartbeat.interval.ms": 1_000,
                "max.poll.interval.ms": 600_000,
                "topic.metadata.refresh.interval.ms": 5_000,
                "allow.auto.create.topics": False,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": 4 << 20,
                "queued.max.messages.kbytes": 16 << 10,
            }
        )
        try:
            if transactions:
                self._producer.init_transactions(timeout)
            self._consumer.subscribe([source], on_assign=self._assigned, on_revoke=self._changed, on_lost=self._changed)
        except KafkaException as error:
            raise self._failure(sink, "Write", error) from error

    def poll(self, timeout: float, limit: int) -> list[Question]:
        """Up to `limit` questions of this member's partitions; waits at most `timeout` seconds for the first."""
        questions: list[Question] = []
        size, wait = 0, timeout
        while len(questions) < limit and size < BATCH_BYTES:
            before = self._assignments
            message = self._next(wait)
            if self._assignments != before:
                # what came before a change is another member's by now, or comes again: it was not committed
                questions, size = [], 0
            if message is None:
                break
            question = _question(message)
            questions.append(question)
            size += len(question.value or b"")
            wait = 0.0
        return questions

    def answer(self, answers: Sequence[Answer]) -> None:
        """Write the answers to the last questions and the position behind them, with transactions all or nothing.

        Raises TooLongError where a record is refused for its size.
        """
        try:
            if self._transactions:
                self._producer.begin_transaction()
            self._write([answer for answer in answers if not answer.silent])
            self._commit(self._positions(answers))
        except KafkaException as error:
            code = error.args[0].code()
            if code not in _TOO_LONG:
                raise self._failure(self._sink, "Write", error) from error
            if self._transactions:
                self._abort()
            raise TooLongError(f"{self._sink}: {error.args[0].str()}") from error
        for answer in answers:
            self._tallies[answer.place.partition] = self._tally(answer.place.partition) + AnswerTally(
                1, int(answer.refused)
            )

    def close(self) -> None:
        """Leave the group at once, so that another member takes over without waiting for a timeout."""
        self._consumer.close()
        self._producer.purge()
        self._producer.flush(0)

    def _failure(self, topic: str, operation: str, error: KafkaException) -> LogError:
        return LogError(f"{topic}: {explanation(self._config, error.args[0], operation, topic)}")

    # ------------------------------------------------------------ reading
    def _next(self, timeout: float) -> Message | None:
        try:
            message = self._consumer.poll(timeout)
        except KafkaException as error:
            raise self._failure(self._source, "Read", error) from error
        problem = None if message is None else message.error()
        if problem is None:
            return message
        if problem.code() not in PASSING and not problem.retriable():
            raise self._failure(self._source, "Read", KafkaException(problem))
        return None

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1
        # Taken now, not when it is used: a member that lost its place would be a stranger whom nobody checks.
        self._membership = consumer.consumer_group_metadata()
        self._tallies = {}
        consumer.assign(partitions)

    def _changed(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignments += 1

    # ------------------------------------------------------------ writing
    def _commit(self, positions: list[TopicPartition]) -> None:
        """Raises KafkaException."""
        if self._transactions:
            self._producer.send_offsets_to_transaction(positions, self._membership, self._timeout)
            self._producer.commit_transaction(self._timeout)
            return
        for kept in self._consumer.commit(offsets=positions, asynchronous=False) or []:
            if kept.error is not None:
                raise KafkaException(kept.error)

    def _write(self, answers: Sequence[Answer]) -> None:
        """Until they are acknowledged; raises KafkaException."""
        self._problem = None
        deadline = time.monotonic() + self._timeout
        for answer in answers:
            while True:
                try:
                    self._producer.produce(
                        self._sink, answer.value, answer.key, headers=list(answer.headers), on_delivery=self._delivered
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
                    if time.monotonic() > deadline:
                        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None
        if self._producer.flush(self._timeout):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        if self._problem is not None:
            raise KafkaException(self._problem)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        # what fails after the first fails because of it
        self._problem = self._problem or acknowledged(error, message)[0]

    def _abort(self) -> None:
        try:
            self._producer.abort_transaction(self._timeout)
        except KafkaException as error:
            raise self._failure(self._sink, "Write", error) from error

    def _positions(self, answers: Sequence[Answer]) -> list[TopicPartition]:
        """The offset behind each partition's last question, with the tally that holds from there on."""
        found: dict[int, tuple[int, AnswerTally]] = {}
        for answer in answers:
            place = answer.place
            _, before = found.get(place.partition, (0, self._tally(place.partition)))
            found[place.partition] = (place.offset + 1, before + AnswerTally(1, int(answer.refused)))
        return [TopicPartition(self._source, p, offset, tally.text()) for p, (offset, tally) in found.items()]

    def _tally(self, partition: int) -> AnswerTally:
        """What this member's predecessors and it have answered of a partition."""
        if partition not in self._tallies:
            (kept,) = self._consumer.committed([TopicPartition(self._source, partition)], self._timeout)
            self._tallies[partition] = AnswerTally.parse(kept.metadata)
        return self._tallies[partition]


def _question(message: Message) -> Question:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None and partition is not None and offset is not None
    headers = [(header[0], _bytes(header[1])) for header in message.headers() or []]
    return Question(RecordPlace(topic, partition, offset), _bytes(message.key()), _bytes(message.value()), headers)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
