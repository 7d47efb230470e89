"""A long-lived client of Kafka that is made anew when it keeps failing."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from confluent_kafka import KafkaError, KafkaException

FAILURES: Final = 3
"""After so many failures in a row the next call is made by a new client."""

Client = TypeVar("Client")


class ReplacedClient(Generic[Client]):
    """Lends what `make` makes; safe to share between threads as far as the client is.

    A client that lived through a long stutter of its broker can be stuck for good ("Failed while waiting for
    controller") while a new one is answered at once. `close` ends one that is left, in a thread of its own: one that is
    stuck may never come back from it.
    """

    def __init__(self, make: Callable[[], Client], close: Callable[[Client], object] = lambda client: None) -> None:
        self._make, self._close = make, close
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._failures = 0

    @contextlib.contextmanager
    def lend(self) -> Iterator[Client]:
        """The client, which must not be used after the block: one that nobody holds fails its open requests."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            client = self._client
        try:
            yield client
        except KafkaException:
            self._failed(client)
            raise
        except TimeoutError as error:  # of a future: the client does not even say that it got no answer
            self._failed(client)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error
        self._failures = 0

    def _failed(self, client: Client) -> None:
        with self._lock:
            self._failures += 1
            if self._failures < FAILURES or self._client is not client:
                return
        self.renew()

    def renew(self) -> None:
        """The next call is made by a new client."""
        with self._lock:
            left, self._client, self._failures = self._client, None, 0
        if left is not None:
            threading.Thread(target=self._close, args=(left,), name="leaving a client", daemon=True).start()

    def close(self) -> None:
        """Free the client."""
        with self._lock:
            left, self._client = self._client, None
        if left is not None:
            self._close(left)
