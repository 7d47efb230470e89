"""Carrying control records from Kafka into the backend, at least once and in order: what both loggers share."""
