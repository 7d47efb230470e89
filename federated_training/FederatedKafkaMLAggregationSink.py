"""The source document's name for `federated_training.job.sink`."""

from federated_training.job.sink import FederatedKafkaMLAggregationSink

__all__ = ["FederatedKafkaMLAggregationSink"]
