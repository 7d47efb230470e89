"""JSON: numbers, nested lists, or objects whose fields a scheme puts in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainstem.errors import DecodeError
from mainstem.streams.codecs.avro import scheme_shape
from mainstem.streams.codecs.config import check_size, parse_dtype, parse_shape
from mainstem.streams.codecs.exact import cast, unfit, unfit_number
from mainstem.streams.codecs.header import Header, header_of
from mainstem.streams.codecs.part import ArrayPart, Role, Wanted, finite, text_of
from mainstem.streams.codecs.scheme import (
    Array,
    AvroBytes,
    AvroRecord,
    Decimal,
    Leaf,
    Node,
    Nullable,
    parse_scheme,
    plain_value,
)


def json_parts(config: Mapping[str, Any], wanted: Wanted) -> tuple[ArrayPart, ArrayPart | None]:
    """The data and the label (None without `label_scheme` and `label_type`); raises ConfigError."""
    labelled = config.get("label_scheme") is not None or config.get("label_type") is not None
    label = JsonPart.from_config("label", config, wanted[1]) if labelled else None
    return JsonPart.from_config("data", config, wanted[0]), label


class JsonPart(ArrayPart):
    """With `{role}_scheme`: JSON as it describes. Else a list of `{role}_reshape`, flat or nested."""

    def __init__(
        self,
        role: Role,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        wanted: np.dtype[Any] | None,
        header: Header | None,
        node: Node | None,
    ) -> None:
        super().__init__(role, shape, dtype, wanted, header)
        self.node = node

    @classmethod
    def from_config(cls, role: Role, config: Mapping[str, Any], wanted: np.dtype[Any] | None) -> JsonPart:
        """The part that INPUT_CONFIG describes; raises ConfigError."""
        header = header_of(role, config)
        if config.get(f"{role}_scheme") is not None:
            node, _ = parse_scheme(config[f"{role}_scheme"], f"{role}_scheme")
            return cls(role, *scheme_shape(node, role, config), wanted, header, node)
        dtype = parse_dtype(config.get(f"{role}_type"), f"{role}_type")
        shape = parse_shape(config.get(f"{role}_reshape"), f"{role}_reshape")
        check_size(shape, dtype, f"{role}_reshape")
        return cls(role, shape, dtype, wanted, header, None)

    def decoded(self, body: bytes) -> NDArray[Any]:
        try:
            value = msgspec.json.decode(body)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"the record's {self.place} is not JSON: {error}{_hint(body)}") from error
        numbers: list[Any] = []
        if self.node is not None:
            self._collect(self.node, value, "", numbers)
        elif isinstance(value, dict):
            raise self._error(f"is an object; add {self.role}_scheme to INPUT_CONFIG, which puts its fields in order")
        elif isinstance(value, list) and value and not isinstance(value[0], list):
            numbers = value  # flat, whatever data_reshape is
        else:
            self._nested(value, self.shape, numbers)
        if len(numbers) != self.size:
            raise self._error(
                f"has {len(numbers)} values, but {self.role}_reshape {text_of(self.shape)} needs {self.size}"
            )
        return finite(self._kept(numbers).reshape(self.shape), self.role)

    def write(self, array: NDArray[Any]) -> bytes:
        if self.node is None:
            return msgspec.json.encode(array.tolist())
        flat = cast(array, self.node.dtype, f"the {self.role}").reshape(-1)
        return msgspec.json.encode(plain_value(self.node, flat, f"{self.role}_scheme", list, lambda value, _: value))

    def _kept(self, numbers: list[Any]) -> NDArray[Any]:
        """The numbers as they are wanted; whole ones must survive also beside fractions."""
        kinds = set(map(type, numbers))
        if not kinds <= {int, float, bool} or (bool in kinds and (len(kinds) > 1 or self.dtype.kind != "b")):
            if (at := next((i for i, number in enumerate(numbers) if number is None), None)) is not None:
                raise self._error(f"has null at position {at}; a sample needs a number there")
            raise self._error("holds something other than numbers")
        if int in kinds and len(kinds) > 1:
            for at, number in enumerate(numbers):
                for dtype in (_DOUBLE, self.dtype, self.wanted):
                    if type(number) is int and (told := unfit_number(number, dtype)) is not None:
                        raise DecodeError(f"the {self.role} at position {at} {told}")
        try:
            # By itself NumPy makes float64 of integers on both sides of 2**63: large ones must stay exact.
            large = kinds == {int} and 1 << 63 <= max(numbers) < 1 << 64 and min(numbers) >= 0
            array = np.array(numbers, np.uint64 if large else None)
        except (ValueError, OverflowError) as error:
            raise self._error(f"holds a number that is too large: {error}") from error
        if array.dtype.kind not in "biuf":
            raise self._error("holds an integer of more than 64 bits")
        for dtype in (self.dtype, self.wanted):
            if (told := unfit(array, dtype)) is not None:
                raise DecodeError(f"the {self.role} {told}")
        return array.astype(self.wanted)

    def _nested(self, value: Any, shape: tuple[int, ...], out: list[Any]) -> None:
        if not shape:
            out.append(value)
            return
        if not isinstance(value, list):
            value = [value] if self.size == 1 else value
        if not isinstance(value, list) or len(value) != shape[0]:
            got = f"a list of {len(value)}" if isinstance(value, list) else "no list"
            raise self._error(f"has {got} where {self.role}_reshape {text_of(self.shape)} needs {shape[0]} items")
        if len(shape) == 1:
            out.extend(value)
        else:
            for item in value:
                self._nested(item, shape[1:], out)

    def _collect(self, node: Node, value: Any, at: str, out: list[Any]) -> None:
        """Append the numbers of `value` in the scheme's order."""
        if isinstance(node, Nullable):
            self._collect(node.value, value, at, out)
        elif isinstance(node, AvroRecord):
            if not isinstance(value, dict):
                raise self._error(f"needs an object{_of(at)}")
            for name, child in node.fields:
                if name not in value:
                    raise self._error(f"lacks the field {name!r}{_of(at)}")
                self._collect(child, value[name], f"{at}.{name}" if at else name, out)
        elif isinstance(node, (Array, AvroBytes)):
            if not isinstance(value, list):
                raise self._error(f"needs a list{_of(at)}")
            for item in value:
                self._collect(node.items if isinstance(node, Array) else _BYTE, item, at, out)
        elif value is None:
            raise self._error(f"field {at!r} is null; a sample needs a number there" if at else "is null")
        else:
            out.append(self._leaf(node, value, at))

    def _leaf(self, node: Leaf | Decimal, value: Any, at: str) -> int | float:
        kind = node.kind if isinstance(node, Leaf) else "decimal"
        if kind == "boolean" and isinstance(value, bool):
            return int(value)
        if isinstance(node, Leaf) and kind == "enum" and isinstance(value, str):
            if value not in node.symbols:
                raise self._error(f"has {value[:40]!r}{_of(at)}, which is no symbol of its enum")
            return node.symbols.index(value)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._error(f"needs a number{_of(at)}, which has {_short(value)}")
        if kind == "boolean" and value not in (0, 1):
            raise self._error(f"needs true or false{_of(at)}")
        if kind in ("int", "long", "enum", "byte") and value != int(value):
            raise self._error(f"has {value}{_of(at)}, which is a whole number ({kind}) in {self.role}_scheme")
        if isinstance(node, Leaf) and kind == "enum" and not 0 <= value < len(node.symbols):
            raise self._error(f"needs an enum index 0..{len(node.symbols) - 1}{_of(at)}")
        whole = isinstance(value, int) or kind in ("int", "long")
        for dtype in (node.dtype, self.dtype, self.wanted):
            if (told := unfit_number(int(value) if whole else value, dtype)) is not None:
                raise DecodeError(f"the record's {self.place} field {at!r} {told}" if at else f"the {self.role} {told}")
        return value

    def _error(self, what: str) -> DecodeError:
        return DecodeError(f"the record's {self.place} {what}")


_DOUBLE = np.dtype("f8")
_BYTE = Leaf("byte", np.dtype("u1"))


def _short(value: Any) -> str:
    return repr(value) if not isinstance(value, (dict, list)) and len(repr(value)) <= 40 else type(value).__name__


def _hint(body: bytes) -> str:
    """Why JSON that other writers take is none."""
    return "; NaN and Infinity are no JSON" if b"NaN" in body or b"Infinity" in body else ""


def _of(at: str) -> str:
    return f" in field {at!r}" if at else ""
