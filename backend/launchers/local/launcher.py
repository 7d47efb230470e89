"""Jobs as processes of this machine, each under a supervisor of its own that outlives the launcher."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.launchers.words import ASKED, TAIL, last_error
from mainstem.errors import ConfigError, LaunchRefused, MainstemError
from mainstem.jobs.launcher import JobStatus
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.signing import PLATFORM_KEY, SITE_KEY_FILE
from mainstem.runtime.disk import no_room
from mainstem.runtime.exits import Exit
from mainstem.serving.spec import READY_FILE, ServingSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_ROOT = Path(__file__).resolve().parents[3]
_KEPT = (
    "PATH", "LANG", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "KERAS_BACKEND", "CUDA_VISIBLE_DEVICES", "TF_CPP_MIN_LOG_LEVEL",
    "MAINSTEM_LOG_FORMAT", "MAINSTEM_TRAINING_THREADS", "MAINSTEM_TRAINING_PATIENCE", PLATFORM_KEY,
)  # fmt: skip
"""What a Job's environment takes over. Nothing else: the backend's secrets stay here."""
_OF_JOBS = (SITE_KEY_FILE,)
"""What only those that train take over: with it they sign what they say."""


class LocalLauncher:
    """`Launcher` over `<directory>/<name>/`: `lock` (held while it runs), `started`, `pid`, `exit`, `log`.

    Everything that it knows is in these files, so a new launcher finds the Jobs of the one before it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        command: Sequence[str] = (sys.executable, "-m", "federated_training"),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._directory = directory
        self._command = list(command)
        self._kept = {name: environ[name] for name in _KEPT if name in environ}
        self._of_jobs = {name: environ[name] for name in _OF_JOBS if environ.get(name)}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def refresh(self) -> None:
        """See `Launcher`: the files are looked at anew each time."""

    def launch(self, name: str, spec: JobSpec | ServingSpec, job: Mapping[str, Any] | None = None) -> None:
        """See `Launcher`. Raises ConfigError where the directory cannot be written, LaunchRefused where its disk
        has no room now."""
        home = self._home(name)
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _unwritable(home, error) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # it runs, or is just ending
            self._forget(home)
            try:
                (home / "started").touch()
            except OSError as error:
                raise _unwritable(home, error) from error
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", "backend.launchers.local.supervise", home, *self._command],
                cwd=home,
                env=self._environment(home, spec),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock,),  # the lock is the descriptor's: it stays held when this process dies
            )
        finally:
            os.close(lock)

    def status(self, name: str) -> JobStatus:
        """See `Launcher`."""
        home = self._home(name)
        self._reap(name)
        if self._held(home):
            return JobStatus(name, "running")
        if (home / "stopping").exists():
            self._forget(home)
            return JobStatus(name, "absent")
        code = _exit_code(home)
        if code in (Exit.TERMINATED, -signal.SIGTERM):
            return JobStatus(name, "interrupted", code, ASKED)
        if code is not None:
            return JobStatus(name, "succeeded" if code == 0 else "failed", code, self._end(name, code))
        if (home / "started").exists():
            return JobStatus(name, "failed", None, "killed together with its supervisor")
        return JobStatus(name, "absent")

    def _end(self, name: str, code: int) -> str:
        if code < 0:
            return f"killed by {_signal_name(-code)}"
        told = last_error(self.log(name, TAIL)) if code else ""
        return f"exit code {code}: {told}" if told else f"exit code {code}" if code else ""

    def stop(self, name: str) -> None:
        """See `Launcher`. Returns at once: the supervisor gives the Job 10 s, then kills it."""
        home = self._home(name)
        if not home.is_dir():
            return
        with contextlib.suppress(OSError):  # on a full disk the mark is lost: it ends all the same
            (home / "stopping").touch()
        self._reap(name)
        if not self._held(home):
            self._forget(home)
        elif (pid := self._pid(name)) is not None:  # the lock is held, so the number is its holder's
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def log(self, name: str, tail: int = 65536) -> str:
        """See `Launcher`. Empty for a Job that has never run here."""
        parts: list[bytes] = []
        for file in ("log", "log.1"):
            missing = tail - sum(map(len, parts))
            with contextlib.suppress(FileNotFoundError), (self._home(name) / file).open("rb") as handle:
                if missing > 0:
                    handle.seek(max(0, os.fstat(handle.fileno()).st_size - missing))
                    parts.insert(0, handle.read(missing))
        return b"".join(parts).decode("utf-8", "replace")

    def end(self, names: Sequence[str], seconds: float) -> list[str]:
        """Stop these Jobs and wait until none of them runs; those that still do after `seconds`."""
        deadline = time.monotonic() + seconds
        left = list(names)
        while left:
            for name in left:
                self.stop(name)
            left = [name for name in left if self.status(name).state == "running"]
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return left

    def _home(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name[:80]!r} is no Job's name")
        return self._directory / name

    def _environment(self, home: Path, spec: JobSpec | ServingSpec) -> dict[str, str]:
        return {
            **self._kept,
            "HOME": str(home),
            "TMPDIR": str(home),
            "PYTHONPATH": str(_ROOT),
            "PYTHONUNBUFFERED": "1",
            **(self._of_jobs if isinstance(spec, JobSpec) else {}),
            **spec.to_environ(),
        }

    def _pid(self, name: str) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int((self._home(name) / "pid").read_text())
        child = self._children.get(name)  # on a full disk it waits for room to write its number down
        return None if child is None else child.pid

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            del self._children[name]

    @staticmethod
    def _held(home: Path) -> bool:
        try:
            lock = os.open(home / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not disturb each other
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    @staticmethod
    def _forget(home: Path) -> None:
        for file in ("pid", "exit", "started", "stopping", READY_FILE):
            (home / file).unlink(missing_ok=True)


def _unwritable(home: Path, error: OSError) -> MainstemError:
    """A full disk is no fault of the Job's: it is tried again when there may be room."""
    if why := no_room(error):
        return LaunchRefused(f"{why}: there is no room for the Job's directory")
    return ConfigError(f"the Job's directory {home} cannot be written: {error.strerror}")


def _exit_code(home: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return int(json.loads((home / "exit").read_text())["code"])
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
