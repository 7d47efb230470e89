"""One side of a record (the value holds data, the key holds the label): bytes <-> one array."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs.exact import cast
from mainstem.streams.codecs.header import HEADERS, Header

Role = Literal["data", "label"]

Wanted = tuple[np.dtype[Any] | None, np.dtype[Any] | None]
"""The dtypes in which data and labels are wanted; None leaves them as the records have them."""

_PLACE = {"data": "value", "label": "key"}


class ArrayPart(ABC):
    """Bytes <-> an array of one fixed shape and dtype.

    `role` says which side of the record it is, and so how messages name it: the data are
    the record's value, the label is its key.
    """

    def __init__(
        self,
        role: Role,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        wanted: np.dtype[Any] | None = None,
        header: Header | None = None,
    ) -> None:
        self.role = role
        self.place = _PLACE[role]
        self.shape = shape
        self.dtype = dtype
        """What the records hold."""
        self.wanted = wanted or dtype
        """What `read` gives: every value must survive in it."""
        self.header = header
        self.size = math.prod(shape)

    def read(self, payload: bytes) -> NDArray[Any]:
        """The array in `payload`, of this part's shape and `wanted` dtype, finite; raises DecodeError."""
        body = payload if self.header is None else self.header.skip(payload, self.place)
        try:
            return self.decoded(body)
        except DecodeError as error:
            if self.header is None and (kind := self._hidden(payload)) is not None:
                raise DecodeError(kind.advice(payload, self.role, self.place)) from error
            raise

    def _hidden(self, payload: bytes) -> Header | None:
        """The header before which `payload` would be good."""
        for header in HEADERS:
            if header.begins(payload):
                with suppress(DecodeError):
                    self.decoded(payload[header.size :])
                    return header
        return None

    @abstractmethod
    def decoded(self, body: bytes) -> NDArray[Any]:
        """The array in `body`, which has no header; raises DecodeError."""

    @abstractmethod
    def write(self, array: NDArray[Any]) -> bytes:
        """The bytes of `array`, which `prepared` has checked; raises ConfigError."""

    def read_many(self, payloads: Sequence[bytes]) -> NDArray[Any]:
        """The arrays in `payloads` stacked as (n, *shape); raises DecodeError at the first bad one."""
        out = np.empty((len(payloads), *self.shape), self.wanted)
        for i, payload in enumerate(payloads):
            out[i] = self.read(payload)
        return out

    def prepared(self, value: object) -> NDArray[Any]:
        """`value` as an array of this part's shape and dtype for `write`; raises DecodeError."""
        if self.header is not None:
            raise ConfigError(f"{self.role}_header: records behind a registry's header are read, not written")
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DecodeError(f"the {self.role} is not an array: {error}") from error
        if array.size != self.size:
            raise DecodeError(
                f"the {self.role} has shape {array.shape}, but {self.role}_reshape is {text_of(self.shape)}"
            )
        return finite(cast(finite(array, self.role).reshape(self.shape), self.dtype, f"the {self.role}"), self.role)


def text_of(shape: tuple[int, ...]) -> str:
    """A shape as INPUT_CONFIG writes it ("28 28"), or words for a single value."""
    return repr(" ".join(map(str, shape))) if shape else "empty (a single value)"


def finite(array: NDArray[Any], role: Role) -> NDArray[Any]:
    """`array` itself if it holds neither NaN nor infinity; raises DecodeError."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DecodeError(f"the {role} is {array.reshape(-1)[bad]} at position {bad}; it must be finite")
    return array
