"""A logger's settings from its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mainstem.api_token import token_from
from mainstem.environ import optional
from mainstem.errors import ConfigError

DEFAULT_API = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """Which Kafka, which backend, which token."""

    bootstrap: str
    client_config: str | None
    api: str
    token: Callable[[], str]

    @staticmethod
    def for_cloud(environ: Mapping[str, str]) -> LoggerSettings:
        """Of the logger that reads the cloud's Kafka; raises ConfigError naming the variable."""
        bootstrap = optional(environ, "KML_CLOUD_BOOTSTRAP_SERVERS")
        if bootstrap is None:
            raise ConfigError(
                "environment variable KML_CLOUD_BOOTSTRAP_SERVERS is missing: give the cloud Kafka's host:port"
            )
        return _settings(environ, bootstrap, "KML_CLOUD_CLIENT_CONFIG")

    @staticmethod
    def for_data(environ: Mapping[str, str]) -> LoggerSettings:
        """Of the logger that reads the data Kafka, which defaults to the cloud's; raises ConfigError."""
        data, cloud = (optional(environ, name) for name in ("DATA_BOOTSTRAP_SERVERS", "KML_CLOUD_BOOTSTRAP_SERVERS"))
        if data is None and cloud is None:
            raise ConfigError("environment variable DATA_BOOTSTRAP_SERVERS is missing: give the data Kafka's host:port")
        if data is None or data == cloud:  # one Kafka: its settings may be given once
            own = "DATA_CLIENT_CONFIG" if optional(environ, "DATA_CLIENT_CONFIG") else "KML_CLOUD_CLIENT_CONFIG"
            return _settings(environ, data or cloud or "", own)
        return _settings(environ, data, "DATA_CLIENT_CONFIG")


def _settings(environ: Mapping[str, str], bootstrap: str, properties: str) -> LoggerSettings:
    api = optional(environ, "MAINSTEM_API") or DEFAULT_API
    return LoggerSettings(bootstrap, optional(environ, properties), api, token_from(environ, "a logger's token"))
