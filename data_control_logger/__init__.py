"""Carries announcements of data streams from the data Kafka into the backend."""
