"""Children: a group of their own, an end with a grace, and none that outlives a killed parent. All of them are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mainstem.runtime.processes import end_child, identity, run_child, start_child
from tests.support.patience import PATIENCE, until

ROOT = Path(__file__).resolve().parents[2]
FAMILY = """
import os, signal, subprocess, sys, time
{first}
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
TIDY = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))"
PARENT = """
import subprocess, sys, time
from mainstem.runtime.processes import start_child
start_child([sys.executable, "-S", "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"])
time.sleep(600)
"""


def family(first: str) -> tuple[subprocess.Popen[bytes], list[tuple[int, int | None]]]:
    """A child that has a child: its handle, and both by pid and start."""
    child = start_child([sys.executable, "-S", "-c", FAMILY.format(first=first)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    pids = [int(word) for word in child.stdout.readline().split()]
    return child, [(pid, identity(pid)) for pid in pids]


def gone(processes: list[tuple[int, int | None]]) -> bool:
    """Whether none of them lives."""
    return not any(start is not None and identity(pid) == start for pid, start in processes)


@pytest.mark.parametrize(
    ("first", "grace", "code"),
    [(TIDY, PATIENCE, 5), (DEAF, 0.1, -signal.SIGKILL), (TIDY, 0.0, -signal.SIGKILL)],
    ids=["tidy", "deaf", "no grace"],
)
def test_a_child_ends_with_its_whole_group(first: str, grace: float, code: int) -> None:
    """By itself within the grace, else killed; its own children never stay, and it is reaped."""
    child, both = family(first)
    with child:
        assert os.getpgid(child.pid) == child.pid != os.getpgrp()
        assert end_child(child, grace) is (code == 5)
        assert child.returncode == code
        until(lambda: gone(both))
        assert end_child(child, grace)  # once more does no harm


def test_no_child_outlives_a_parent_that_is_killed() -> None:
    """kill -9 of the parent, which can do nothing about it any more: the kernel does."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environ, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = [(pid, identity(pid))]
        assert not gone(child)
        parent.kill()
    until(lambda: gone(child))


def test_a_child_is_run_to_its_end() -> None:
    """Its exit code, what it printed and said, by what it was given; past its time it ends with its group."""
    echo = "import sys; print(sys.stdin.read()); print('told', file=sys.stderr); sys.exit(3)"
    done = run_child([sys.executable, "-S", "-c", echo], given="ö", seconds=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (3, "ö\n", "told\n")
    with pytest.raises(subprocess.TimeoutExpired) as late:
        run_child([sys.executable, "-S", "-c", FAMILY.format(first="")], seconds=1.0)
    both = [int(word) for word in (late.value.output or b"").split()]
    assert len(both) == 2
    until(lambda: all(identity(pid) is None for pid in both))
