"""What a training Job is told by its environment beyond its `JobSpec`, and the client id that it keeps.

For debugging: MAINSTEM_LOG_LEVEL=DEBUG shows every step, MAINSTEM_LOG_FORMAT=json makes lines for machines.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mainstem.errors import ConfigError
from mainstem.jobs import JobSpec
from mainstem.topics import check_client_id

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """A Job's own settings. Times are seconds.

    `threads` above 1 trains faster, but then the bits of a result may depend on the machine. `patience` is how
    long the Job waits for its federation to appear, for its stream's records, and for a Kafka that is away.
    """

    spec: JobSpec
    client: str
    threads: int = 1
    patience: float = 1800.0
    heartbeat: float = 3.0

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> Settings:
        """The spec's variables, and MAINSTEM_TRAINING_THREADS and MAINSTEM_TRAINING_PATIENCE; raises ConfigError."""
        spec = JobSpec.from_environ(environ)
        home = Path(environ.get("MAINSTEM_HOME") or Path.home() / ".mainstem")
        return Settings(
            spec=spec,
            client=spec.client_id or stored_client_id(home, spec),
            threads=_whole(environ, "MAINSTEM_TRAINING_THREADS", 1, 1024),
            patience=float(_whole(environ, "MAINSTEM_TRAINING_PATIENCE", 1800, 10_000_000)),
        )


def stored_client_id(home: Path, spec: JobSpec) -> str:
    """The random id of this machine's client for this federation and stream: made once, kept below `home`.

    Where it cannot be kept, the Job takes part under a new id at every start, and says so in its log.
    """
    told = f"{spec.federation}\n{spec.data_bootstrap}\n{spec.data_topic}\n{spec.input_config}"
    path = home / "client-ids" / hashlib.sha256(told.encode()).hexdigest()[:24]
    fresh = f"client-{secrets.token_hex(6)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(fresh)
        except FileExistsError:
            return check_client_id(path.read_text("utf-8").strip())
    except (OSError, ConfigError) as error:
        log.warning("the client id cannot be kept in %s (%s); set FEDERATED_CLIENT_ID to keep one", path, error)
    return fresh


def _whole(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise ConfigError(f"{name} is {text[:40]!r}; it must be a whole number from 1 to {most}")
    return int(text)
