"""Carries federations' announcements and control records from the cloud's Kafka into the backend."""
