"""What a delivery report really says."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message


def acknowledged(error: KafkaError | None, message: Message) -> tuple[KafkaError | None, int]:
    """The report's error, or the record's offset; a report of success that names no offset is an error.

    librdkafka takes the success of a later request for that of an earlier one whose fate it does not know, and reports
    it without an offset. It is wrong where a leader first heard of the producer by the later one: such a leader takes
    any sequence number (KIP-360), and the earlier record is in no log (seen with librdkafka 2.16 and Kafka 4 at topics
    that were just created).
    """
    offset = message.offset()
    if error is None and (offset is None or offset < 0):
        error = KafkaError(KafkaError._FAIL, "a record was acknowledged without its offset, so it may be lost")
    return error, -1 if offset is None else offset
