"""What was witnessed of a federation's log: the backend's word, and what this worker has read itself.

The backend's database is another place than the log, so that who takes records from the one does not take them from
the other. It may be away for long; then the log is believed until it answers, as it is where no backend is named.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from mainstem.errors import ConfigError
from mainstem.protocol.witness import Witness, objection_to, witness_of
from mainstem.runtime.api_token import token_from
from mainstem.runtime.backend_address import BackendAddress, problem_of
from mainstem.runtime.environ import optional

log = logging.getLogger("mainstem.aggregator")

ANSWER_SECONDS = 2.0
"""So long an answer may take."""
GRACE_SECONDS = 20.0
"""So long after it was found away a backend is waited for, which may have been started together with this worker."""
AGAIN_SECONDS = (0.5, 10.0)
"""A backend that did not answer is not asked before: while it is waited for, and after that."""
PAUSE_SECONDS = 2.0
"""Between two questions about a federation that stands still, whose log is read anew each time."""
_LARGEST = 1 << 20


class Word(msgspec.Struct, frozen=True):
    """What the backend says: `witness` is None where it has none, `accepted` the number of the newest acceptance.

    `silent`: it says nothing, and is not waited for.
    """

    witness: Witness | None = None
    accepted: int = 0
    silent: bool = False


Ask = Callable[[str], Word | None]
"""A federation's word; None where it should be waited for."""


def nobody(federation: str) -> Word:
    """Where no backend is named there is no witness."""
    return Word()


class BackendWitness:
    """Asks `GET /api/deployments/{id}/witness/`; for any thread. `now` is seconds since any beginning."""

    def __init__(
        self, api: str, token: Callable[[], str], *, timeout: float = ANSWER_SECONDS,
        grace: float = GRACE_SECONDS, now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._backend, self._token = BackendAddress.of(api), token
        self._timeout, self._grace, self._now = timeout, grace, now
        self._lock = threading.Lock()
        self._due, self._since, self._why = float("-inf"), float("inf"), ""

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> Ask:
        """By MAINSTEM_API and the token; `nobody` where one of them is not given. Raises ConfigError."""
        api = optional(environ, "MAINSTEM_API")
        given = any(optional(environ, name) for name in ("MAINSTEM_TOKEN", "MAINSTEM_TOKEN_FILE"))
        if api is None or not given:
            return nobody
        return BackendWitness(api, token_from(environ, "a logger's token"))

    def __call__(self, federation: str) -> Word | None:
        """See `Ask`."""
        with self._lock:
            if self._now() < self._due:
                return self._silence()
        try:
            word = self._answer(federation)
        except (OSError, http.client.HTTPException, msgspec.DecodeError, ConfigError) as error:
            return self._failed(str(error) or type(error).__name__)
        with self._lock:
            self._due, self._since, before, self._why = float("-inf"), float("inf"), self._why, ""
        if before:
            log.info("%s says its witnesses again", self._backend)
        return word

    def _failed(self, why: str) -> Word | None:
        with self._lock:
            now, before, self._why = self._now(), self._why, why
            self._since = min(self._since, now)
            self._due = now + AGAIN_SECONDS[now >= self._since + self._grace]
            silence = self._silence()
        if why != before:
            log.warning(
                "%s says no witness (%s): after %g s of that logs are believed, until it does",
                self._backend, why, self._grace,
            )  # fmt: skip
        return silence

    def _silence(self) -> Word | None:
        return Word(silent=True) if self._now() >= self._since + self._grace else None

    def _answer(self, federation: str) -> Word:
        connection = self._backend.connect(self._timeout)
        try:
            headers = {"Authorization": f"Token {self._token()}", "Accept": "application/json"}
            connection.request("GET", f"{self._backend.path}/api/deployments/{federation}/witness/", headers=headers)
            response = connection.getresponse()
            content = response.read(_LARGEST)
        finally:
            connection.close()
        if response.status == 404 and "problem" in response.headers.get("Content-Type", ""):
            return Word()  # a federation that it does not know (yet)
        if response.status != 200:
            raise http.client.HTTPException(f"status {response.status}: {problem_of(content)}")
        return msgspec.json.decode(content, type=Word)


class Guard:
    """Compares one federation's log with its witnesses; kept as long as the worker has the federation.

    `hear` before the log's end is asked: whatever a witness knows by then is in the log by then.
    """

    def __init__(self, federation: str, ask: Ask = nobody, now: Callable[[], float] = time.monotonic) -> None:
        self._federation, self._ask, self._now = federation, ask, now
        self._word, self._due = Word(), float("-inf")
        self._seen: Witness | None = None
        self.answered, self.waits = False, True
        """Whether it was said what was witnessed, since the federation was taken up; whether to wait until it is."""

    def begin(self) -> None:
        """The federation is taken up: what was said before may be old."""
        self.answered, self.waits, self._due = False, True, float("-inf")

    def hear(self) -> bool:
        """Ask, if it is time to; whether there was an answer. What a person has accepted since voids what was read."""
        if self._now() < self._due:
            return False
        self._due = self._now() + PAUSE_SECONDS
        word = self._ask(self._federation)
        self.waits = word is None
        if word is None:
            self._due = float("-inf")  # whom it asks knows when to ask again
            return False
        if word.silent:
            return False
        if word.accepted > self._word.accepted:
            self._seen = None
        self._word, self.answered = word, True
        return True

    def objection(self, hashes: Sequence[str]) -> str:
        """Why a log with these sha256 is not the witnessed one; empty where it is."""
        known = (self._word.witness, self._seen)
        said = (objection_to(self._federation, hashes, witness) for witness in known)
        return next(filter(None, said), "")

    def read(self, hashes: Sequence[str]) -> None:
        """A log that nobody objects to was read so far."""
        if self._seen is None or len(hashes) > self._seen.count:
            self._seen = witness_of(hashes)
