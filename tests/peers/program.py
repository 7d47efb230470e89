"""What programs of Kafka-ML's users do with kafka-python, written anew from what its package sends and reads.

Runs in an environment of its own (see `environments.py`), never in Mainstem's: one call as JSON on standard input, its
result as JSON on standard output. Bytes are base64 in both.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from base64 import b64decode, b64encode
from typing import Any

if sys.version_info >= (3, 12):
    # kafka-python 2.0.2 brings a six whose import hook these Pythons no longer ask; later releases need nothing
    try:
        import six.moves

        sys.modules["kafka.vendor.six.moves"] = six.moves
    except ImportError:
        pass

import avro.schema
import kafka
from avro.io import BinaryEncoder, DatumWriter
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

SETTINGS = "input_format description dataset_restrictions input_config validation_rate test_rate".split()


class Sink:
    """The calls that each of Kafka-ML's sinks makes, and in that order."""

    def __init__(self, servers: str, said: dict[str, Any]) -> None:
        self.said, self.total = said, 0
        self.consumer = KafkaConsumer(bootstrap_servers=servers, group_id="sink", enable_auto_commit=False)
        self.producer = KafkaProducer(bootstrap_servers=servers, request_timeout_ms=60000)
        self.starts = {name: self.ends(name) for name in (said["topic"], said["unsupervised_topic"]) if name}

    def ends(self, topic: str) -> dict[int, int]:
        """The end offset of each partition."""
        found: dict[int, int] = {}
        for number in self.consumer.partitions_for_topic(topic) or ():
            partition = TopicPartition(topic, number)
            self.consumer.assign([partition])
            self.consumer.seek_to_end(partition)
            found[number] = self.consumer.position(partition)
        return found

    def send(self, value: bytes, label: bytes) -> None:
        self.producer.send(self.said["topic"], key=label, value=value)

    def unsupervised_send(self, value: bytes) -> None:
        self.producer.send(self.said["unsupervised_topic"], key=bytes([0]), value=value)

    def count(self, topic: str) -> str:
        """The ranges by what the end offsets were and are; the total is the last counted topic's."""
        starts, ends = self.starts[topic], self.ends(topic)
        self.total = sum(end - starts.get(number, 0) for number, end in ends.items())
        return ",".join(f"{topic}:{number}:{starts.get(number, 0)}:{end}" for number, end in ends.items())

    def announce(self) -> None:
        """The control message at `close`, of exact ranges."""
        unlabelled = self.said["unsupervised_topic"]
        unsupervised = self.count(unlabelled) if unlabelled else None
        ranges = self.count(self.said["topic"])
        self._control({"topic": ranges, "unsupervised_topic": unsupervised, "total_msg": self.total}, incremental=False)

    def announce_live(self) -> None:
        """The control message of an online sink: a bare topic, or ranges beside a live topic without labels."""
        unlabelled = self.said["unsupervised_topic"]
        if unlabelled:
            live = {"topic": self.count(self.said["topic"]), "total_msg": self.total}
        else:
            live = {"topic": self.said["topic"], "total_msg": None}
        self._control({**live, "unsupervised_topic": unlabelled}, incremental=True)

    def _control(self, stream: dict[str, Any], incremental: bool) -> None:
        body = {**stream, **{name: self.said[name] for name in SETTINGS}, "incremental": incremental}
        key = _bytes(self.said["deployment_id"])
        self.producer.send(self.said["control_topic"], key=key, value=json.dumps(body).encode("utf-8"))
        self.producer.flush()

    def close(self) -> None:
        self.producer.flush()
        self.producer.close()
        self.consumer.close(autocommit=False)


def _bytes(value: int | float | str | None) -> bytes | None:
    """A key as Kafka-ML's sinks write it: a number up to 255 is one byte, a fraction four, text is UTF-8."""
    if isinstance(value, float):
        return struct.pack("f", value)
    return bytes([value]) if isinstance(value, int) else value.encode("utf-8") if value is not None else None


def _avro(schema: str, value: Any) -> bytes:
    """A datum without a header, by Avro's own library."""
    buffer = io.BytesIO()
    DatumWriter(avro.schema.parse(schema)).write(value, BinaryEncoder(buffer))
    return buffer.getvalue()


def sink(servers: str, said: dict[str, Any]) -> dict[str, Any]:
    """RawSink, FederatedRawSink, OnlineRawSink, OnlineFederatedRawSink and AvroSink differ in `announced` alone.

    `announced` is `at_close`, `first` (before the first sample), `after` (the labelled samples, before those without a
    label) or `never`; `samples` and `unlabelled` are sent in their order.
    """
    avro_schemes = said["input_config"] if said["input_format"] == "AVRO" else None
    samples = [
        (_avro(avro_schemes["data_scheme"], x), _avro(avro_schemes["label_scheme"], y))
        if avro_schemes
        else (b64decode(x), b64decode(y))
        for x, y in said["samples"]
    ]
    made = Sink(servers, said)
    if said["announced"] == "first":
        made.announce_live()
    for value, label in samples:
        made.send(value, label)
    made.producer.flush()
    if said["announced"] == "after":
        made.announce_live()
    for value in said["unlabelled"]:
        made.unsupervised_send(b64decode(value))
    made.producer.flush()
    if said["announced"] == "at_close":
        made.announce()
    made.close()
    return {}


def ask(servers: str, said: dict[str, Any]) -> dict[str, Any]:
    """An inference script's first half: values without a key; RAW, or by an Avro schema."""
    producer = KafkaProducer(bootstrap_servers=servers)
    for value in said["values"]:
        data = _avro(said["data_scheme"], value) if said["data_scheme"] else b64decode(value)
        producer.send(said["topic"], data)
    producer.flush()
    producer.close()
    return {}


def listen(servers: str, said: dict[str, Any]) -> dict[str, Any]:
    """Its second half, and how the loggers read: everything from the topics' first records on, until none comes.

    `settings` are more of the consumer's. Kafka-ML's scripts read from the end on; these must not miss anything.
    """
    consumer = KafkaConsumer(
        *said["topics"], bootstrap_servers=servers, group_id=said["group"], auto_offset_reset="earliest",
        enable_auto_commit=False, **said["settings"],
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    # a group may take a moment to be formed: the first record is waited for longer than those behind it
    while batch := consumer.poll(timeout_ms=1500 if found else 20000):
        found += [_record(record) for records in batch.values() for record in records]
    consumer.close()
    return {"records": sorted(found, key=lambda record: (record["topic"], record["partition"], record["offset"]))}


def _record(record: Any) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": _text(record.key),
        "value": _text(record.value),
        "headers": [[name, _text(value)] for name, value in record.headers],
    }


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def main() -> None:
    call = json.load(sys.stdin)
    result = {"sink": sink, "ask": ask, "listen": listen}[call["call"]](call["servers"], call["said"])
    json.dump({**result, "version": kafka.__version__}, sys.stdout)


if __name__ == "__main__":
    main()
