"""What watches a source, on real processes without Keras: time, memory, disk, files, and its end whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from federated_training.problems import FieldError
from federated_training.workshop import source, workshop
from federated_training.workshop.child import Allowance, ChildLimits, ConfinedProcess, Usage, crowded
from federated_training.workshop.sandbox import confine
from federated_training.workshop.source import Guest
from mainstem.runtime.processes import identity
from mainstem.runtime.trees import remove_tree
from tests.support.patience import until

needs_landlock = pytest.mark.skipif(confine.why_not() is not None, reason=str(confine.why_not()))
_LIMITS = ChildLimits(Allowance(60, 300), memory=256 << 20, disk=8 << 20, threads=40, entries=2000)


@pytest.mark.parametrize(
    ("passed", "busy", "over"),
    [
        (59.0, 59.0, None),
        (61.0, 61.0, "60 seconds"),
        (61.0, 200.0, "60 seconds"),  # on several cores
        (30.0, 200.0, None),
        (250.0, 9.0, None),  # TensorFlow starts at a load of 25
        (301.0, 9.0, "300 seconds"),  # asleep
    ],
)
def test_a_busy_machine_is_no_fault_of_the_source(passed: float, busy: float, over: str | None) -> None:
    """The limit is one of processor time; wall time alone ends only what takes many times as long."""
    assert Allowance(60, 300).over(passed, busy) == over


def test_what_a_process_uses_is_read_from_the_system(tmp_path: Path) -> None:
    """Processor time is what Python says, to the clock's tick; what was written counts after the file is gone."""
    before = Usage.of(os.getpid())
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    (tmp_path / "file").unlink()
    after = Usage.of(os.getpid())
    assert after.memory > 1 << 20 and after.threads >= 1
    assert abs(after.busy - sum(os.times()[:2])) < 0.5
    assert after.written - before.written >= 1 << 20
    with pytest.raises(OSError):
        Usage.of(1 << 30)


def test_files_and_directories_are_counted_to_any_depth(tmp_path: Path) -> None:
    """Deeper than Python recurses; more than is allowed, and what cannot be looked into, is told."""
    here = tmp_path
    for _ in range(1100):
        here /= "d"
        here.mkdir()
    assert crowded(tmp_path, 1100) is None
    assert crowded(tmp_path, 1099) == "made more than 1,099 files and directories"
    remove_tree(tmp_path / "d")  # pytest's own removal recurses
    assert crowded(tmp_path / "absent", 1) is None
    assert crowded(Path("d" * 300), 1) == "made a directory that cannot be looked into (File name too long)"


def test_only_a_plain_file_is_an_answer(tmp_path: Path) -> None:
    """A directory, a link, a pipe, something too long and something that is no text are no answers."""
    answer, other = tmp_path / "answer.json", tmp_path / "other"
    answer.mkdir()
    assert source._read_plain(answer, 9) is None
    answer.rmdir()
    other.write_text("{}")
    answer.symlink_to(other)
    assert source._read_plain(answer, 9) is None
    answer.unlink()
    os.mkfifo(answer)
    assert source._read_plain(answer, 9) is None
    for content, text in ((b"{}", "{}"), (b"x" * 10, None), (b"\xff", None)):
        other.write_bytes(content)
        assert source._read_plain(other, 9) == text


def _refusal(guest: Guest) -> str:
    with pytest.raises(FieldError) as caught:
        guest.result()
    guest.remove()
    assert guest._child._process.returncode is not None and not guest._directory.exists()
    return caught.value.message


_DEEP = "import os\nfor _ in range({}):\n    os.mkdir('d'); os.chdir('d')\n"
_HELD = """import os
held = []
for number in range(100):
    file = open(str(number), 'wb', buffering=0); os.unlink(str(number)); held.append(file)
    file.write(bytes(1 << 20))
"""


