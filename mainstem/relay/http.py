"""Handing a batch to the backend's ingest endpoint over HTTP, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

from mainstem.errors import ConfigError
from mainstem.protocol.batch import Batch
from mainstem.relay.loop import FaultError, HandOverError, Receipt, UnacceptableError
from mainstem.runtime.backend_address import BackendAddress, problem_of

_HOPELESS = frozenset({400, 413, 415, 422})
"""Statuses that say something about the body, so that trying the same body again cannot help."""

_ANSWER_LIMIT = 4 << 20


class Ingest:
    """One keep-alive connection to `<api><path>`; made anew after every failure.

    `token` is asked for each batch, so that a rotated one is picked up. Raises ConfigError for a bad address.
    """

    def __init__(self, api: str, path: str, token: Callable[[], str], *, timeout: float = 30.0) -> None:
        self._backend = BackendAddress.of(api)
        self._path = self._backend.path + path
        self._where = f"{self._backend}{path}"
        self._health = self._backend.path + "/api/health/"
        self._token = token
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, batch: Batch) -> Receipt:
        """Post the batch; raises HandOverError, FaultError or UnacceptableError as `loop.HandOver` says."""
        body = json.dumps(batch.body()).encode()
        try:
            status, content = self._post(body)
        except ConfigError as error:  # the token's file, read anew
            raise HandOverError(str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise HandOverError(f"cannot reach {self._where}: {error or type(error).__name__}") from error
        if 200 <= status < 300:
            return _answer(content)
        self.close()
        problem = problem_of(content)
        if status in _HOPELESS:
            raise UnacceptableError(f"status {status}: {problem}")
        if status in (401, 403):
            raise HandOverError(
                f"{self._where} refuses the token of MAINSTEM_TOKEN (status {status}): "
                f"give one of a user with the role logger ({problem})"
            )
        kind = FaultError if status == 500 else HandOverError
        raise kind(f"{self._where} answered with status {status}: {problem}")

    def healthy(self) -> bool:
        """Whether the backend can reach its database, by its own word."""
        connection = self._connect()
        try:
            connection.request("GET", self._health)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def close(self) -> None:
        """Free the connection; the next batch opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {
            "Authorization": f"Token {self._token()}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if self._connection is not None:
            try:
                return self._exchange(self._connection, body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()  # the server closed an idle connection: that is no failure, and a repeat is harmless
        self._connection = self._connect()
        return self._exchange(self._connection, body, headers)

    def _connect(self) -> http.client.HTTPConnection:
        return self._backend.connect(self._timeout)

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection.request("POST", self._path, body, headers)
        response = connection.getresponse()
        content = response.read(_ANSWER_LIMIT)
        return response.status, content


def _answer(content: bytes) -> Receipt:
    try:
        value = json.loads(content)
        refused = [_sentence(entry) for entry in value.get("refused", [])]
        return Receipt(int(value["accepted"]), int(value["duplicates"]), refused)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HandOverError(f"the answer is not one of Mainstem's backend: {content[:200]!r}") from error


def _sentence(entry: dict[str, Any]) -> str:
    topic, partition = entry.get("topic", ""), entry.get("partition", "")
    return f"{topic}[{partition}]@{entry.get('offset')}: {entry.get('reason')}"
