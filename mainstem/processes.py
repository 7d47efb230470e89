"""Processes and ports: children that die with their parent, ports that a server can have."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable

PR_SET_PDEATHSIG = 1
# Below Linux' ephemeral range (32768 and up): a client that keeps dialling a closed ephemeral port of the loopback
# may be given that very port as its own source port, connect to itself and keep the server from coming back.
PORT_RANGE = range(20000, 32000)


def die_with_parent(sig: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel send `sig` to the child when its parent dies, even by SIGKILL.

    Linux only; elsewhere `None`, which `Popen` takes as well. The kernel watches the thread that started the child,
    so start such children from a thread that lives as long as they should. The work is prepared here, in the parent:
    between fork and exec a child of a threaded program must not import or allocate much.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the kernel knew of our wish
            os.kill(os.getpid(), sig)

    return arm


def end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that has a session of its own, and what is left of its process group; wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now (a socket in TIME_WAIT does not count as taken)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(host: str = "127.0.0.1", avoid: Iterable[int] = ()) -> int:
    """A free TCP port outside the ephemeral range; nobody reserves it, so the caller retries when it loses a race."""
    taken = set(avoid)
    for port in random.SystemRandom().sample(PORT_RANGE, 500):
        if port not in taken and port_is_free(port, host):
            return port
    raise OSError(f"no free TCP port between {PORT_RANGE.start} and {PORT_RANGE.stop} on {host}")


def next_free_port(first: int, host: str = "127.0.0.1", tries: int = 100) -> int:
    """`first` if it is free, else the first free port after it; `OSError` when there is none within `tries`."""
    for port in range(first, min(first + tries, 65536)):
        if port_is_free(port, host):
            return port
    raise OSError(f"no free TCP port from {first} to {first + tries - 1} on {host}")


def identity(pid: int) -> int | None:
    """When process `pid` began, in the kernel's ticks: with the pid it names one process for ever.

    None where it has ended (a zombie has) or the system does not tell (no /proc).
    """
    try:
        with open(f"/proc/{pid}/stat") as handle:
            fields = handle.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def descendants(pid: int) -> list[int]:
    """All children of `pid`, their children and so on (Linux; empty elsewhere)."""
    children: dict[int, list[int]] = {}
    try:
        entries = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for entry in entries:
        try:
            with open(f"/proc/{entry}/stat") as handle:
                parent = int(handle.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(entry)
    found, ahead = [], [pid]
    while ahead:
        nearest = children.get(ahead.pop(), [])
        found += nearest
        ahead += nearest
    return found


def memory(pid: int) -> int | None:
    """Proportional set size of `pid` in bytes: its own memory and its share of what it shares. None when unknown."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as handle:
            for line in handle:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return None
