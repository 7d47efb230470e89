"""`.keras` files of an architecture with weights, made by the workshop once and kept in a bounded cache.

The cache is of one machine and can be lost at any time: the log and the database hold what counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from django.conf import settings

from backend.catalog import workshop

CACHE_BYTES = 4 << 30


def key_of(architecture: str, sha256: str) -> str:
    """Names the content: the architecture, and the weights by the hash that whoever has them goes by."""
    return hashlib.sha256(f"{sha256}\n{architecture}".encode()).hexdigest()


def keras_file(architecture: str, sha256: str, weights: Callable[[], Path]) -> Path:
    """The `.keras` file; `weights` gives the npz where it must be made. Raises Problem."""
    path = _folder() / f"{key_of(architecture, sha256)}.keras"
    if not path.exists():
        operation = {"op": "export", "architecture": architecture, "weights": "weights.npz", "out": "model.keras"}
        files = {"weights.npz": weights()}
        _keep(path, lambda new: workshop.run([operation], files=files, saved={"model.keras": Path(new.name)}))
    with contextlib.suppress(OSError):
        os.utime(path)
    return path


def cached(name: str, write: Callable[[IO[bytes]], object]) -> Path:
    """Bytes by a name that stands for their content, written where the cache has them no longer."""
    path = _folder() / name
    if not path.exists():
        _keep(path, write)
    return path


def _folder() -> Path:
    folder: Path = settings.HOME / "blobs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _keep(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            write(file)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
    _prune(path.parent, keep=path)


def _prune(folder: Path, keep: Path) -> None:
    """Forget the files that were not asked for the longest, until the cache is within its bound."""
    files = [
        (entry.stat().st_mtime, entry.stat().st_size, Path(entry.path))
        for entry in os.scandir(folder)
        if entry.is_file()
    ]
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= CACHE_BYTES:
            break
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
