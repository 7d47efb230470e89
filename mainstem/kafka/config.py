"""librdkafka settings: ours, and those of a site's property file (TLS, SCRAM, ...)."""

from __future__ import annotations

from pathlib import Path

from mainstem.kafka.properties import read_properties


def client_config(bootstrap: str, properties: str | Path | None = None) -> dict[str, str | int | float | bool]:
    """Settings of any client of this cluster; raises ConfigError where the property file cannot be read.

    The file has `name=value` lines as librdkafka names them (`security.protocol`, `sasl.username`, ...).
    """
    config: dict[str, str | int | float | bool] = {
        "bootstrap.servers": bootstrap,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "socket.keepalive.enable": True,
        "log_level": 2,  # a broker that is away would fill the logs: LogError tells of it
    }
    return config | (read_properties(Path(properties)) if properties else {})
