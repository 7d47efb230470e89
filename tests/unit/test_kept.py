"""Checked updates in memory and in the temporary file: the same bytes back, or nothing."""

from __future__ import annotations

import contextlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mainstem.aggregation.blocks import TensorSlice, tensors
from mainstem.aggregation.cache import UpdateCache
from mainstem.errors import LogError, SpillError
from mainstem.protocol.weights import Tensor, specs_of


def update(number: int) -> list[Tensor]:
    """Tensors of several types, a scalar and an empty one among them."""
    random = np.random.default_rng(number)
    return [
        random.normal(size=(30, 7)).astype(np.float32),
        np.array(number, np.int64),
        np.empty((0, 3), np.float16),
        random.normal(size=11),
    ]


def payload(number: int) -> list[bytes]:
    """Its bytes, in two parts."""
    whole = b"".join(tensor.tobytes() for tensor in update(number))
    return [whole[:100], whole[100:]]


SPECS = dict(enumerate(specs_of((f"t{i}", t) for i, t in enumerate(update(0)))))
SIZE = sum(t.nbytes for t in update(0))


def keep(store: UpdateCache, key: int, number: int) -> None:
    """Keep it, if there is room."""
    if store.room(SIZE):
        with contextlib.suppress(SpillError):
            store.keep(key, SPECS, payload(number))


@pytest.mark.parametrize(("memory", "disk", "kept"), [(10, 0, 10), (0, 10, 10), (2, 3, 5), (0, 0, 0)])
def test_what_fits_is_given_back(memory: int, disk: int, kept: int) -> None:
    """Ten updates: those that fit in memory and file come back in any order with the same bytes, the others do not."""
    store = UpdateCache(memory * SIZE, disk * SIZE)
    for number in range(10):
        keep(store, 100 + number, number)
    found = set()
    for number in (7, 3, 9, 0, 1, 2, 4, 8, 6, 5, 3):
        read = store.get(100 + number)
        if read is not None:
            found.add(number)
            for got, put in zip(tensors(read, SPECS), update(number), strict=True):
                assert got.dtype == put.dtype and got.shape == put.shape
                np.testing.assert_array_equal(got, put)
    assert len(found) == kept
    store.clear()
    assert store.get(100) is None
    store.close()


def test_the_next_round_writes_over_the_file() -> None:
    """What was forgotten does not come back: a round's update lies where the round before had another."""
    store = UpdateCache(0, SIZE)
    for number in (1, 2):
        keep(store, number, number)
        read = store.get(number)
        assert read is not None
        for got, put in zip(tensors(read, SPECS), update(number), strict=True):
            np.testing.assert_array_equal(got, put)
        store.clear()
        assert store.get(number) is None
    store.close()


@pytest.mark.parametrize("memory", [0, 1])
def test_parts_are_read_alone(memory: int) -> None:
    """Any part of a tensor, out of memory as out of the file, by several threads at a time."""
    store = UpdateCache(memory * SIZE, 3 * SIZE)
    for number in range(3):
        keep(store, number, number)

    def same(number: int) -> None:
        read, whole = store.get(number % 3), update(number % 3)
        assert read is not None
        cut, scalar, tail = read([TensorSlice(0, 17 + number, 60), TensorSlice(1, 0, 1), TensorSlice(3, 4, 11)])
        np.testing.assert_array_equal(cut, whole[0].reshape(-1)[17 + number : 60])
        assert scalar[0] == whole[1]
        np.testing.assert_array_equal(tail, whole[3][4:])

    with ThreadPoolExecutor(4) as pool:
        for _ in pool.map(same, range(40)):
            pass
    store.close()


def test_a_lost_file_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file ends early, whoever reads from it hears so: the log has the update."""
    store = UpdateCache(0, SIZE)
    keep(store, 1, 1)
    read = store.get(1)
    assert read is not None
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(LogError, match="ends early"):
        read([TensorSlice(0, 0, 5)])
    store.close()


def test_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file cannot be written, the update is simply not kept."""

    def full(**_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    store = UpdateCache(0, 10 * SIZE)
    keep(store, 1, 1)
    assert store.get(1) is None
