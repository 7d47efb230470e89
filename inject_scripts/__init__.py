"""Putting data streams into Kafka and announcing them: Kafka-ML's sinks, and ready scripts.

from inject_scripts import RawSink                      # or inject_scripts.sinks.raw_sink
python -m inject_scripts.inject_dummy_training_data --help
python -m inject_scripts.inject_files --help
"""

from __future__ import annotations

from inject_scripts.sinks import (
    AvroSink,
    FederatedRawSink,
    KafkaMLSink,
    OnlineFederatedRawSink,
    OnlineRawSink,
    RawSink,
)

__all__ = ["AvroSink", "FederatedRawSink", "KafkaMLSink", "OnlineFederatedRawSink", "OnlineRawSink", "RawSink"]
