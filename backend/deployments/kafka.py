"""The backend's connection to the cloud's Kafka, one a process, made when it is first needed."""

from __future__ import annotations

import threading

from django.conf import settings

from mainstem.errors import LogError
from mainstem.kafka.config import client_config
from mainstem.kafka.log import KafkaLog
from mainstem.ports import MessageLog

_lock = threading.Lock()
_log: MessageLog | None = None


def message_log() -> MessageLog:
    """The shared log; raises LogError where no Kafka is configured. It waits KAFKA_SECONDS before it gives up."""
    global _log
    with _lock:
        if _log is None:
            if not settings.KAFKA_BOOTSTRAP:
                raise LogError("KML_CLOUD_BOOTSTRAP_SERVERS is not set")
            config = client_config(settings.KAFKA_BOOTSTRAP, settings.KAFKA_CLIENT_CONFIG or None)
            _log = KafkaLog(config, timeout=settings.KAFKA_SECONDS)
        return _log
