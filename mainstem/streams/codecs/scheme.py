"""Schemes of numbers: an Avro schema (`data_scheme`, `label_scheme`) as a tree of typed nodes.

Kafka-ML decodes a record into its fields in schema order; a sample is their concatenation.
Only what holds numbers is understood: int, long, float, double, boolean, enum (its index), decimal,
fixed and bytes (as uint8), arrays and records of these, and a union of one of these with null. A
date, time or timestamp is the whole number that Avro stores, in the unit of its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError

MAX_DEPTH = 24
"""Deepest nesting of a scheme."""

MAX_PRECISION = 76
"""Most digits of a decimal: what other systems have at most."""

_BYTE = np.dtype("u1")
_DOUBLE = np.dtype("<f8")
_LEAVES = {"int": "<i4", "long": "<i8", "float": "<f4", "double": "<f8", "boolean": "?"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One number. `symbols` are an enum's; `logical` is what a whole number stands for, such as a timestamp."""

    kind: str
    dtype: np.dtype[Any]
    symbols: tuple[str, ...] = ()
    size: int | None = 1
    logical: str = ""


@dataclass(frozen=True, slots=True)
class Decimal:
    """A decimal of at most `precision` digits, `scale` of them after the point, in `width` bytes (None: it varies)."""

    width: int | None
    precision: int
    scale: int
    dtype: np.dtype[Any] = _DOUBLE
    size: int | None = 1


@dataclass(frozen=True, slots=True)
class AvroBytes:
    """Bytes, each a uint8: `size` of them (fixed), or as many as the record says (None)."""

    dtype: np.dtype[Any]
    size: int | None


@dataclass(frozen=True, slots=True)
class Array:
    """Any number of items."""

    items: Node
    dtype: np.dtype[Any]
    size: int | None = None


@dataclass(frozen=True, slots=True)
class AvroRecord:
    """Named fields in order."""

    fields: tuple[tuple[str, Node], ...]
    dtype: np.dtype[Any]
    size: int | None


@dataclass(frozen=True, slots=True)
class Nullable:
    """A union of one value and null; `branch` is the value's index in the union."""

    value: Node
    branch: int
    dtype: np.dtype[Any]
    size: int | None


Node = Leaf | Decimal | AvroBytes | Array | AvroRecord | Nullable
"""`size` is the number of values, None where each record decides it; `dtype` holds all of them."""


def parse_scheme(value: object, field: str) -> tuple[Node, Any]:
    """The tree and the plain JSON of the Avro schema in INPUT_CONFIG's `field`; raises ConfigError."""
    if value is None:
        raise ConfigError(f"{field} is missing from INPUT_CONFIG; give an Avro schema")
    schema: Any = value
    if isinstance(value, str):
        # Kafka-ML also takes a schema whose quotes are Python's.
        text = value if '"' in value else value.replace("'", '"')
        try:
            schema = json.loads(text)
        except (ValueError, RecursionError):
            # Avro lets a bare type name stand for a schema.
            if value not in _LEAVES:
                raise ConfigError(f"{field} is not an Avro schema in JSON") from None
    return _Parser(field).node(schema, "", 0), schema


