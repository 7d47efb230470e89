"""The backend's connections to Kafka, one a process and cluster, made when they are first needed."""

from __future__ import annotations

import threading

from django.conf import settings

from mainstem.errors import ConfigError, LogError
from mainstem.kafka.client.config import Config, client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.runtime.endpoints import CLOUD_SERVERS, DATA_SERVERS

_lock = threading.Lock()
_log: KafkaLog | None = None
_streams: KafkaLog | None = None


def message_log() -> KafkaLog:
    """The shared log; raises LogError where no Kafka is configured. It waits KAFKA_SECONDS before it gives up."""
    global _log
    with _lock:
        if _log is None:
            _log = KafkaLog(cloud_config(), timeout=settings.KAFKA_SECONDS)
        return _log


def stream_log() -> KafkaLog:
    """The Kafka of the data streams, whose producers may use transactions; raises LogError likewise."""
    global _streams
    with _lock:
        if _streams is None:
            _streams = KafkaLog(data_config(), timeout=settings.KAFKA_SECONDS, committed=True)
        return _streams


def cloud_config() -> Config:
    """Settings of any client of the cloud's Kafka; raises LogError."""
    return _config(CLOUD_SERVERS, settings.KAFKA_BOOTSTRAP, settings.KAFKA_CLIENT_CONFIG)


def data_config() -> Config:
    """Settings of any client of the data streams' Kafka; raises LogError."""
    return _config(DATA_SERVERS, settings.DATA_BOOTSTRAP, settings.DATA_CLIENT_CONFIG)


def _config(name: str, servers: str, file: str | None) -> Config:
    if not servers:
        raise LogError(f"{name} is not set")
    try:
        return client_config(servers, file)
    except ConfigError as error:  # the operator's to mend, and not whose request it is
        raise LogError(str(error)) from error
