"""What all sinks share: a stream's records, the offsets that they got, and its control message.

Class, argument and method names are Kafka-ML's (`datasources/sink.py`), so its users' scripts
change only their import line. What differs: ranges are exact, missing topics are created, failures
raise, and the default control topic is the one that Mainstem reads.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from inject_scripts.announcement import Deployment, control_message, control_spec, deployment_key, range_text
from mainstem.errors import ConfigError
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.stream_producer import StreamProducer
from mainstem.protocol.topics import DATA_CONTROL, stream_spec
from mainstem.runtime import endpoints

logger = logging.getLogger(__name__)

Value = bytes | str | float | None
"""What `send` turns into bytes: text is UTF-8, int and bool one byte, float four."""


class KafkaMLSink:
    """A sink of training data.

    Args:
        boostrap_servers: Kafka brokers, "host:port,..." or a list of them.
        topic: the data topic; created with one partition where it is missing.
        deployment_id: the control message's key. Kafka-ML's number means nobody in particular; a federation's id
            as text means that one alone.
        input_format: RAW, AVRO or JSON.
        description: text for people.
        dataset_restrictions: what the data are, as a dict or JSON text; a federation with the same
            restriction trains on them.
        validation_rate, test_rate: parts of the stream, 0 up to 1, kept for validation and test.
        control_topic: where the stream is announced. Kafka-ML's centralised sinks default to
            KAFKA_ML_CONTROL_TOPIC, which nothing of Mainstem reads.
        group_id: kept for compatibility; the offsets come from the producer, so no group is needed.
        unsupervised_topic: a topic of data without labels.

    `DATA_CLIENT_CONFIG` in the environment may name a librdkafka property file (TLS, SCRAM); for the brokers of
    `KML_CLOUD_BOOTSTRAP_SERVERS` that of `KML_CLOUD_CLIENT_CONFIG` counts without it.
    Raises ConfigError for bad arguments and LogError where Kafka does not answer.
    """

    def __init__(
        self,
        boostrap_servers: str | Iterable[str],
        topic: str,
        deployment_id: Deployment,
        input_format: str,
        description: str = "",
        dataset_restrictions: Mapping[str, Any] | str = "{}",
        validation_rate: float = 0,
        test_rate: float = 0,
        control_topic: str = DATA_CONTROL,
        group_id: str = "sink",
        unsupervised_topic: str | None = None,
    ) -> None:
        self.boostrap_servers = boostrap_servers if isinstance(boostrap_servers, str) else ",".join(boostrap_servers)
        self.topic = topic
        self.deployment_id = deployment_id
        self.input_format = input_format
        self.unsupervised_topic = unsupervised_topic or None
        self.description = description
        self.dataset_restrictions = dataset_restrictions
        self.validation_rate = validation_rate
        self.test_rate = test_rate
        self.control_topic = control_topic
        self.group_id = group_id
        self.total_messages = 0
        self.input_config: dict[str, Any] = {}
        self.announced = False
        self._key = deployment_key(deployment_id)
        # Whatever is wrong with the announcement should show before the data are sent, not after.
        self._control_message(topic, self.unsupervised_topic, None, incremental=True)
        kafka = endpoints.data({**os.environ, endpoints.DATA_SERVERS: self.boostrap_servers})
        self._producer = StreamProducer(client_config(kafka.servers, kafka.properties))
        self._producer.ensure_topic(control_spec(control_topic))
        for name in filter(None, (topic, self.unsupervised_topic)):
            self._producer.ensure_topic(stream_spec(name))

    # ------------------------------------------------------------ sending
    def send(self, data: Any, label: Any) -> None:
        """Queue a record with `data` as its value and `label` (unless None) as its key."""
        value = _to_bytes(data)
        if value is None:
            raise ConfigError("data is None; a record needs a value")
        self._producer.send(self.topic, value, _to_bytes(label))

    def send_value(self, data: Any) -> None:
        """Queue a record without a label."""
        KafkaMLSink.send(self, data, None)

    def unsupervised_send(self, data: Any) -> None:
        """Queue a record of the unsupervised topic; its key is one zero byte. Needs `unsupervised_topic`."""
        if self.unsupervised_topic is None:
            raise ConfigError("unsupervised_send needs the sink's unsupervised_topic")
        self._producer.send(self.unsupervised_topic, _to_bytes(data) or b"", b"\0")

    # ------------------------------------------------------------ announcing
    def send_control_msg(self) -> None:
        """Announce what was sent, as exact offset ranges, once all of it is acknowledged."""
        ranges = self._count()
        if not ranges:
            logger.warning("Nothing was sent to %s, so no stream is announced", self.topic)
            return
        unsupervised = None
        if self.unsupervised_topic is not None:
            unsupervised = range_text(self._producer.sent(self.unsupervised_topic)) or None
        self._announce(range_text(ranges), unsupervised, self.total_messages, incremental=False)

    def send_online_control_msg(self) -> None:
        """Announce a live stream: the bare topic, or the labelled ranges so far beside a live unsupervised topic."""
        if self.unsupervised_topic is None:
            self._announce(self.topic, None, None, incremental=True)
        else:
            ranges = range_text(self._count()) or self.topic
            self._announce(ranges, self.unsupervised_topic, self.total_messages, incremental=True)

    def close(self) -> None:
        """Wait for all acknowledgements, announce the stream, and free the connections."""
        self.send_control_msg()
        self._producer.close()

    def online_close(self) -> None:
        """Wait for all acknowledgements and free the connections; an online sink has announced before."""
        self._producer.close()
        if not self.announced:
            logger.warning("%s was never announced: call send_online_control_msg() before online_close()", self.topic)

    # ------------------------------------------------------------ describing
    def shape_to_string(self, out_shape: Any) -> str:
        """The shape of an array as "28 28", of a list as its length, "1" for anything else."""
        if isinstance(out_shape, list):
            return str(len(out_shape))
        shape = getattr(out_shape, "shape", ()) if not isinstance(out_shape, np.generic) else ()
        return " ".join(str(int(n)) for n in shape) or "1"

    def type_to_string(self, out_type: Any) -> str:
        """The name of an array's or number's type, such as "uint8"."""
        return np.asarray(out_type).dtype.name

    # ------------------------------------------------------------ inside
    def _count(self) -> tuple[Any, ...]:
        ranges = self._producer.sent(self.topic)
        self.total_messages = sum(r.count or 0 for r in ranges)
        logger.info("%d messages have been sent to Kafka", self.total_messages)
        return ranges

    def _control_message(self, topic: str, unsupervised: str | None, total: int | None, *, incremental: bool) -> bytes:
        return control_message(
            topic=topic,
            unsupervised_topic=unsupervised,
            input_format=self.input_format,
            description=self.description,
            dataset_restrictions=self.dataset_restrictions,
            input_config=self.input_config,
            validation_rate=self.validation_rate,
            test_rate=self.test_rate,
            total_msg=total,
            incremental=incremental,
        )

    def _announce(self, topic: str, unsupervised: str | None, total: int | None, *, incremental: bool) -> None:
        value = self._control_message(topic, unsupervised, total, incremental=incremental)
        partition, offset = self._producer.append(self.control_topic, value, self._key)
        self.announced = True
        logger.info("Announced %s at %s:%d:%d", topic, self.control_topic, partition, offset)


def _to_bytes(value: Value) -> bytes | None:
    """Kafka-ML's conversions; raises ConfigError for what it does not know."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool) or (isinstance(value, int) and 0 <= value <= 255):
        return bytes([value])
    if isinstance(value, float):
        return struct.pack("<f", value)
    if isinstance(value, str):
        return value.encode()
    raise ConfigError(f"a {type(value).__name__} ({value!r:.40}) cannot be sent as it is; send bytes")
