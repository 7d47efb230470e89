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
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.signing import SITE_KEY_FILE, SigningKey, platform_key
from mainstem.protocol.topics import check_client_id
from mainstem.runtime.environ import home, optional

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """A Job's own settings. Times are seconds.

    `threads` above 1 trains faster, but then the bits of a result may depend on the machine. `patience` is how
    long the Job waits for its federation to appear, for its stream's records, and for a Kafka that is away. `state` is
    the directory of what the client keeps between rounds; without one it goes with the process. `local_model` is the
    file of the site's own model, `width` how much of the federation's width its own has. `key` is the site's, with
    which the client signs; `platform` the platform's public one, by which it knows the federation's records.
    """

    spec: JobSpec
    client: str
    threads: int = 1
    patience: float = 1800.0
    heartbeat: float = 3.0
    state: Path | None = None
    local_model: Path | None = None
    width: float | None = None
    key: SigningKey | None = None
    platform: str | None = None

    @staticmethod
    def from_environ(environ: Mapping[str, str]) -> Settings:
        """The spec's variables, and those of this process; raises ConfigError."""
        spec, state = JobSpec.from_environ(environ), optional(environ, "FEDERATED_STATE")
        return Settings(
            spec=spec,
            client=spec.client_id or stored_client_id(home(environ), spec),
            threads=_whole(environ, "MAINSTEM_TRAINING_THREADS", 1, 1024),
            patience=float(_whole(environ, "MAINSTEM_TRAINING_PATIENCE", 1800, 10_000_000)),
            local_model=_file(environ, "FEDERATED_LOCAL_MODEL"),
            width=_share(environ, "FEDERATED_WIDTH"),
            key=SigningKey.from_environ(environ, SITE_KEY_FILE),
            platform=platform_key(environ),
            state=Path(state).expanduser() if state else home(environ) / "kept",
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


def _file(environ: Mapping[str, str], name: str) -> Path | None:
    text = optional(environ, name)
    if text is None:
        return None
    path = Path(text).expanduser()
    if not path.is_file():
        raise ConfigError(f"{name} is {text[:200]!r}, which is no file: a .keras file or a Keras JSON")
    if optional(environ, "FEDERATED_WIDTH") is not None:
        raise ConfigError(f"{name} and FEDERATED_WIDTH are both set: a site's model is the one or the other")
    return path


def _share(environ: Mapping[str, str], name: str) -> float | None:
    text = optional(environ, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ConfigError(f"{name} is {text[:40]!r}; it must be above 0 and at most 1")
    return value


def _whole(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise ConfigError(f"{name} is {text[:40]!r}; it must be a whole number from 1 to {most}")
    return int(text)
