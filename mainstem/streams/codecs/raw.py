"""RAW: the bytes of an array, as `ndarray.tobytes()` writes them (little-endian, C order)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import DecodeError
from mainstem.streams.codecs.config import check_size, parse_dtype, parse_shape
from mainstem.streams.codecs.exact import cast
from mainstem.streams.codecs.header import header_of
from mainstem.streams.codecs.part import ArrayPart, Role, finite, text_of


class RawPart(ArrayPart):
    """`{role}_type` and `{role}_reshape` of INPUT_CONFIG; arrays read are read-only views."""

    @classmethod
    def from_config(cls, role: Role, config: Mapping[str, Any], wanted: np.dtype[Any] | None) -> RawPart:
        """The part that INPUT_CONFIG describes; raises ConfigError."""
        dtype = parse_dtype(config.get(f"{role}_type"), f"{role}_type")
        shape = parse_shape(config.get(f"{role}_reshape"), f"{role}_reshape")
        check_size(shape, dtype, f"{role}_reshape")
        return cls(role, shape, dtype, wanted, header_of(role, config))

    def decoded(self, body: bytes) -> NDArray[Any]:
        if len(body) != self.size * self.dtype.itemsize:
            raise DecodeError(
                f"the record's {self.place} has {len(body)} bytes, but {self.role}_reshape "
                f"{text_of(self.shape)} of {self.dtype.name} needs {self.size * self.dtype.itemsize}"
            )
        return self._checked(np.frombuffer(body, self.dtype).reshape(self.shape))

    def read_many(self, payloads: Sequence[bytes]) -> NDArray[Any]:
        header = 0 if self.header is None else self.header.size
        wanted = self.size * self.dtype.itemsize + header
        for payload in payloads:
            if len(payload) != wanted or header:
                self.read(payload)
        bodies = [payload[header:] for payload in payloads] if header else payloads
        return self._checked(np.frombuffer(b"".join(bodies), self.dtype).reshape(-1, *self.shape))

    def write(self, array: NDArray[Any]) -> bytes:
        return array.tobytes()

    def _checked(self, array: NDArray[Any]) -> NDArray[Any]:
        # A bool of any other byte is neither true nor false to NumPy.
        if self.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
            raise DecodeError(f"the {self.role} has a byte other than 0 and 1, but its type is bool")
        return cast(finite(array, self.role), self.wanted, f"the {self.role}")
