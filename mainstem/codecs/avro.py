"""AVRO: schemaless Avro records, read within bounds that the bytes and the shape set.

Avro 1.11 specification, "Binary Encoding". Every number takes at least one byte, so a claimed
length is checked against the bytes left and the values still missing before it costs anything.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from mainstem.codecs.config import check_size, parse_dtype, parse_shape
from mainstem.codecs.part import Part, Role, cast, finite, text_of
from mainstem.codecs.scheme import (
    Array,
    Blob,
    Leaf,
    Node,
    Nullable,
    Record,
    parse_scheme,
    plain_value,
    shape_without_reshape,
)
from mainstem.errors import ConfigError, DecodeError


def avro_parts(config: Mapping[str, Any]) -> tuple[Part, Part | None]:
    """The data and the label (None without a `label_scheme`) of INPUT_CONFIG; raises ConfigError."""
    label = AvroPart.from_config("label", config) if config.get("label_scheme") is not None else None
    return AvroPart.from_config("data", config), label


class AvroPart(Part):
    """`{role}_scheme`, and optionally `{role}_reshape` and `{role}_type` to cast to."""

    def __init__(self, role: Role, shape: tuple[int, ...], dtype: np.dtype[Any], node: Node, schema: Any) -> None:
        super().__init__(role, shape, dtype)
        self.node = node
        self._schema = schema
        self._parsed: Any = None

    @classmethod
    def from_config(cls, role: Role, config: Mapping[str, Any]) -> AvroPart:
        """The part that INPUT_CONFIG describes; raises ConfigError."""
        node, schema = parse_scheme(config.get(f"{role}_scheme"), f"{role}_scheme")
        shape, dtype = scheme_shape(node, role, config)
        return cls(role, shape, dtype, node, schema)

    def read(self, payload: bytes) -> NDArray[Any]:
        if self.size > len(payload):
            raise DecodeError(
                f"the record's {self.place} has {len(payload)} bytes, too few for the {self.size} values "
                f"of {self.role}_reshape {text_of(self.shape)}"
            )
        out = np.empty(self.size, self.node.dtype)
        reader = _Reader(payload, out, self.role)
        reader.read(self.node)
        reader.finish()
        return finite(cast(out, self.dtype, self.role).reshape(self.shape), self.role)

    def write(self, array: NDArray[Any]) -> bytes:
        flat = cast(array, self.node.dtype, self.role).reshape(-1)
        value = plain_value(self.node, flat, f"{self.role}_scheme", bytes)
        buffer = io.BytesIO()
        try:
            if self._parsed is None:
                self._parsed = fastavro.parse_schema(self._schema)
            fastavro.schemaless_writer(buffer, self._parsed, value)
        except Exception as error:  # fastavro raises many kinds for schemas that are stricter than ours
            raise ConfigError(f"{self.role}_scheme cannot be written: {error}") from error
        return buffer.getvalue()


def scheme_shape(node: Node, role: Role, config: Mapping[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a part that a scheme describes; raises ConfigError."""
    reshape, dtype = config.get(f"{role}_reshape"), config.get(f"{role}_type")
    stored = parse_dtype(dtype, f"{role}_type") if dtype is not None else node.dtype
    if reshape in (None, ""):
        shape = shape_without_reshape(node, f"{role}_scheme")
    else:
        shape = parse_shape(reshape, f"{role}_reshape")
    check_size(shape, stored, f"{role}_reshape")
    return shape, stored


