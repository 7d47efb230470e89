"""Deployments written to Kafka: the outbox, what opens a federation, the connections."""
