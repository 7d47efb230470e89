"""One Kafka broker (KRaft, a node that is controller and broker) as a child process of this program.

`mainstem.kafka.broker.embedded` adds the one-time preparation of a machine; nearly everyone wants that module.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mainstem.errors import BrokerError
from mainstem.kafka.broker import java, storage
from mainstem.runtime import disk
from mainstem.runtime.processes import end_child, free_port, port_is_free, start_child

LOG_LIMIT = 10 << 20  # bytes of broker.log from which a start begins a new one

HANGS_SECONDS = 600.0
"""A broker that cannot start ends by itself, which is seen at once; one that is neither up nor ended by now hangs.
A start takes seconds, and minutes on a machine that does fifty other things."""

STOP_SECONDS = 120.0

log = logging.getLogger(__name__)


class Broker:
    """One broker with its data directory.

    `data_dir` is kept; without it the broker lives in a temporary directory that `stop` removes. `port` fixes the
    clients' port; without it a free one is found at the first start and kept by this object, so that clients find a
    restarted broker where it was. `config` adds to (or overrides) `server.properties`; `heap` is Java's `-Xmx`.
    `startup_timeout` is in seconds.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        *,
        port: int | None = None,
        heap: str = "256m",
        config: Mapping[str, str] | None = None,
        startup_timeout: float = HANGS_SECONDS,
    ) -> None:
        self.keep = data_dir is not None
        self.directory = Path(data_dir or tempfile.mkdtemp(prefix="mainstem-kafka-")).absolute()
        self.port = port
        self.heap = heap
        self.config = dict(config or {})
        self.startup_timeout = startup_timeout
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    # -- for clients ------------------------------------------------------------------------------------------------
    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for clients' `bootstrap.servers`; known from the first start on."""
        if self.port is None:
            raise BrokerError("the broker has no address before its first start")
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the broker's process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def log_file(self) -> Path:
        """What the broker printed (warnings and errors)."""
        return self.directory / "broker.log"

    # -- life cycle -------------------------------------------------------------------------------------------------
    def start(self, *, record: Path | None = None) -> Self:
        """Start the broker and wait until it answers.

        `record` has Java write a start-up cache there at exit. Raises `BrokerError` with the reason: the port is
        taken, no Java, jars that cannot be downloaded, a data directory in use, or the end of the broker's log.
        """
        if self.running:
            return self
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.port is not None:
            return self._start_at(self.port, record)
        for attempt in range(3):  # someone may take a port between our looking and Kafka's binding
            port = free_port()
            try:
                self._start_at(port, record)
            except BrokerError as error:
                if "already in use" not in str(error) or attempt == 2:
                    raise
            else:
                self.port = port
                break
        return self

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End the broker cleanly (SIGTERM; SIGKILL after `timeout` seconds) and remove a temporary directory."""
        self._end(timeout)
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL, as a crash would; the data stays, `start` or `restart` brings the broker back."""
        self._end(0.0)

    def restart(self) -> Self:
        """Stop the broker if it runs, keeping the data and the address, and start it again."""
        self._end(STOP_SECONDS)
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # -- inside -----------------------------------------------------------------------------------------------------
    def _start_at(self, port: int, record: Path | None) -> Self:
        if not port_is_free(port):
            raise BrokerError(
                f"port {port} is already in use, so Kafka cannot listen there: end what uses it or choose another port"
            )
        if self._lock is None:  # held still where the process has died by itself
            self._lock = _locked(self.directory)
        try:
            self._launch(port, record)
        except OSError as error:
            self.kill()
            why = disk.no_room(error) or error.strerror
            raise BrokerError(f"Kafka cannot be started in {self.directory}: {why}") from error
        except BaseException:
            self.kill()
            raise
        return self

    def _launch(self, port: int, record: Path | None) -> None:
        command = java.command(self.heap, record=record)
        data = self.directory / "data"
        storage.format_data(data)
        conf = self.directory / "server.properties"
        storage.write_properties(conf, storage.properties(data, port, free_port(avoid={port}), self.config))
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_LIMIT:
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with open(self.log_file, "ab") as output:
            begin = output.tell()
            self.process = start_child(
                [*command, "kafka.Kafka", str(conf)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._wait_until_open(port, begin)

    def _wait_until_open(self, port: int, log_begin: int) -> None:
        """KRaft opens the clients' listener last of all, so an open port means a working broker."""
        assert self.process is not None
        deadline = time.monotonic() + self.startup_timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise BrokerError(f"Kafka ended at once (exit code {self.process.returncode}): {self._why(log_begin)}")
            if _listens(port):
                return
            time.sleep(0.01)
        raise BrokerError(f"Kafka was not ready after {self.startup_timeout:.0f} s: {self._why(log_begin)}")

    def _why(self, begin: int) -> str:
        """The most telling lines that the broker printed since `begin` (a byte offset)."""
        with open(self.log_file, "rb") as handle:
            handle.seek(begin)
            text = handle.read().decode(errors="replace")
        if "Failed to acquire lock on file" in text:
            return f"another broker uses {self.directory}"
        if "Address already in use" in text:
            return "its port is already in use"
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
        told = " | ".join(lines[-4:])[-1500:] or "it printed nothing"
        return f"{disk.lament(self.directory)}{told} (all of it is in {self.log_file})"

    def _end(self, grace: float) -> None:
        try:
            if self.process is not None and not end_child(self.process, grace) and grace:
                log.warning("Kafka did not stop within %.0f s and was killed", grace)
            self.process = None
        finally:
            if self._lock is not None:
                self._lock.close()
                self._lock = None


def _listens(port: int) -> bool:
    """Whether somebody answers there. Asked often enough, an unused port is drawn for the question itself, too, and
    TCP connects the socket with itself."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5) as there:
        return bool(there.getsockname() != there.getpeername())
    return False


def _locked(directory: Path) -> IO[bytes]:
    """Holds the directory until it is closed; raises BrokerError where another process or object holds it.

    Kafka locks its data too, but only once it runs, and one that finds them locked does not always end.
    """
    handle = open(directory / "broker.lock", "ab")  # noqa: SIM115 (whoever gets it closes it)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise BrokerError(f"another broker uses {directory}") from error
    return handle
