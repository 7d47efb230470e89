"""NumPy's .npz: two arrays of equal length, read row by row and never unpickled."""

from __future__ import annotations

import lzma
import math
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from inject_scripts.readers.csv_columns import MISSING, Columns
from inject_scripts.readers.foreign import refuse_archive
from inject_scripts.readers.gaps import without_gaps
from inject_scripts.readers.meaning import Making, Table
from inject_scripts.readers.source import DataSet, Row, opened, stored_rows
from inject_scripts.readers.table import table_source
from inject_scripts.readers.words import MOST_WORDS, Words, learn
from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs.config import check_size

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
    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @property
    def text(self) -> bool:
        """Whether it holds words."""
        return self.dtype.kind in "US"

    def told(self) -> str:
        """The array for people."""
        kind = "text" if self.text else self.dtype.name
        return f"{self.member.removesuffix('.npy')!r} ({kind}, {' x '.join(map(str, self.shape))})"

    def rows(self) -> Iterator[NDArray[Any]]:
        """Its rows, in this machine's byte order; raises DecodeError."""
        what = f"{self.path.name}, {self.member}"
        with _archive(self.path) as archive, archive.open(self.member) as file:
            if _header(file) != (self.shape, self.by_columns, self.dtype):
                raise DecodeError(f"{self.path.name} changed while it was read")
            if self.by_columns:
                yield from _by_columns(file, self, what)
            else:
                yield from stored_rows(file, self.shape[0], self.shape[1:], self.dtype, what)


def npz_source(
    path: Path, data_key: str | None, label_key: str | None, *, labelled: bool, making: Making | None = None
) -> DataSet:
    """The arrays `data_key` and `label_key` of the file, or the first of the usual names.

    Words are made numbers as `making` says, like those of a CSV. Raises ConfigError and DecodeError.
    """
    making = making or Making()
    with _archive(path) as archive:
        refuse_archive(path, archive)
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        data = _stored(archive, _pick(path, names, data_key, DATA_NAMES, "--data-key"), path)
        label = None
        if labelled:
            label = _stored(archive, _pick(path, names, label_key, LABEL_NAMES, "--label-key"), path)
    if label is not None and label.shape[0] != data.shape[0]:
        raise DecodeError(f"{path.name}: {data.shape[0]} rows of data, but {label.shape[0]} labels")
    check_size(data.shape[1:], data.dtype, path.name)
    if data.text:
        return _of_text(data, label, making)
    classes = None if label is None or not label.text else making.classes or _learnt(label, making)

    def stored() -> Iterator[Row]:
        if label is None:
            yield from ((x, None) for x in data.rows())
            return
        for number, (x, y) in enumerate(zip(data.rows(), label.rows(), strict=True), 1):
            yield x, y if classes is None else classes.number(_text(y, label, number), _where(label, number))

    floats = data.dtype.kind == "f" or (label is not None and label.dtype.kind == "f")
    rows, told = without_gaps(stored, data.shape[1:], making) if floats else (stored, ())
    label_dtype = None if label is None else np.dtype(np.int64) if classes else label.dtype.newbyteorder("=")
    return DataSet(
        path.name,
        None if told else data.shape[0],
        data.shape[1:],
        data.dtype.newbyteorder("="),
        None if label is None else () if classes else label.shape[1:],
        label_dtype,
        rows,
        classes=None if classes is None else len(classes.names),
        data=f"the array {data.told()}",
        label="" if label is None else f"the array {label.told()}",
        class_names=None if classes is None else classes.names,
        notes=(*_notes(data, classes), *told),
    )


def _notes(data: _Stored, classes: Words | None) -> tuple[str, ...]:
    found = ["its data are stored by columns: copied"] if data.by_columns else []
    if classes is not None and classes.learnt:
        found.append(f"classes learnt from the words: sites that train together all say --classes {classes.option}")
    return tuple(found)


