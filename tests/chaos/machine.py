"""A whole platform as `mainstem up` makes it, whose parts and training Jobs a test may hit."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.platform.home import Home
from mainstem.rest import Api, ApiError
from mainstem.runtime.processes import descendants, die_with_parent, free_port
from tests.chaos.stage import ROOT

UP = (sys.executable, "-m", "mainstem.cli", "up")
UP_SECONDS = 300.0
"""A machine that does much else may be slow to bring a platform up."""


class Machine:
    """A platform in a directory of its own; with `volume_mb` that is a file system of so many MiB, which only the
    platform sees where it lies: others reach it through its process."""

    def __init__(self, directory: Path, *, volume_mb: int = 0, **environment: str) -> None:
        self.directory = directory
        self.home = Home(directory / "home")
        self.environment = {**os.environ, "MAINSTEM_HOME": str(self.home.root), **environment}
        self.environment.pop("MAINSTEM_API", None)
        self.output = directory / "up.out"
        self.home.root.mkdir()
        with open(self.output, "wb") as out:
            ports = ["--port", str(free_port()), "--kafka-port", str(free_port())]
            self.process = subprocess.Popen(
                [*(inside(self.home.root, volume_mb) if volume_mb else ()), *UP, *ports],
                cwd=ROOT,
                env=self.environment,
                stdout=out,
                stderr=out,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 (it only makes two system calls)
            )
        if volume_mb:
            self.home = Home(Path(f"/proc/{self.process.pid}/root{self.home.root}"))
            self.environment["MAINSTEM_HOME"] = str(self.home.root)
        try:
            self.until(lambda: bool(self.home.running() and self.home.running().ready), UP_SECONDS)  # type: ignore[union-attr]
        except BaseException:
            self.process.terminate()
            self.process.wait(60)
            raise
        self.api = Api.connect(self.home)
        running = self.home.running()
        assert running is not None
        self.bootstrap_servers = running.kafka
        self.log = KafkaLog(client_config(running.kafka), timeout=20)

    def demo(self) -> subprocess.Popen[str]:
        """Three clients, five rounds; its last line is the result."""
        return subprocess.Popen(
            [sys.executable, "-m", "mainstem.cli", "demo", "--json", "--home", str(self.home.root)],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def until(self, condition: Callable[[], Any], seconds: float) -> None:
        """Poll until it holds; a platform that is being restarted may not answer meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the platform ended:\n{self.output.read_text()[-3000:]}")
            try:
                if condition():
                    return
            except (ApiError, KeyError):
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s:\n{self.output.read_text()[-3000:]}")

    def pids(self, name: str) -> list[int]:
        """The processes of a part, or of a training Job by its name; the first one first. Empty while there is none."""
        running = self.home.running()
        assert running is not None
        if name in running.processes:
            pid = running.processes[name][0]
        else:
            try:
                pid = int((self.home.jobs / name / "pid").read_text().split()[0])
            except (OSError, IndexError, ValueError):
                return []
        return [pid, *descendants(pid)]

    def kill(self, name: str) -> None:
        """kill -9 of one of the platform's processes, or of a training Job's."""
        os.kill(self.pids(name)[0], signal.SIGKILL)

    def jobs(self, federation: str) -> list[dict[str, Any]]:
        """The federation's Jobs."""
        found: list[dict[str, Any]] = self.api.get("jobs/", federation=federation)["results"]
        return found

    def rounds(self, federation: str) -> int:
        """Rounds that are committed."""
        return int(self.api.get(f"results/{federation}/")["pages"]["rounds"]["count"])

    def newest(self) -> str:
        """The newest federation."""
        deployments = self.api.get("deployments/")["results"]
        return str(max(deployments, key=lambda d: d["id"])["federation"])

    def rebuilt(self, database: Path) -> None:
        """A new database at this path, filled from the log by `mainstem rebuild`."""
        subprocess.run(
            [sys.executable, "-m", "mainstem.cli", "rebuild", "--json", "--home", str(self.home.root)],
            cwd=ROOT,
            env={**self.environment, "DATABASE_URL": f"sqlite:///{database}"},
            check=True,
            capture_output=True,
            timeout=180,
        )

    def tend(self) -> list[str]:
        """Nothing to do: `mainstem up` looks after its processes."""
        return []

    def logs(self) -> str:
        """What it told last."""
        return self.output.read_text()[-3000:]

    def close(self) -> None:
        """Ctrl-C."""
        self.log.close()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


def inside(directory: Path, volume_mb: int) -> list[str]:
    """What to put before a command that shall see a small file system at `directory`, with or without root."""
    mount = f"mount -t tmpfs -o size={volume_mb}m,mode=0700 small {shlex.quote(str(directory))}"
    return [
        "unshare",
        "--mount",
        *(["--map-root-user"] * (os.geteuid() != 0)),
        "sh",
        "-c",
        f'{mount} && exec "$@"',
        "-",
    ]


def can_mount() -> bool:
    """Whether this machine lets the tests have a small file system of their own."""
    try:
        return subprocess.run([*inside(Path("/tmp"), 1), "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def finished(demo: subprocess.Popen[str]) -> dict[str, Any]:
    """The demo's result."""
    out, _ = demo.communicate(timeout=900)
    assert demo.returncode == 0, out
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return result
