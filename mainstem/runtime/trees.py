"""Removes a directory whatever is in it: however deep, with names and modes that a hostile process chose."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove the directory `path` and everything below it, without following links; nothing happens if it is absent.

    Nobody may be writing there any more. Each directory's children are moved up to the top before it is removed: so
    two file descriptors do for any depth, where `shutil.rmtree` recurses and paths grow beyond what a call takes.
    Raises OSError where the file system refuses.
    """
    try:
        top = _opened(str(path), None)
    except FileNotFoundError:
        return
    try:
        moved, number = secrets.token_hex(8), 0
        while names := os.listdir(top):
            for name in names:
                if not _is_directory(name, top):
                    os.unlink(name, dir_fd=top)
                    continue
                inner = _opened(name, top)
                try:
                    for child in os.listdir(inner):
                        if not _is_directory(child, inner):
                            os.unlink(child, dir_fd=inner)
                            continue
                        os.chmod(child, 0o700, dir_fd=inner)  # to move a directory is to write its `..`
                        os.rename(child, f".{moved}-{number}", src_dir_fd=inner, dst_dir_fd=top)
                        number += 1
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _is_directory(name: str, place: int) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=place).st_mode)


def _opened(name: str, place: int | None) -> int:
    """A descriptor of the directory `name`, which its owner may from now on list and change."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=place).st_mode):
        raise NotADirectoryError(name)
    os.chmod(name, 0o700, dir_fd=place)
    return os.open(name, _OPEN, dir_fd=place)