def _of_text(data: _Stored, label: _Stored | None, making: Making) -> DataSet:
    """A table of words, as `DataFrame.to_numpy(str)` gives it, read like that of a CSV."""
    if len(data.shape) != 2:
        raise DecodeError(
            f"{data.path.name}: the array {data.told()} holds text, which is read as a table of rows alone"
        )
    if label is not None and math.prod(label.shape[1:]) != 1:
        raise DecodeError(f"{data.path.name}: the array {label.told()} must be one label for each row of text")
    width = data.shape[1]
    names = tuple(map(str, range(width))) + (() if label is None else (label.member.removesuffix(".npy"),))
    columns = Columns(names, True, None if label is None else width, tuple(range(width)))

    def rows() -> Iterator[tuple[int, list[str]]]:
        labels = (None for _ in range(data.shape[0])) if label is None else label.rows()
        for number, (x, y) in enumerate(zip(data.rows(), labels, strict=True), 1):
            cells = [_text(cell, data, number) for cell in x]
            yield number, cells if label is None else [*cells, _text(y, label, number)]

    return table_source(Table(data.path.name, columns, rows, unit="row", notes=_notes(data, None)), making)


def _learnt(label: _Stored, making: Making) -> Words:
    """The classes of an array of words; raises ConfigError."""
    name = label.path.name
    if math.prod(label.shape[1:]) != 1:
        raise DecodeError(f"{name}: the array {label.told()} must be one label for each row")
    words: set[str] = set()
    for number, y in enumerate(label.rows(), 1):
        words.add(_text(y, label, number))
        if len(words) > MOST_WORDS:
            raise ConfigError(
                f"{name}: the array {label.told()} holds more than {MOST_WORDS} different words: no classes"
            )
    if gap := sorted(word for word in words if word.lower() in MISSING):
        raise ConfigError(f"{name}: the array {label.told()} has the label {gap[0]!r}; every row needs a label")
    found = learn(words)
    if making.count not in (None, len(found.names)) or len(found.names) < 2:
        raise ConfigError(
            f"{name}: the array {label.told()} holds {len(found.names)} classes ({found}): name all of them in their "
            f"order with --classes, such as --classes {found.option},..."
        )
    return found


def _text(value: Any, stored: _Stored, number: int) -> str:
    """A cell as text; raises DecodeError where it is bytes that are none."""
    item = np.asarray(value).reshape(-1)[0].item()
    if not isinstance(item, bytes):
        return str(item).strip()
    try:
        return item.decode().strip()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{_where(stored, number)} holds bytes that are no UTF-8") from error


def _where(stored: _Stored, number: int) -> str:
    return f"{stored.path.name}, {stored.member}, row {number},"


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
        shape, by_columns, dtype = _header(file)
    if dtype.kind == "O":
        raise DecodeError(
            f"{path.name}: array {name!r} holds Python objects, as DataFrame.to_numpy() gives of mixed columns; they "
            f"are pickled, and no pickle is ever opened here: save {name}=frame.to_numpy(str), or the numbers alone"
        )
    if dtype.names is not None:
        raise DecodeError(
            f"{path.name}: array {name!r} holds records with the fields {', '.join(dtype.names)}: save "
            f"{name}=numpy.lib.recfunctions.structured_to_unstructured({name})"
        )
    if dtype.kind not in "biufUS" or not dtype.itemsize:
        raise DecodeError(f"{path.name}: array {name!r} holds {dtype}, not numbers")
    if not shape:
        raise DecodeError(f"{path.name}: array {name!r} is a single value, not rows")
    if min(shape) < 0 or 0 in shape[1:]:
        raise DecodeError(f"{path.name}: the rows of array {name!r} have no size")
    return _Stored(path, f"{name}.npy", shape, dtype, by_columns)


def _by_columns(file: IO[bytes], stored: _Stored, what: str) -> Iterator[NDArray[Any]]:
    """The rows of an array that lies column by column: from a copy on disk, since each is in all its parts."""
    size = math.prod(stored.shape) * stored.dtype.itemsize
    with tempfile.TemporaryFile() as copy:
        while copy.tell() <= size and (part := file.read(min(size + 1 - copy.tell(), 1 << 20))):
            copy.write(part)
        if copy.tell() != size:
            told = (
                "has bytes after its last row"
                if copy.tell() > size
                else f"is truncated: {size - copy.tell()} bytes are missing"
            )
            raise DecodeError(f"{what} {told}")
        copy.flush()
        if not size:
            return
        whole = np.memmap(copy, stored.dtype, "r", shape=stored.shape, order="F")
        native = stored.dtype.newbyteorder("=")
        for row in whole:
            yield np.array(row, native, order="C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """NumPy's own header reader, its flag only where there are columns: a literal, never code; raises ValueError."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the array format is not for numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return shape, by_columns and len(shape) > 1, dtype