@needs_landlock
def test_each_escape_is_ended_with_a_sentence_and_its_directory_removed(tmp_path: Path) -> None:
    """All at once: deep and many directories, held files, hidden memory, threads, and a flood of standard error."""
    wait = "\nimport time\ntime.sleep(600)"
    cases = {
        _DEEP.format(1100) + "1 / 0": "line 4: ZeroDivisionError",
        _DEEP.format(6000) + wait: "made more than 2,000 files and directories, and was ended",
        "import os\nfor n in range(6000): os.mkdir(str(n), 0)" + wait: "made ",
        _HELD + wait: "The source wrote more than 8 MiB, and was ended.",
        "file = open('x', 'wb')\nfile.seek(1 << 40)\nfile.write(b'x')\nfile.flush()": "OSError",
        "import mmap\nmmap.mmap(-1, 1 << 30)": "line 2: PermissionError",
        "rows = []\nwhile True: rows.append(bytearray(10_000_000))": "took more than 256 MiB of memory",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(600,)).start()": "40 threads",
        "import os\nwhile True: os.write(2, b'x' * 65536)": "The source wrote more than 8 MiB, and was ended.",
        "import os\nos.write(2, b'a' * 99_999 + b'\\nlast \\x1b[2Jwords\\n')\nos.abort()":
            "was ended by SIGABRT (it said: last ?[2Jwords) before it left a model.",
    }  # fmt: skip
    guests = [Guest({"code": code}, 0, tmp_path, _LIMITS) for code in cases]
    endless = Guest({"code": "while True: pass"}, 0, tmp_path, replace(_LIMITS, time=Allowance(1, 300)))
    assert _refusal(endless) == "The source took more than 1 seconds, and was ended."
    for guest, (code, says) in zip(guests, cases.items(), strict=True):
        message = _refusal(guest)
        assert says in message, (code, message)
        assert len(guest._child.tail()) <= 4096
    assert not list(tmp_path.iterdir())


@needs_landlock
def test_a_source_that_cannot_be_watched_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the watcher fails of."""

    def broken(pid: int) -> Usage:
        raise RecursionError("too deep")

    monkeypatch.setattr(Usage, "of", staticmethod(broken))
    message = _refusal(Guest({"code": "while True: pass"}, 0, tmp_path, replace(_LIMITS, memory=1 << 40)))
    assert message == "The source could not be watched, and was ended: too deep."


def test_what_is_our_own_runs_unconfined_where_nothing_can_confine(tmp_path: Path) -> None:
    """Then too it is bound to its parent and its limits, and watched."""
    code = f"open({str(tmp_path / 'outside')!r}, 'w').close()\nopen('large', 'wb').write(bytes(9 << 20))"
    place = tmp_path / "place"
    place.mkdir()
    (place / "request.json").write_text(json.dumps({"imports": "", "code": code, "seed": 0}))
    child = ConfinedProcess("workshop.guest", [place], _LIMITS, name="It", field="x", confined=False)
    child.ended()
    assert (tmp_path / "outside").exists() and "File too large" in (place / "answer.json").read_text()


def test_memory_stays_below_what_the_container_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the kernel, which ends all of a container at once, never has to."""
    newer, older = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    monkeypatch.setattr(workshop, "_CONTAINER", (str(newer), str(older)))
    assert workshop.WorkshopLimits().keras().memory == 4 << 30
    newer.write_text("max\n")
    older.write_text(f"{2 << 30}\n")
    assert workshop.WorkshopLimits().keras().memory == workshop.WorkshopLimits().source().memory == 3 << 29


_OUTLIVING = """
import ctypes, os, time
libc = ctypes.CDLL(None)
tried = [libc.prctl(1, 0, 0, 0, 0), libc.setsid(), libc.setpgid(0, 0), libc.setfsuid(1) and -1, libc.fork()]
open('tried', 'w').write(f'{tried} {os.getpid()} {os.getpgrp()}')
time.sleep(600)
"""
_PARENT = f"""
import sys, time
from pathlib import Path
from federated_training.workshop.child import ChildLimits
from federated_training.workshop.source import Guest
guest = Guest({{"code": {_OUTLIVING!r}}}, 0, Path(sys.argv[1]), ChildLimits())
time.sleep(600)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a source which wants to outlive it."""
    started = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], start_new_session=True)
    yield started
    started.kill()
    started.wait()


@needs_landlock
def test_a_source_stays_in_its_parent_s_group_and_dies_with_it(parent: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """It may ask for another parent's death signal, session or group, or for a child: it gets none."""
    text = until(lambda: next((path.read_text() for path in tmp_path.glob("guest-*/tried")), ""))
    tried, pid, group = text.rsplit(" ", 2)
    assert tried == "[-1, -1, -1, -1, -1]" and int(group) == parent.pid
    assert identity(int(pid)) is not None
    parent.kill()
    parent.wait()
    until(lambda: identity(int(pid)) is None, what="the source's end")
