"""What a client keeps from update to update: whole or not at all, its own, and the same wherever it is killed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.client.keep import GENERATIONS, NOTHING, ROOM, FileKeep, Keep, Kept, MemoryKeep, State
from mainstem.errors import ConfigError, SpillError
from mainstem.protocol.messages import Opened, Rules
from mainstem.runtime.clock import SystemClock
from mainstem.swarm import open_federation
from mainstem.testing.memory_log import MemoryLog
from tests.unit.test_pipeline import head_of
from tests.unit.test_training_loop import TENSORS

STATE: State = {
    "own": [np.arange(6, dtype=">f4").reshape(2, 3), np.array(3.5), np.empty((0, 4), np.int8)],
    "rest": [np.array([True, False])],
}


@pytest.fixture(scope="module")
def opened() -> Opened:
    """A run's first record."""
    log = MemoryLog(SystemClock())
    found: Opened = head_of(log, open_federation(log, TENSORS, Rules(rounds=2))).opened
    return found


def alike(one: State, other: State) -> bool:
    """The same tensors by the same names, bit for bit."""
    return {name: [(t.dtype.name, t.shape, t.tobytes("C")) for t in native(ts)] for name, ts in one.items()} == {
        name: [(t.dtype.name, t.shape, t.tobytes("C")) for t in native(ts)] for name, ts in other.items()
    }


def native(tensors: Any) -> list[Any]:
    """In this machine's byte order."""
    return [tensor.astype(tensor.dtype.newbyteorder("=")) for tensor in tensors]


def test_what_was_kept_comes_back_to_the_bit(opened: Opened, tmp_path: Path) -> None:
    """Any dtype, a scalar, an empty tensor; readable by its owner alone, and by nobody who is somebody else."""
    keep = FileKeep(tmp_path / "kept", opened, "c.1")
    assert keep.before(3, 2) == NOTHING
    keep.put(3, STATE, NOTHING)
    keep.confirm(3)
    found = FileKeep(tmp_path / "kept", opened, "c.1").before(4, None)
    assert found.seq == 3 and alike(found.state, STATE)
    (file,) = (tmp_path / "kept").rglob("*.kept")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert FileKeep(tmp_path / "kept", opened, "c.2").before(4, None) == NOTHING


KEEPS: dict[str, Callable[[Path, Opened, int], Keep]] = {
    "memory": lambda path, opened, room: MemoryKeep(room),
    "files": lambda path, opened, room: FileKeep(path, opened, "c", room),
}


@pytest.mark.parametrize("kind", sorted(KEEPS))
def test_the_same_base_begins_with_the_same(kind: str, opened: Opened, tmp_path: Path) -> None:
    """Whether the update was put down, published or counted when its client was killed: what was before stays."""
    keep = KEEPS[kind](tmp_path, opened, 0)
    states = {seq: {"own": [np.full(2, float(seq))]} for seq in (1, 4, 6, 9)}
    began = NOTHING
    for seq, before in ((1, None), (4, 1), (6, 4), (9, 6)):
        for step in ("new", "put", "put again", "confirmed", "confirmed again"):
            found = keep.before(seq, before)
            assert found.seq == before and (before is None or alike(found.state, states[before])), (seq, step)
            if step.startswith("put"):
                keep.put(seq, states[seq], began)
            elif step.startswith("confirmed"):
                keep.confirm(seq)
        began = keep.before(seq + 1, None)


@pytest.mark.parametrize("kind", sorted(KEEPS))
def test_what_was_never_published_counts_only_where_the_log_says_so(kind: str, opened: Opened, tmp_path: Path) -> None:
    """Killed between putting down and confirming: the log tells whether the update is in it."""
    keep = KEEPS[kind](tmp_path, opened, 0)
    keep.put(1, STATE, NOTHING)
    keep.confirm(1)
    keep.put(4, {"own": [np.ones(1)]}, keep.before(4, 1))
    assert keep.before(6, 1).seq == 1 and keep.before(6, None).seq == 1
    assert keep.before(6, 4).seq == 4 and keep.before(6, 5).seq == 4


def trained(keep: Keep, seqs: range, number: float = 0.0) -> None:
    """A training from each of these bases that was published; base `seq` leaves `seq + number`."""
    for seq in seqs:
        keep.put(seq, {"own": [np.full(4, seq + number)]}, keep.before(seq, None))
        keep.confirm(seq)


@pytest.mark.parametrize("kind", sorted(KEEPS))
def test_a_log_that_goes_back_finds_what_was_kept_then(kind: str, opened: Opened, tmp_path: Path) -> None:
    """Whichever of its bases a client trains from again; what later ones left stays, for a process that was frozen may
    have woken up, and another one gone on in its place."""
    keep = KEEPS[kind](tmp_path, opened, ROOM)
    trained(keep, range(9))
    assert [keep.before(base, None).seq for base in range(10)] == [None, *range(9)]
    keep.put(3, {"own": [np.full(4, 3.5)]}, keep.before(3, None))
    assert [keep.before(base, None).seq for base in range(10)] == [None, *range(9)]
    assert alike(keep.before(4, None).state, {"own": [np.full(4, 3.5)]})


