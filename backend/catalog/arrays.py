"""Arrays on their way to the workshop and back: what it wrote is read as a stranger's."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from backend.catalog.workshop import broken


def npz(arrays: Sequence[Any]) -> bytes:
    """Arrays as the workshop reads them: an npz of `t0000`, `t0001`, ... in order."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{f"t{index:04d}": array for index, array in enumerate(arrays)})
    return buffer.getvalue()


def array_of(data: bytes) -> Any:
    """The array of an `.npy` that the workshop wrote; raises Problem where the bytes are none."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("several arrays")
        return array
    except Exception as error:  # what a damaged header makes of NumPy's parser is anything
        raise broken("its outputs cannot be read") from error


def arrays_of(data: bytes) -> list[Any]:
    """The inverse of `npz`; raises Problem where the bytes are none, or unfold to more than they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            if sum(member.file_size for member in members.infolist()) > len(data):
                raise ValueError("compressed")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return [np.asarray(archive[f"t{index:04d}"]) for index in range(len(archive.files))]
    except Exception as error:  # what a damaged header makes of NumPy's parser is anything
        raise broken("its weights cannot be read") from error
