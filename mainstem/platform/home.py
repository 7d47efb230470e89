"""The state directory of one platform: where everything lies, who holds it, what runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from mainstem.errors import ConfigError
from mainstem.runtime import environ


@dataclass(slots=True)
class Running:
    """What a platform tells other commands and the next start. `processes`: name -> (pid, start; see `identity`)."""

    pid: int
    port: int
    api: str
    kafka: str
    kafka_port: int | None = None
    processes: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Home:
    """`$MAINSTEM_HOME`, or `.mainstem` in the working directory; only its owner can read it."""

    root: Path

    @staticmethod
    def locate(path: str | Path | None = None) -> Home:
        """The home that `path`, else MAINSTEM_HOME, else the working directory names; makes nothing."""
        return Home(Path(path).expanduser().absolute() if path else environ.home(os.environ))

    def make(self) -> None:
        """Create what is missing of it; raises ConfigError where that is not possible."""
        try:
            for directory in (self.root, self.kafka, self.logs, self.jobs, self.blobs):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"MAINSTEM_HOME {self.root} cannot be made or used: {error.strerror}") from error

    @property
    def settings(self) -> Path:
        """Secrets, made at the first start (0600)."""
        return self.root / "settings.env"

    @property
    def platform_key(self) -> Path:
        """The private key that the platform signs with, likewise."""
        return self.root / "platform-key.pem"

    @property
    def kafka(self) -> Path:
        """The broker's directory."""
        return self.root / "kafka"

    @property
    def logs(self) -> Path:
        """A rotated log of each component, and what its process printed besides (`*.out`)."""
        return self.root / "logs"

    @property
    def jobs(self) -> Path:
        """Of the launcher: training Jobs of this machine."""
        return self.root / "jobs"

    @property
    def blobs(self) -> Path:
        """Of the backend: uploaded models and global versions."""
        return self.root / "blobs"

    @property
    def site_key(self) -> Path:
        """Of this platform's own site, unless MAINSTEM_SITE_KEY_FILE says otherwise (0600)."""
        return self.root / "site.key"

    @property
    def database(self) -> Path:
        """SQLite, unless DATABASE_URL says otherwise."""
        return self.root / "db.sqlite3"

    @property
    def database_url(self) -> str:
        """The same as DATABASE_URL has it."""
        return f"sqlite:///{quote(str(self.database))}"

    # -- who holds it, what runs --------------------------------------------------------------------------------
    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the home for this process; raises ConfigError with a sentence when another platform has it."""
        with open(self.root / "lock", "a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                other = self.running()
                where = f" (process {other.pid}, {other.api})" if other and other.ready else ""
                raise ConfigError(
                    f"Mainstem already runs in {self.root}{where}: stop it with Ctrl-C there, or give this one a "
                    "directory of its own with MAINSTEM_HOME"
                ) from None
            yield

    def is_held(self) -> bool:
        """Whether a platform runs here."""
        try:
            with open(self.root / "lock") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def tell(self, running: Running) -> None:
        """Write down what runs, for other commands and for the next start."""
        path = self.root / "running.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(running)))
        scratch.replace(path)

    def running(self) -> Running | None:
        """What the last platform here told; it may have died since (see `is_held`)."""
        try:
            told = Running(**json.loads((self.root / "running.json").read_text()))
            told.processes = {name: (pid, start) for name, (pid, start) in told.processes.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return told
