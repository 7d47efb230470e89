"""Files that are no data set of a kind that is read here, by their first bytes, and the way to one that is."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inject_scripts.readers.source import BROKEN, opened
from mainstem.errors import ConfigError

_HEAD: Final = 512
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]|\([dl]p\d|c[\w.]+\n\w+\n(p\d+\n|\()")
_CIFAR: Final = (b"batch_label", b"fine_labels", b"coarse_labels", b"label_names")

_KNOWN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x93NUMPY", "one NumPy array (.npy); save data and labels together: numpy.savez('mine.npz', x=x, y=y)"),
    (b"PAR1", "a Parquet file; write it as CSV: pandas.read_parquet(...).to_csv('mine.csv', index=False)"),
    (b"ARROW1", "an Arrow file; write it as CSV: pandas.read_feather(...).to_csv('mine.csv', index=False)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; take its arrays out: numpy.savez('mine.npz', x=x, y=y)"),
    (b"MATLAB 5.0", "a MATLAB file; take its arrays out: numpy.savez('mine.npz', x=x, y=y)"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of old; save its sheet as CSV UTF-8"),
    (b"SQLite format 3", "an SQLite database; write its table as CSV"),
    (b"%PDF", "a PDF; a data set is CSV, .npz, MNIST IDX or CIFAR-10 binary"),
    (b"\x89PNG", "one picture; a data set is many: save them as arrays with numpy.savez('mine.npz', x=x, y=y)"),
    (b"\xff\xd8\xff", "one picture; a data set is many: save them as arrays with numpy.savez('mine.npz', x=x, y=y)"),
    (b"BZh", "packed by bzip2; unpack it first (bunzip2)"),
    (b"\xfd7zXZ", "packed by xz; unpack it first (unxz)"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b'{"', "JSON; a data set is CSV, .npz, MNIST IDX or CIFAR-10 binary"),
    (b"[{", "JSON; write it as CSV: pandas.read_json(...).to_csv('mine.csv', index=False)"),
)


def head_of(path: Path) -> bytes:
    """The file's first bytes, unpacked; of a damaged file none. Raises ConfigError where it cannot be read."""
    try:
        with opened(path) as file:
            return file.read(_HEAD)
    except BROKEN:
        return b""


def refuse_foreign(path: Path, head: bytes) -> None:
    """Raise ConfigError where the file begins as something that is never a data set here, saying what to do instead.

    Nothing is opened or unpickled.
    """
    if _PICKLE.match(head):
        raise ConfigError(f"{path.name} is {_pickle(path, head)}")
    told = next((said for begin, said in _KNOWN if head.startswith(begin)), None)
    if head[257:262] == b"ustar":
        told = "a tar archive; unpack it first (tar xf)"
    if told is not None:
        raise ConfigError(f"{path.name} is {told}")


def told_archive(names: Sequence[str]) -> str | None:
    """What a zip archive with these members is, where it is no .npz file; None where it may be one."""
    if any(name.startswith("xl/") for name in names):
        return "an Excel workbook; save its sheet as CSV UTF-8 and inject that"
    if any(name == "content.xml" for name in names):
        return "an OpenDocument sheet; save it as CSV and inject that"
    inside = [name for name in names if not name.endswith("/")]
    if inside and not any(name.endswith(".npy") for name in inside):
        return f"a zip archive of {', '.join(inside[:5])}; unpack it first"
    return None


def refuse_archive(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ConfigError where an archive holds no arrays at all."""
    if (told := told_archive(archive.namelist())) is not None:
        raise ConfigError(f"{path.name} is {told}")


def _pickle(path: Path, head: bytes) -> str:
    never = "pickles can run code when they are opened, so none ever is here"
    if any(mark in head for mark in _CIFAR) or re.fullmatch(r"(data|test)_batch(_\d)?", path.name):
        return (
            f"a batch of CIFAR's Python version, a pickle; {never}. Take the binary version from the same page "
            f'({path.name}.bin), or turn this one into arrays yourself, if you trust it: python -c "import numpy, '
            f"pickle; d = pickle.load(open('{path.name}', 'rb'), encoding='bytes'); numpy.savez('{path.name}.npz', "
            "x=d[b'data'].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), y=d[b'labels'])\""
        )
    return f"a Python pickle; {never}. If you trust it, open it and save its arrays: numpy.savez('mine.npz', x=x, y=y)"
