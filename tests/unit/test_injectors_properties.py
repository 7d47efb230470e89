"""Properties of the file readers: damaged and arbitrary files raise only our errors."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inject_scripts.class_counts import take
from inject_scripts.preview import preview
from inject_scripts.readers import DataSet, Making, Reading, cifar10_source, csv_source, idx_source, npz_source
from inject_scripts.samples import prepare
from mainstem.errors import ConfigError, DecodeError


def _npz(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, x=np.arange(12, dtype=np.int32).reshape(3, 4), y=np.arange(3))
    return buffer.getvalue()


IDX = struct.pack(">4I", 0x803, 3, 2, 2) + bytes(range(12))
VALID = [
    _npz(np.savez),
    _npz(np.savez_compressed),
    IDX,
    gzip.compress(IDX),
    b"a,b,label\n1,2,0\n3,4,1\n5,6.5,1\n",
    gzip.compress(b"a,b,label\n1,2,0\n3,4,1\n"),
    bytes(3073),
    "\ufefflänge;art;\r\n1,5;rot;\r\n2;blau;\r\n;;\r\n".encode("utf-16"),
    b"4,2,no,yes\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n",
    _npz(lambda file, **arrays: np.savez(file, x=np.asfortranarray(arrays["x"]), y=np.array(["a", "b", "a"]))),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file with some bytes changed, cut, or inserted."""
    content = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(content)


@contextlib.contextmanager
def file_of(content: bytes) -> Iterator[Path]:
    """A file with this content, beside good labels."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "labels").write_bytes(struct.pack(">2I", 0x801, 3) + b"\0\1\2")
        path = Path(folder) / "file"
        path.write_bytes(content)
        yield path


READERS: list[Callable[[Path], DataSet]] = [
    lambda path: npz_source(path, None, None, labelled=True),
    lambda path: npz_source(path, "x", None, labelled=False),
    lambda path: idx_source(path, path.with_name("labels")),
    csv_source,
    lambda path: csv_source(path, None, Making(missing="drop", categories="one-hot")),
    lambda path: csv_source(path, Reading(encoding="cp1252"), Making(missing="mean", categories="codes", decimal=",")),
    lambda path: cifar10_source([path]),
]


@given(damaged() | st.binary(max_size=200))
def test_damaged_files_raise_only_our_errors(content: bytes) -> None:
    """Every reader gives rows of the shape it promised, all finite or not, or one of our errors."""
    with file_of(content) as path:
        for reader in READERS:
            with contextlib.suppress(ConfigError, DecodeError):
                source = reader(path)
                for x, _ in source.rows():
                    assert x.shape == source.x_shape and x.dtype == source.x_dtype
                for x, y in prepare(source, normalize=True, dtype=np.dtype(np.float32), classes=3).iterate():
                    assert x.size == int(np.prod(source.x_shape)) and (y is None or y.shape == (3,))
                samples = prepare(source, shuffle=1)
                preview(source, samples)
                take(source, samples, 0.0)
