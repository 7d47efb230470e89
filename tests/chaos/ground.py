"""What a stage stands on: the broker, the volume that its data lies on, and the network that leads to it.

The broker cannot write where directory permissions forbid it, also when the tests run as root; and where these may
mount a file system, its data lies on a small one of its own, which can really be full.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mainstem.kafka.broker.embedded import EmbeddedKafka
from tests.support.ports import free_ports
from tests.support.proxy import Door, Network

VOLUME_MB = 192
START_SECONDS = 300.0
"""A campaign may run beside much else, with little of the processor."""
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # linux/prctl.h, linux/capability.h


class Ground:
    """A broker whose data is in `directory`/kafka, with a listener of its own behind each of the named doors."""

    def __init__(self, directory: Path, doors: tuple[str, ...] = ()) -> None:
        self.data = directory / "kafka"
        self.data.mkdir()
        self.mounted = bool(doors) and _mount(self.data)
        self.network = Network()
        ports = free_ports(len(doors) + 2)
        self.doors: dict[str, Door] = {n: self.network.door(p) for n, p in zip(doors, ports[2:], strict=True)}
        config = self._listeners(ports[0], ports[1])
        self.broker = EmbeddedKafka(self.data, port=ports[0], config=config, startup_timeout=START_SECONDS)
        self._starter = ThreadPoolExecutor(1, "broker", _obey_permissions)

    def _listeners(self, port: int, controller: int) -> dict[str, str]:
        if not self.doors:
            return {}
        behind = {f"DOOR{i}": door for i, door in enumerate(self.doors.values())}
        inside = [f"CLIENT://127.0.0.1:{port}", *(f"{name}://127.0.0.1:{d.target}" for name, d in behind.items())]
        told = [f"CLIENT://127.0.0.1:{port}", *(f"{name}://127.0.0.1:{d.port}" for name, d in behind.items())]
        return {
            "listeners": ",".join([*inside, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(told),
            "listener.security.protocol.map": ",".join(f"{n}:PLAINTEXT" for n in ("CLIENT", "CONTROLLER", *behind)),
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "num.network.threads": "1",
        }

    def start(self) -> None:
        """Start the broker where it does not run, from a thread that may write only where permissions allow it."""
        self._starter.submit(self.broker.start).result()

    def stop(self) -> None:
        """End the broker in order."""
        self.broker.stop()

    def kill(self) -> None:
        """kill -9 of the broker."""
        self.broker.kill()

    def close(self) -> None:
        """End the broker, the network and the volume."""
        self.broker.stop()
        self._starter.shutdown()
        self.network.close()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.data)], check=True)
            shutil.rmtree(self.data, ignore_errors=True)


def _mount(directory: Path) -> bool:
    """A file system of its own for `directory`; False where the tests may not mount one."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={VOLUME_MB}m,mode=0700", "mainstem-chaos", str(directory)]
    with contextlib.suppress(OSError):
        return os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


def _obey_permissions() -> None:
    """Take from what this thread starts root's right to write everywhere; without root there is nothing to take."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)
