"""Our ports over Kafka's client library, and who may speak to it."""
