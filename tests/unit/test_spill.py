"""Bytes set aside: the same bytes back, within the bounds, wherever they lie and however they are cut."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.aggregation.blocks import TensorSlice, blocks, reader, tensors
from mainstem.aggregation.spill import Piece, Spill, reader_of
from mainstem.errors import SpillError
from mainstem.protocol.weights import Tensor, specs_of, wire

KEEP = st.integers(0, 300)
FORGET = st.integers(-20, -1)


@settings(max_examples=60)
@given(steps=st.lists(KEEP | FORGET, max_size=60), memory=st.integers(0, 400))
def test_what_is_kept_comes_back_and_what_is_forgotten_makes_room(steps: list[int], memory: int) -> None:
    """Any sequence of keeping and forgetting against a dictionary; the file never grows beyond its bound."""
    spill, disk = Spill(memory, 1000), 1000
    kept: list[tuple[bytes, Piece]] = []
    for number, step in enumerate(steps):
        if step < 0:
            if kept:
                kept.pop(step % len(kept))
            continue
        data = bytes([number % 251]) * step
        try:
            kept.append((data, spill.keep(data)))
        except SpillError:
            assert sum(len(other) for other, _ in kept) + step > memory / 2  # there was something in the way
    for data, piece in kept:
        assert piece.nbytes == len(data) and bytes(piece.read()) == data
        assert bytes(piece.read(1, max(1, len(data) - 1))) == data[1 : max(1, len(data) - 1)]
    if spill._file is not None:
        assert os.fstat(spill._file.fileno()).st_size <= disk
    spill.close()


def test_room_is_used_again() -> None:
    """A file with room for ten takes ten after ten, in any order of forgetting."""
    spill = Spill(0, 1000)
    for turn in range(3):
        pieces = [spill.keep(bytes([turn, n]) * 50) for n in range(10)]
        with pytest.raises(SpillError, match=r"room for 1 KB.*as much as may be set aside.*TMPDIR"):
            spill.keep(b"x")
        order = np.random.default_rng(turn).permutation(10)
        for number in order[:5]:
            assert bytes(pieces[number].read()) == bytes([turn, number]) * 50
        while pieces:
            pieces.pop(len(pieces) // 2)
    assert bytes(spill.keep(b"y" * 1000).read()) == b"y" * 1000


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what there is to do; and no file is left where it would have gone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spill = Spill(0)
    assert bytes(spill.keep(b"before").read()) == b"before"

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(SpillError, match=rf"{tmp_path}.*the disk is full; make room there, or name another"):
            spill.keep(b"after")
    assert list(tmp_path.iterdir()) == []
    assert bytes(spill.keep(b"after").read()) == b"after"


def test_others_keep_some_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays free on a large disk, and on one of a hundred bytes."""
    for total, free, room in ((10 << 30, 513 << 20, 1 << 20), (100, 50, 45), (10 << 30, 1 << 20, 0)):
        usage = (total, total - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        spill = Spill(0)
        if room:
            piece = spill.keep(bytes(room))
            assert piece.nbytes == room
        with pytest.raises(SpillError, match="as much as may be set aside"):
            spill.keep(b"x")
        spill.close()


def test_a_closed_file_is_said() -> None:
    """Whoever still reads from it."""
    spill = Spill(0)
    piece = spill.keep(b"data")
    spill.close()
    with pytest.raises(SpillError, match="cannot be read"):
        piece.read()


@settings(max_examples=60)
@given(
    shapes=st.lists(st.lists(st.integers(0, 5), max_size=3).map(tuple), min_size=1, max_size=5),
    dtypes=st.lists(st.sampled_from(["float16", "float32", "float64", "int32", "bool"]), min_size=5, max_size=5),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
    memory=st.integers(0, 200),
    elements=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_tensors_are_read_however_their_bytes_are_cut(
    shapes: list[tuple[int, ...]], dtypes: list[str], cuts: list[int], memory: int, elements: int, seed: int
) -> None:
    """Through pieces that end anywhere, empty ones among them, each block is that of the tensors themselves."""
    random = np.random.default_rng(seed)
    whole: list[Tensor] = [
        np.asarray(random.normal(size=s) * 10).astype(d) for s, d in zip(shapes, dtypes, strict=False)
    ]
    data = b"".join(wire(tensor).tobytes() for tensor in whole)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    spill = Spill(memory)
    pieces = [spill.keep(data[a:b]) for a, b in itertools.pairwise(places)]
    read = reader_of(dict(enumerate(specs_of((f"t{n}", t) for n, t in enumerate(whole)))), pieces)
    for block in [*blocks(whole, elements), [TensorSlice(0, whole[0].size, whole[0].size)]]:
        for got, want in zip(read(block), reader(whole)(block), strict=True):
            assert got.dtype == want.dtype and got.tobytes() == want.tobytes()
    assert [t.tobytes() for t in tensors(read, dict(enumerate(whole)))] == [t.tobytes() for t in whole]
    spill.close()
