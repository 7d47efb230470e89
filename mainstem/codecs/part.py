"""One side of a record (the value holds data, the key holds the label): bytes <-> one array."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import DecodeError

Role = Literal["data", "label"]

_PLACE = {"data": "value", "label": "key"}


class Part(ABC):
    """Bytes <-> an array of one fixed shape and dtype.

    `role` says which side of the record it is, and so how messages name it: the data are
    the record's value, the label is its key.
    """

    def __init__(self, role: Role, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.role = role
        self.place = _PLACE[role]
        self.shape = shape
        self.dtype = dtype
        self.size = math.prod(shape)

    @abstractmethod
    def read(self, payload: bytes) -> NDArray[Any]:
        """The array in `payload`, of this part's shape and dtype, finite; raises DecodeError."""

    @abstractmethod
    def write(self, array: NDArray[Any]) -> bytes:
        """The bytes of `array`, which `prepared` has checked; raises ConfigError."""

    def read_many(self, payloads: Sequence[bytes]) -> NDArray[Any]:
        """The arrays in `payloads` stacked as (n, *shape); raises DecodeError at the first bad one."""
        out = np.empty((len(payloads), *self.shape), self.dtype)
        for i, payload in enumerate(payloads):
            out[i] = self.read(payload)
        return out

    def prepared(self, value: object) -> NDArray[Any]:
        """`value` as an array of this part's shape and dtype for `write`; raises DecodeError."""
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DecodeError(f"the {self.role} is not an array: {error}") from error
        if array.size != self.size:
            raise DecodeError(
                f"the {self.role} has shape {array.shape}, but {self.role}_reshape is {text_of(self.shape)}"
            )
        return finite(cast(array.reshape(self.shape), self.dtype, self.role), self.role)


def text_of(shape: tuple[int, ...]) -> str:
    """A shape as INPUT_CONFIG writes it ("28 28"), or words for a single value."""
    return repr(" ".join(map(str, shape))) if shape else "empty (a single value)"


def finite(array: NDArray[Any], role: Role) -> NDArray[Any]:
    """`array` itself if it holds neither NaN nor infinity; raises DecodeError."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DecodeError(f"the {role} is {array.reshape(-1)[bad]} at position {bad}; it must be finite")
    return array


def cast(array: NDArray[Any], dtype: np.dtype[Any], role: Role) -> NDArray[Any]:
    """`array` as `dtype` where every value survives; raises DecodeError.

    Floating targets round (and may overflow to infinity, which `finite` then refuses);
    integer and boolean targets take only values that they hold exactly.
    """
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf":
        raise DecodeError(f"the {role} holds something other than numbers")
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    finite(array, role)
    low, high = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    # Compared as Python numbers: NumPy would round the limits of 64-bit integers to float64.
    if array.size and (array.min().item() < low or array.max().item() > high):
        raise DecodeError(f"the {role} has a value outside {low}..{high}, the range of {dtype.name}")
    if array.dtype.kind == "f" and (array != np.trunc(array)).any():
        raise DecodeError(f"the {role} has a fraction, but its type is {dtype.name}")
    return array.astype(dtype)
