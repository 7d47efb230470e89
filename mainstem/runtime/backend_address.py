"""Where the backend is, as MAINSTEM_API says, and a connection to it with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from mainstem.errors import ConfigError
from mainstem.runtime.addresses import address


@dataclass(frozen=True, slots=True)
class BackendAddress:
    """`path` is what stands before `/api/`."""

    https: bool
    host: str
    port: int
    path: str

    @staticmethod
    def of(api: str) -> BackendAddress:
        """Raises ConfigError for what is no address."""
        parts = urlsplit(api)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"MAINSTEM_API is {api!r}; it must be an address such as http://127.0.0.1:8000")
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"MAINSTEM_API is {api!r}; its port is not a number") from error
        https = parts.scheme == "https"
        # without a port Python's client takes `::1` for host and port
        return BackendAddress(https, parts.hostname, port or (443 if https else 80), parts.path.rstrip("/"))

    def __str__(self) -> str:
        return f"{'https' if self.https else 'http'}://{address(self.host, self.port)}{self.path}"

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """A connection that waits `timeout` seconds at most; nothing is sent yet."""
        if self.https:
            return http.client.HTTPSConnection(
                self.host, self.port, timeout=timeout, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


def problem_of(content: bytes) -> str:
    """The sentence of an RFC 9457 answer, or its beginning."""
    try:
        value = json.loads(content)
        errors = "; ".join(f"{e['field']}: {e['message']}" for e in value.get("errors", []))
        return errors or str(value.get("detail") or value.get("title") or "no reason given")
    except (ValueError, TypeError, KeyError, AttributeError):
        return content[:200].decode("utf-8", "replace") or "no reason given"
