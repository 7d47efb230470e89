"""An admin client that is made anew when it keeps failing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

FAILURES: Final = 3
"""After so many failures in a row the next call is made by a new client."""


class Administrator:
    """Lends an `AdminClient`; safe to share between threads.

    A client that lived through a long stutter of its broker can be stuck for good ("Failed while waiting for
    controller") while a new one is answered at once.
    """

    def __init__(self, config: Mapping[str, str | int | float | bool]) -> None:
        self._config = dict(config)
        self._lock = threading.Lock()
        self._client: AdminClient | None = None
        self._failures = 0

    @contextlib.contextmanager
    def lend(self) -> Iterator[AdminClient]:
        """A client, which must not be used after the block: one that nobody holds fails its open requests."""
        with self._lock:
            if self._client is None:
                self._client = AdminClient(self._config)
            client = self._client
        try:
            yield client
        except KafkaException:
            self._failed(client)
            raise
        self._failures = 0

    def _failed(self, client: AdminClient) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES and self._client is client:
                self._client, self._failures = None, 0

    def close(self) -> None:
        """Free the client."""
        with self._lock:
            self._client = None
