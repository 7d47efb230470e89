"""Sinks with Kafka-ML's names: `from inject_scripts.sinks.raw_sink import RawSink`, as in its `datasources`."""

from __future__ import annotations

from inject_scripts.sinks.avro_sink import AvroSink
from inject_scripts.sinks.federated_online_raw_sink import OnlineFederatedRawSink
from inject_scripts.sinks.federated_raw_sink import FederatedRawSink
from inject_scripts.sinks.online_raw_sink import OnlineRawSink
from inject_scripts.sinks.raw_sink import RawSink
from inject_scripts.sinks.sink import KafkaMLSink

__all__ = ["AvroSink", "FederatedRawSink", "KafkaMLSink", "OnlineFederatedRawSink", "OnlineRawSink", "RawSink"]