class _Reader:
    """Reads numbers into `out`, which has exactly the size that the sample must have."""

    def __init__(self, payload: bytes, out: NDArray[Any], role: Role) -> None:
        self.payload = payload
        self.at = 0
        self.out = out
        self.filled = 0
        self.role = role

    def read(self, node: Node) -> None:
        if isinstance(node, Leaf):
            self._room(1)
            self.out[self.filled] = self._leaf(node)
            self.filled += 1
        elif isinstance(node, Record):
            for _, child in node.fields:
                self.read(child)
        elif isinstance(node, Array):
            self._array(node)
        elif isinstance(node, Blob):
            self._block(node.size if node.size is not None else self._long(), node.dtype)
        elif isinstance(node, Nullable):
            if (branch := self._long()) != node.branch:
                raise self._error(f"has null, or union branch {branch}, where a number is needed")
            self.read(node.value)

    def finish(self) -> None:
        """Everything must have been used, and every value be there."""
        if self.at != len(self.payload):
            raise self._error(f"has {len(self.payload) - self.at} bytes after its end")
        if self.filled != self.out.size:
            raise self._error(f"has {self.filled} values, but {self.role}_reshape needs {self.out.size}")

    def _array(self, node: Array) -> None:
        items = node.items
        dtype = items.dtype if isinstance(items, Leaf) and items.kind in ("float", "double") else None
        while count := self._long():
            end = None
            if count < 0:  # a block that also says its size in bytes
                count, size = -count, self._long()
                if not 0 <= size <= len(self.payload) - self.at:
                    raise self._error(f"claims a block of {size} bytes, but {len(self.payload) - self.at} are left")
                end = self.at + size
            if count > len(self.payload) - self.at:
                raise self._error(f"claims {count} array items, but only {len(self.payload) - self.at} bytes are left")
            self._room(count * (items.size or 0))
            if dtype is not None:
                self._block(count, dtype)
            else:
                for _ in range(count):
                    self.read(items)
            if end is not None and self.at != end:
                raise self._error("has a block whose size in bytes is wrong")

    def _block(self, count: int, dtype: np.dtype[Any]) -> None:
        """`count` numbers of fixed width, at once."""
        left = len(self.payload) - self.at
        if not 0 <= count * dtype.itemsize <= left:
            raise self._error(f"claims {count} values of {dtype.itemsize} bytes, but only {left} bytes are left")
        self._room(count)
        self.out[self.filled : self.filled + count] = np.frombuffer(self.payload, dtype, count, self.at)
        self.filled += count
        self.at += count * dtype.itemsize

    def _leaf(self, node: Leaf) -> float | int | bool:
        if node.kind == "float":
            return float(self._unpack("<f", 4))
        if node.kind == "double":
            return float(self._unpack("<d", 8))
        if node.kind == "boolean":
            byte = int(self._unpack("<B", 1))
            if byte > 1:
                raise self._error(f"has the boolean {byte}; it must be 0 or 1")
            return byte == 1
        value = self._long()
        if node.kind == "int" and not -(1 << 31) <= value < 1 << 31:
            raise self._error(f"has {value} where an int of 32 bits is needed")
        if node.kind == "enum" and not 0 <= value < len(node.symbols):
            raise self._error(f"has the enum index {value}; it must be 0..{len(node.symbols) - 1}")
        return value

    def _unpack(self, form: str, width: int) -> Any:
        if self.at + width > len(self.payload):
            raise self._error("ends in the middle of a number")
        (value,) = struct.unpack_from(form, self.payload, self.at)
        self.at += width
        return value

    def _long(self) -> int:
        """A zigzag varint of at most 64 bits."""
        value = shift = 0
        while True:
            if self.at >= len(self.payload):
                raise self._error("ends in the middle of a number")
            byte = self.payload[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self._error("has a number longer than 64 bits")
        if value >= 1 << 64:
            raise self._error("has a number longer than 64 bits")
        return (value >> 1) ^ -(value & 1)

    def _room(self, count: int) -> None:
        if self.filled + count > self.out.size:
            raise self._error(f"has more values than the {self.out.size} of {self.role}_reshape")

    def _error(self, what: str) -> DecodeError:
        place = "value" if self.role == "data" else "key"
        return DecodeError(f"the record's {place} is not the Avro that {self.role}_scheme describes: it {what}")
