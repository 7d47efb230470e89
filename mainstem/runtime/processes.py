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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

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


def start_child(
    command: Sequence[str | Path],
    *,
    orphan: signal.Signals = signal.SIGTERM,
    prepare: Callable[[], object] = lambda: None,
    **how: Any,
) -> subprocess.Popen[bytes]:
    """Start a child that leads a session, so a process group, of its own, and outlives no parent: see `end_child`.

    A terminal's Ctrl-C then reaches the parent alone, which ends its children in order. `orphan` is what the child is
    sent when its parent dies (see `die_with_parent`); `prepare` runs in it before the command does, and may make
    system calls and little else; `how` is for `subprocess.Popen`.
    """
    arm = die_with_parent(orphan)

    def before() -> None:
        if arm is not None:
            arm()
        prepare()

    return subprocess.Popen(command, start_new_session=True, preexec_fn=before, **how)  # noqa: PLW1509  system calls


def end_child(child: subprocess.Popen[bytes], grace: float = 0.0) -> bool:
    """End a child of `start_child`: SIGTERM and `grace` seconds for it to end, if there are any; then SIGKILL for it
    and what is left of its group. Returns once it is reaped; whether it ended by itself."""
    if grace > 0 and child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
    ended = child.poll() is not None
    signal_group(child, signal.SIGKILL)
    child.wait()
    return ended


def run_child(
    command: Sequence[str | Path], *, seconds: float | None = None, given: str | None = None, **how: Any
) -> subprocess.CompletedProcess[str]:
    """Run a child of `start_child` to its end: its exit code and what it printed. `given` is its standard input.

    Whatever ends this call ends the child with its group; TimeoutExpired does after `seconds`.
    """
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    child = start_child(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    try:
        printed, said = child.communicate(None if given is None else given.encode(), timeout=seconds)
    finally:
        end_child(child)
    return subprocess.CompletedProcess(command, child.returncode, printed.decode(), said.decode(errors="replace"))


def signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to all of the child's group that is left, also after the child's own end."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


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
