"""Avro's binary encoding, read within bounds that the bytes and the shape set.

Avro 1.11 specification, "Binary Encoding". Every number takes at least one byte, so a claimed
length is checked against the bytes left and the values still missing before it costs anything.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.streams.codecs.exact import unfit, unfit_decimal, unfit_number
from mainstem.streams.codecs.scheme import Array, AvroBytes, AvroRecord, Decimal, Leaf, Node, Nullable


class Misread(Exception):
    """What is wrong with the field of `path`: bytes not of the scheme (`broken`), or a value that is no use."""

    def __init__(self, what: str, *, broken: bool = True) -> None:
        super().__init__(what)
        self.what, self.broken = what, broken
        self.path: list[str] = []


class AvroReader:
    """Reads a record's numbers into `size` values of the first of `dtypes`; every value must survive in all of them."""

    def __init__(self, payload: bytes, size: int, dtypes: tuple[np.dtype[Any], ...], reshape: str) -> None:
        self.payload = payload
        self.at = 0
        self.dtypes = tuple(dict.fromkeys(dtypes))
        self.out = np.empty(size, dtypes[-1])
        self.filled = 0
        self.reshape = reshape

    def all(self, node: Node) -> NDArray[Any]:
        """The values: everything must be used, and every value be there. Raises Misread."""
        self.read(node)
        if self.at != len(self.payload):
            raise Misread(f"has {len(self.payload) - self.at} bytes after its end")
        if self.filled != self.out.size:
            raise Misread(f"has {self.filled} values, but {self.reshape} needs {self.out.size}")
        return self.out

    def read(self, node: Node) -> None:
        """What `node` describes."""
        if isinstance(node, Leaf):
            value = self._leaf(node)
            self._put(value, next((told for dtype in self.dtypes if (told := unfit_number(value, dtype))), None), node)
        elif isinstance(node, AvroRecord):
            for name, child in node.fields:
                try:
                    self.read(child)
                except Misread as error:
                    error.path.insert(0, name)
                    raise
        elif isinstance(node, Array):
            self._array(node)
        elif isinstance(node, AvroBytes):
            self._block(node.size if node.size is not None else self._long(), node.dtype)
        elif isinstance(node, Decimal):
            self._decimal(node)
        elif isinstance(node, Nullable):
            if (branch := self._long()) == 1 - node.branch:
                raise Misread("is null; a sample needs a number there", broken=False)
            if branch != node.branch:
                raise Misread(f"has the union branch {branch}; it has 0 and 1")
            self.read(node.value)

    def _put(self, value: float, told: str | None, node: Leaf | None = None) -> None:
        self._room(1)
        if told is not None:
            kind = f" ({node.logical})" if node is not None and node.logical else ""
            raise Misread(told.replace(", which", f"{kind}, which", 1), broken=False)
        self.out[self.filled] = value
        self.filled += 1

    def _decimal(self, node: Decimal) -> None:
        width = node.width if node.width is not None else self._long()
        if not 0 <= width <= len(self.payload) - self.at:
            raise Misread(f"claims a decimal of {width} bytes, but {len(self.payload) - self.at} are left")
        unscaled = int.from_bytes(self.payload[self.at : self.at + min(width, 64)], "big", signed=True)
        if width > 64 or abs(unscaled) >= 10**node.precision:
            raise Misread(f"has a decimal of more than the {node.precision} digits of its precision")
        self.at += width
        told = (unfit_decimal(unscaled, node.scale, dtype) for dtype in self.dtypes)
        self._put(unscaled / 10**node.scale, next(filter(None, told), None))

    def _array(self, node: Array) -> None:
        items = node.items
        dtype = items.dtype if isinstance(items, Leaf) and items.kind in ("float", "double") else None
        while count := self._long():
            end = None
            if count < 0:  # a block that also says its size in bytes
                count, size = -count, self._long()
                if not 0 <= size <= len(self.payload) - self.at:
                    raise Misread(f"claims a block of {size} bytes, but {len(self.payload) - self.at} are left")
                end = self.at + size
            if count > len(self.payload) - self.at:
                raise Misread(f"claims {count} array items, but only {len(self.payload) - self.at} bytes are left")
            self._room(count * (items.size or 0))
            if dtype is not None:
                self._block(count, dtype)
            else:
                for _ in range(count):
                    self.read(items)
            if end is not None and self.at != end:
                raise Misread("has a block whose size in bytes is wrong")

    def _block(self, count: int, dtype: np.dtype[Any]) -> None:
        """`count` numbers of fixed width, at once."""
        left = len(self.payload) - self.at
        if not 0 <= count * dtype.itemsize <= left:
            raise Misread(f"claims {count} values of {dtype.itemsize} bytes, but only {left} bytes are left")
        self._room(count)
        values = np.frombuffer(self.payload, dtype, count, self.at)
        for kept in self.dtypes:
            if (told := unfit(values, kept)) is not None:
                raise Misread(told, broken=False)
        self.out[self.filled : self.filled + count] = values
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
                raise Misread(f"has the boolean {byte}; it must be 0 or 1")
            return byte == 1
        value = self._long()
        if node.kind == "int" and not -(1 << 31) <= value < 1 << 31:
            raise Misread(f"has {value} where an int of 32 bits is needed")
        if node.kind == "enum" and not 0 <= value < len(node.symbols):
            raise Misread(f"has the enum index {value}; it must be 0..{len(node.symbols) - 1}")
        return value

    def _unpack(self, form: str, width: int) -> Any:
        if self.at + width > len(self.payload):
            raise Misread("ends in the middle of a number")
        (value,) = struct.unpack_from(form, self.payload, self.at)
        self.at += width
        return value

    def _long(self) -> int:
        """A zigzag varint of at most 64 bits."""
        value = shift = 0
        while True:
            if self.at >= len(self.payload):
                raise Misread("ends in the middle of a number")
            byte = self.payload[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise Misread("has a number longer than 64 bits")
        if value >= 1 << 64:
            raise Misread("has a number longer than 64 bits")
        return (value >> 1) ^ -(value & 1)

    def _room(self, count: int) -> None:
        if self.filled + count > self.out.size:
            raise Misread(f"has more values than the {self.out.size} of {self.reshape}")
