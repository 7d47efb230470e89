"""NumPy's .npz: two arrays of equal length, read row by row and never unpickled."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from inject_scripts.readers.source import Row, Source, opened, stored_rows
from mainstem.codecs.config import check_size
from mainstem.errors import ConfigError, DecodeError

DATA_NAMES = ("x", "x_train", "data", "images", "X")
LABEL_NAMES = ("y", "y_train", "labels", "label", "target")

# What zipfile, its decompressors and NumPy's header reader raise for damaged bytes.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    KeyError,
    OverflowError,
    SyntaxError,
    tokenize.TokenError,
)


@dataclass(frozen=True, slots=True)
class _Stored:
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def npz_source(path: Path, data_key: str | None, label_key: str | None, *, labelled: bool) -> Source:
    """The arrays `data_key` and `label_key` of the file, or the first of the usual names.

    Raises ConfigError and DecodeError.
    """
    with _archive(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        data = _stored(archive, _pick(path, names, data_key, DATA_NAMES, "--data-key"), path)
        label = None
        if labelled:
            label = _stored(archive, _pick(path, names, label_key, LABEL_NAMES, "--label-key"), path)
    if label is not None and label.shape[0] != data.shape[0]:
        raise DecodeError(f"{path.name}: {data.shape[0]} rows of data, but {label.shape[0]} labels")
    check_size(data.shape[1:], data.dtype, path.name)

    def rows() -> Iterator[Row]:
        with _archive(path) as archive, _at_data(archive, data, path) as data_file:
            xs = stored_rows(data_file, data.shape[0], data.shape[1:], data.dtype, f"{path.name}, {data.member}")
            if label is None:
                yield from ((x, None) for x in xs)
                return
            with _at_data(archive, label, path) as label_file:
                ys = stored_rows(
                    label_file, label.shape[0], label.shape[1:], label.dtype, f"{path.name}, {label.member}"
                )
                yield from zip(xs, ys, strict=True)

    return Source(
        path.name,
        data.shape[0],
        data.shape[1:],
        data.dtype.newbyteorder("="),
        None if label is None else label.shape[1:],
        None if label is None else label.dtype.newbyteorder("="),
        rows,
        data=f"the array {_told(data)}",
        label="" if label is None else f"the array {_told(label)}",
    )


def _told(stored: _Stored) -> str:
    return f"{stored.member.removesuffix('.npy')!r} ({stored.dtype.name}, {' x '.join(map(str, stored.shape))})"


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except _BROKEN as error:
            raise DecodeError(f"{path.name} is no .npz file, or is damaged: {error}") from error


def _pick(path: Path, names: Sequence[str], asked: str | None, usual: Sequence[str], option: str) -> str:
    if asked is not None and asked not in names:
        raise ConfigError(f"{path.name} has no array {asked!r}; it has {', '.join(names) or 'none'}")
    likely = [name for name in usual if name in names]
    if asked is None and len(likely) > 1:
        raise ConfigError(f"{path.name} has the arrays {' and '.join(likely)}; name one with {option}")
    found = asked or (likely[0] if likely else None)
    if found is None:
        raise ConfigError(f"{path.name} has the arrays {', '.join(names) or '(none)'}; name one with {option}")
    return found


def _stored(archive: zipfile.ZipFile, name: str, path: Path) -> _Stored:
    with archive.open(f"{name}.npy") as file:
        shape, fortran, dtype = _header(file)
    if dtype.kind not in "biuf":
        raise DecodeError(f"{path.name}: array {name!r} holds {dtype}, not numbers")
    if not shape:
        raise DecodeError(f"{path.name}: array {name!r} is a single value, not rows")
    if min(shape) < 0 or 0 in shape[1:]:
        raise DecodeError(f"{path.name}: the rows of array {name!r} have no size")
    if fortran and len(shape) > 1:
        raise DecodeError(
            f"{path.name}: array {name!r} is stored by columns; save numpy.ascontiguousarray({name}) instead"
        )
    return _Stored(f"{name}.npy", shape, dtype)


@contextmanager
def _at_data(archive: zipfile.ZipFile, stored: _Stored, path: Path) -> Iterator[IO[bytes]]:
    with archive.open(stored.member) as file:
        if _header(file)[0] != stored.shape:
            raise DecodeError(f"{path.name} changed while it was read")
        yield file


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """NumPy's own header reader: a literal, never code; raises ValueError."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version} of the array format is not for numbers")
