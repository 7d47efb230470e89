"""Federated learning on Kafka: the protocol, the round engine, aggregation and lineage."""
