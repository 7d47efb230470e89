"""The source document's name for `federated_training.engines.keras.engine`."""

from federated_training.engines.keras.engine import KafkaModelEngine, use_threads

__all__ = ["KafkaModelEngine", "use_threads"]