@pytest.mark.parametrize("kind", sorted(KEEPS))
@pytest.mark.parametrize(("room", "short", "left"), [(0, 0, 2), (3, 0, 5), (4, 1, 5), (200, 0, GENERATIONS)])
def test_older_generations_have_a_bounded_room(
    kind: str, room: int, short: int, left: int, opened: Opened, tmp_path: Path
) -> None:
    """The newest two are always kept, and of the others the newest that fit: so many less a byte."""
    trained(FileKeep(tmp_path / "one", opened, "c"), range(10, 11))
    size = 32 if kind == "memory" else next((tmp_path / "one").rglob("*.kept")).stat().st_size
    keep, last = KEEPS[kind](tmp_path, opened, room * size - short), 10 + GENERATIONS + 5
    trained(keep, range(10, last + 1))
    oldest = last - left + 1
    assert keep.before(last + 1, None).seq == last
    assert [keep.before(base, None).seq for base in (oldest + 1, oldest)] == [oldest, None]


def test_a_file_is_read_once(opened: Opened, tmp_path: Path) -> None:
    """By whoever wrote it not at all, by another process once; again where somebody else has written another one."""
    keep, again = (FileKeep(tmp_path, opened, "c") for _ in range(2))
    trained(keep, range(3))
    assert keep.before(3, None).state is keep.before(3, None).state
    assert again.before(3, None).state is again.before(3, None).state
    trained(again, range(2, 3), 0.5)
    assert alike(keep.before(3, None).state, {"own": [np.full(4, 2.5)]})


def test_no_state_is_no_file(opened: Opened, tmp_path: Path) -> None:
    """A run whose stages keep nothing leaves no directory."""
    keep = FileKeep(tmp_path / "kept", opened, "c")
    keep.put(1, {}, NOTHING)
    keep.confirm(1)
    assert keep.before(2, 1) == NOTHING and not (tmp_path / "kept").exists()


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_changed_file_is_refused(opened: Opened, tmp_path_factory: Any, position: int, flip: int) -> None:
    """Whichever byte is another one: the sentence names the file and the way out."""
    where = tmp_path_factory.mktemp("kept")
    FileKeep(where, opened, "c").put(3, STATE, NOTHING)
    (file,) = where.rglob("*.new")
    data = bytearray(file.read_bytes())
    data[position % len(data)] ^= flip
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=r"3\.new, cannot be used: .* or remove it: the client then begins anew"):
        FileKeep(where, opened, "c").before(4, 3)


@pytest.mark.parametrize("length", [0, 10, 100, -1])
def test_a_cut_file_is_refused(opened: Opened, tmp_path: Path, length: int) -> None:
    """As is one that claims far more than it has: nothing is allocated for it."""
    FileKeep(tmp_path, opened, "c").put(3, STATE, NOTHING)
    (file,) = tmp_path.rglob("*.new")
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ConfigError, match="cannot be used"):
        FileKeep(tmp_path, opened, "c").before(4, 3)
    file.write_bytes(file.read_bytes().replace(b"[2,3]", b"[99999999999,3]"))
    with pytest.raises(ConfigError, match="cannot be used"):
        FileKeep(tmp_path, opened, "c").before(4, 3)


def test_what_another_run_kept_is_refused(opened: Opened, tmp_path: Path) -> None:
    """A federation of the same id at another Kafka, another client's file, another base's."""
    other = msgspec.structs.replace(opened, weights=msgspec.structs.replace(opened.weights, update="another"))
    for whose, client, name, says in ((other, "c", "3.kept", "opening"), (opened, "c", "5.kept", "base")):
        FileKeep(tmp_path, whose, client).put(3, STATE, NOTHING)
        (file,) = tmp_path.rglob("3.new")
        file.rename(file.with_name(name))
        with pytest.raises(ConfigError, match=f"it is of another {says}"):
            FileKeep(tmp_path, opened, "c").before(9, 3)
        file.with_name(name).unlink()


def test_a_place_that_cannot_be_written_is_named(opened: Opened, tmp_path: Path) -> None:
    """As an error that is tried again, for room may be made."""
    (tmp_path / "kept").write_bytes(b"")
    with pytest.raises(SpillError, match=r"cannot be written to .*FEDERATED_STATE"):
        FileKeep(tmp_path / "kept", opened, "c").put(1, STATE, NOTHING)


def test_a_writer_that_dies_leaves_what_was_before(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the new file has its name, after it, and with the old one's remains."""
    keep = FileKeep(tmp_path, opened, "c")
    keep.put(1, STATE, NOTHING)
    keep.confirm(1)
    began = keep.before(4, None)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    for name in ("fsync", "open"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, killed)
            with pytest.raises(KeyboardInterrupt):
                keep.put(4, {"own": [np.ones(3)]}, began)
        found = FileKeep(tmp_path, opened, "c").before(4, 1)
        assert found.seq == 1 and alike(found.state, STATE)
    keep.put(4, {"own": [np.ones(3)]}, Kept(1, STATE))
    assert keep.before(5, 4).seq == 4 and not list(tmp_path.rglob("*.part"))