class _Parser:
    """Builds the tree; sizes and dtypes come from the leaves up, so shared named types cost nothing."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.named: dict[str, Node | None] = {}

    def node(self, schema: object, at: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(at, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(schema, list):
            return self._union(schema, at, depth)
        if isinstance(schema, Mapping):
            kind = schema.get("type")
            if isinstance(kind, (Mapping, list)):
                return self.node(kind, at, depth + 1)
            return self._complex(schema, kind, at, depth)
        return self._complex({}, schema, at, depth)

    def _complex(self, schema: Mapping[str, Any], kind: object, at: str, depth: int) -> Node:
        if not isinstance(kind, str):
            raise self._error(at, "has no type")
        if kind in _LEAVES:
            return Leaf(kind, np.dtype(_LEAVES[kind]), logical=_time_of(schema, kind))
        if kind == "bytes":
            return self._bytes(schema, None, at)
        if kind == "array":
            items = self.node(schema.get("items"), f"{at}[]", depth + 1)
            return Array(items, items.dtype)
        if kind == "enum":
            symbols = schema.get("symbols")
            if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
                raise self._error(at, "is an enum without symbols")
            return self._name(schema, Leaf("enum", np.dtype("<i4"), tuple(symbols)))
        if kind == "fixed":
            size = schema.get("size")
            if type(size) is not int or size < 1:
                raise self._error(at, "is a fixed without a positive size")
            return self._name(schema, self._bytes(schema, size, at))
        if kind == "record":
            return self._record(schema, at, depth)
        known = self.named.get(kind.rpartition(".")[2])
        if known is None:
            told = "contains itself" if kind.rpartition(".")[2] in self.named else f"is {kind[:40]!r}, not a number"
            raise self._error(at, told)
        return known

    def _bytes(self, schema: Mapping[str, Any], size: int | None, at: str) -> Node:
        logical = schema.get("logicalType")
        if logical in _NO_NUMBERS:
            raise self._error(at, f"is a {logical}, {_NO_NUMBERS[logical]}")
        if logical != "decimal":
            return AvroBytes(_BYTE, size)
        precision, scale = schema.get("precision"), schema.get("scale", 0)
        if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision <= MAX_PRECISION:
            raise self._error(
                at,
                f"is a decimal with precision {str(precision)[:40]} and scale {str(scale)[:40]}; precision must be "
                f"1..{MAX_PRECISION}, and scale at most that",
            )
        return Decimal(size, precision, scale)

    def _record(self, schema: Mapping[str, Any], at: str, depth: int) -> Node:
        fields = schema.get("fields")
        if not isinstance(fields, list) or not fields:
            raise self._error(at, "is a record without fields")
        if isinstance(name := schema.get("name"), str):
            self.named[name.rpartition(".")[2]] = None  # named, but not complete: recursion is refused
        children: dict[str, Node] = {}
        for item in fields:
            if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
                raise self._error(at, "has a field without a name")
            label = item["name"]
            if label in children:
                raise self._error(at, f"has the field {label!r} twice")
            if item.get("logicalType") in ("decimal", *_NO_NUMBERS) and not isinstance(item.get("type"), Mapping):
                raise self._error(
                    f"{at}.{label}" if at else label,
                    "has its logicalType beside its type, where Avro does not see it; write "
                    '{"type": {"type": ..., "logicalType": ...}}',
                )
            children[label] = self.node(item.get("type"), f"{at}.{label}" if at else label, depth + 1)
        sizes = [child.size for child in children.values()]
        size = None if None in sizes else sum(s for s in sizes if s is not None)
        dtype = np.result_type(*(child.dtype for child in children.values()))
        return self._name(schema, AvroRecord(tuple(children.items()), dtype, size))

    def _union(self, branches: list[Any], at: str, depth: int) -> Node:
        values = [i for i, branch in enumerate(branches) if branch != "null"]
        if len(values) != 1 or len(branches) > 2:
            raise self._error(at, "is a union of several types; only one type and null are supported")
        value = self.node(branches[values[0]], at, depth + 1)
        return Nullable(value, values[0], value.dtype, value.size)

    def _name(self, schema: Mapping[str, Any], node: Node) -> Node:
        if isinstance(name := schema.get("name"), str):
            self.named[name.rpartition(".")[2]] = node
        return node

    def _error(self, at: str, what: str) -> ConfigError:
        where = f"{self.field}: field {at!r}" if at else self.field
        return ConfigError(f"{where} {what}")


_NO_NUMBERS = {
    "duration": "which is three numbers of different units; send it as a number of one unit",
    "uuid": "which is a name and no number; leave it out",
    "big-decimal": "whose scale each value chooses; send a double, or a decimal of one scale",
}
_TIMES = re.compile(r"date|time-(millis|micros)|(local-)?timestamp-(millis|micros|nanos)")


def _time_of(schema: Mapping[str, Any], kind: str) -> str:
    """The logical type of a whole number, where it is one of Avro's; others are ignored, as Avro says."""
    logical = schema.get("logicalType")
    return logical if kind in ("int", "long") and isinstance(logical, str) and _TIMES.fullmatch(logical) else ""


def shape_without_reshape(node: Node, field: str) -> tuple[int, ...]:
    """The flat shape of a scheme of fixed size; raises ConfigError where records decide the size."""
    if node.size is None:
        role = field.partition("_")[0]
        raise ConfigError(f"{field} has an array, so INPUT_CONFIG needs {role}_reshape to say how many values")
    return (node.size,)


def plain_value(
    node: Node,
    flat: NDArray[Any],
    field: str,
    blob: Callable[[list[int]], Any],
    decimal: Callable[[float, Decimal], Any],
) -> Any:
    """`flat` as the dicts, lists and numbers that `node` describes (what Avro and JSON writers take).

    `blob` makes a value of a list of bytes, `decimal` one of a decimal. At most one array may be of open
    length, since it takes all values that the others leave; raises ConfigError otherwise.
    """
    return _Writer(iter(flat.tolist()), field, blob, decimal).take(node, flat.size - _fixed(node, field))


def _fixed(node: Node, field: str) -> int:
    """How many values the parts of fixed size take."""
    if node.size is not None:
        return node.size
    if isinstance(node, Nullable):
        return _fixed(node.value, field)
    if isinstance(node, AvroRecord):
        if sum(child.size is None for _, child in node.fields) > 1:
            raise ConfigError(f"{field} has several arrays, so a sample's values cannot be divided among them")
        return sum(_fixed(child, field) for _, child in node.fields)
    return 0


@dataclass(frozen=True, slots=True)
class _Writer:
    """Deals `values` out to the nodes of a scheme in order."""

    values: Iterator[Any]
    field: str
    blob: Callable[[list[int]], Any]
    decimal: Callable[[float, Decimal], Any]

    def take(self, node: Node, left: int) -> Any:
        """The value of `node`; `left` values go to its array or bytes of open length."""
        if isinstance(node, Nullable):
            return self.take(node.value, left)
        if isinstance(node, AvroRecord):
            return {name: self.take(child, left) for name, child in node.fields}
        if isinstance(node, AvroBytes):
            return self.blob([next(self.values) for _ in range(left if node.size is None else node.size)])
        if isinstance(node, Array):
            if node.items.size is None:
                raise ConfigError(f"{self.field} has an array of arrays, which is read but not written")
            if left % node.items.size:
                raise ConfigError(f"{self.field} has an array whose items do not divide {left} values")
            return [self.take(node.items, 0) for _ in range(left // node.items.size)]
        value = next(self.values)
        if isinstance(node, Decimal):
            return self.decimal(value, node)
        if node.kind == "enum":
            if not 0 <= int(value) < len(node.symbols):
                raise ConfigError(f"{self.field} has no enum symbol {value}")
            return node.symbols[int(value)]
        return bool(value) if node.kind == "boolean" else value
