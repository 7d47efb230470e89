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

from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.probe import Pulse
from mainstem.runtime import disk
from mainstem.runtime.metrics.beat import BEAT
from mainstem.runtime.processes import end_child, signal_group, start_child

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

    def heard(self) -> bool:
        """Whether it has given a sign of life since this was asked last."""
        ...

    def kill(self) -> None:
        """SIGKILL, also to a process that is frozen; its death is seen as any other."""
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
        self._beats: int | None = None

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
        beats, pipe = os.pipe()
        try:
            os.set_blocking(beats, False)
            with open(self.output, "ab") as output:
                self._process = start_child(
                    self.command, env=self.environment | {BEAT: str(pipe)}, pass_fds=(pipe,),
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                )  # fmt: skip
        except BaseException:
            os.close(beats)
            raise
        finally:
            os.close(pipe)
        self._listen_to(beats)

    def _listen_to(self, beats: int | None) -> None:
        if self._beats is not None:
            os.close(self._beats)
        self._beats = beats

    def exit_code(self) -> int | None:
        """See `Child.exit_code`."""
        return self._process.poll() if self._process else None

    def heard(self) -> bool:
        """See `Child.heard`."""
        heard = False
        with contextlib.suppress(BlockingIOError):
            while self._beats is not None and os.read(self._beats, 1 << 12):
                heard = True
        return heard

    def kill(self) -> None:
        """See `Child.kill`. The rest of its session is killed too, so that no worker stays behind."""
        if self._process is not None and self._process.poll() is None:
            signal_group(self._process, signal.SIGKILL)

    def stop(self, timeout: float) -> None:
        """See `Child.stop`."""
        if self._process is not None and self._process.poll() is None:
            end_child(self._process, timeout)
        self._listen_to(None)

    def last_words(self) -> str:
        """See `Child.last_words`."""
        trouble = disk.lament(self.output.parent)
        newest = max(
            (path for path in (self.output, self.log_file) if path.exists() and path.stat().st_size),
            key=lambda path: path.stat().st_mtime,
            default=None,
        )
        if newest is None:
            return f"{trouble}it printed nothing"
        lines = [line for line in newest.read_text(errors="replace").splitlines() if line.strip()]
        return f"{trouble}{lines[-1].strip()[:300] if lines else 'it printed blanks'} (more in {newest})"


class BrokerChild:
    """The embedded broker as a child."""

    name = "kafka"

    def __init__(self, broker: EmbeddedKafka) -> None:
        self.broker = broker
        self._pulse: Pulse | None = None

    @property
    def pid(self) -> int | None:
        """See `Child.pid`."""
        return self.broker.process.pid if self.broker.running and self.broker.process else None

    def start(self) -> None:
        """See `Child.start`; waits until the broker answers."""
        self.broker.start()
        if self._pulse is None and self.broker.port is not None:
            self._pulse = Pulse(self.broker.port)

    def exit_code(self) -> int | None:
        """See `Child.exit_code`."""
        return self.broker.process.poll() if self.broker.process else None

    def stop(self, timeout: float) -> None:
        """See `Child.stop`."""
        if self._pulse is not None:
            self._pulse.close()
            self._pulse = None
        self.broker.stop(timeout)

    def heard(self) -> bool:
        """See `Child.heard`."""
        return self._pulse is not None and self._pulse.heard()

    def kill(self) -> None:
        """See `Child.kill`."""
        if self.broker.process is not None and self.broker.running:
            self.broker.process.kill()

    def last_words(self) -> str:
        """See `Child.last_words`."""
        return f"{disk.lament(self.broker.directory)}its log is {self.broker.log_file}"
