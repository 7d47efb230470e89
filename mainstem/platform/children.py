"""A child of the supervisor: a Python module of ours, or the broker, behind one small interface."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mainstem.kafka.embedded import EmbeddedKafka
from mainstem.processes import die_with_parent

OUTPUT_LIMIT = 1 << 20  # bytes of a child's captured output from which a start begins a new file


class Child(Protocol):
    """What the supervisor starts, watches and stops."""

    @property
    def name(self) -> str:
        """As people are told."""
        ...

    @property
    def pid(self) -> int | None:
        """Of its process, while it runs."""
        ...

    def start(self) -> None:
        """Start it. Call from the main thread: the kernel ends it with the thread that started it."""
        ...

    def exit_code(self) -> int | None:
        """None while it runs; as `Popen.returncode` after."""
        ...

    def stop(self, timeout: float) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds; returns when it has ended."""
        ...

    def last_words(self) -> str:
        """Where and what it printed last, for a message to a person."""
        ...


class ProcessChild:
    """A process whose own log goes to `logs/<name>.log`; what it prints besides goes to `logs/<name>.out`."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.output = logs / f"{name}.out"
        self.log_file = logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def of_module(name: str, module: str, *arguments: str, environment: Mapping[str, str], logs: Path) -> ProcessChild:
        """`python -m module arguments`, with this interpreter."""
        return ProcessChild(name, [sys.executable, "-m", module, *arguments], environment, logs)

    @property
    def pid(self) -> int | None:
        """See `Child.pid`."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """See `Child.start`."""
        if self.output.exists() and self.output.stat().st_size > OUTPUT_LIMIT:
            self.output.replace(self.output.with_suffix(".out.1"))
        with open(self.output, "ab") as output:
            self._process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone, which stops them in order
                preexec_fn=die_with_parent(),  # noqa: PLW1509 (it only makes two system calls)
            )  # fmt: skip

    def exit_code(self) -> int | None:
        """See `Child.exit_code`."""
        return self._process.poll() if self._process else None

    def stop(self, timeout: float) -> None:
        """See `Child.stop`. After a SIGKILL the rest of its session is killed too, so that no worker stays behind."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def last_words(self) -> str:
        """See `Child.last_words`."""
        newest = max(
            (path for path in (self.output, self.log_file) if path.exists() and path.stat().st_size),
            key=lambda path: path.stat().st_mtime,
            default=None,
        )
        if newest is None:
            return "it printed nothing"
        lines = [line for line in newest.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1].strip()[:300]} (more in {newest})"


class BrokerChild:
    """The embedded broker as a child."""

    name = "kafka"

    def __init__(self, broker: EmbeddedKafka) -> None:
        self.broker = broker

    @property
    def pid(self) -> int | None:
        """See `Child.pid`."""
        return self.broker.process.pid if self.broker.running and self.broker.process else None

    def start(self) -> None:
        """See `Child.start`; waits until the broker answers."""
        self.broker.start()

    def exit_code(self) -> int | None:
        """See `Child.exit_code`."""
        return self.broker.process.poll() if self.broker.process else None

    def stop(self, timeout: float) -> None:
        """See `Child.stop`."""
        self.broker.stop(timeout)

    def last_words(self) -> str:
        """See `Child.last_words`."""
        return f"its log is {self.broker.log_file}"
