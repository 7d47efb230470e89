"""AVRO: schemaless Avro records as `data_scheme` and `label_scheme` describe them (Avro 1.11 specification)."""

from __future__ import annotations

import decimal
import io
from collections.abc import Mapping
from typing import Any

import fastavro
import numpy as np
from numpy.typing import NDArray

from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs.avro_reader import AvroReader, Misread
from mainstem.streams.codecs.config import check_size, parse_dtype, parse_shape
from mainstem.streams.codecs.exact import cast
from mainstem.streams.codecs.header import Header, header_of
from mainstem.streams.codecs.part import ArrayPart, Role, Wanted, finite, text_of
from mainstem.streams.codecs.scheme import Decimal, Node, parse_scheme, plain_value, shape_without_reshape


def avro_parts(config: Mapping[str, Any], wanted: Wanted) -> tuple[ArrayPart, ArrayPart | None]:
    """The data and the label (None without a `label_scheme`) of INPUT_CONFIG; raises ConfigError."""
    labelled = config.get("label_scheme") is not None
    label = AvroPart.from_config("label", config, wanted[1]) if labelled else None
    return AvroPart.from_config("data", config, wanted[0]), label


class AvroPart(ArrayPart):
    """`{role}_scheme`, and optionally `{role}_reshape` and `{role}_type` to cast to."""

    def __init__(
        self,
        role: Role,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        wanted: np.dtype[Any] | None,
        header: Header | None,
        scheme: tuple[Node, Any],
    ) -> None:
        super().__init__(role, shape, dtype, wanted, header)
        self.node, self._schema = scheme
        self._parsed: Any = None

    @classmethod
    def from_config(cls, role: Role, config: Mapping[str, Any], wanted: np.dtype[Any] | None) -> AvroPart:
        """The part that INPUT_CONFIG describes; raises ConfigError."""
        scheme = parse_scheme(config.get(f"{role}_scheme"), f"{role}_scheme")
        shape, dtype = scheme_shape(scheme[0], role, config)
        return cls(role, shape, dtype, wanted, header_of(role, config), scheme)

    def decoded(self, body: bytes) -> NDArray[Any]:
        if self.size > len(body):
            raise DecodeError(
                f"the record's {self.place} has {len(body)} bytes, too few for the {self.size} values "
                f"of {self.role}_reshape {text_of(self.shape)}"
            )
        reader = AvroReader(body, self.size, (self.dtype, self.wanted), f"{self.role}_reshape")
        try:
            out = reader.all(self.node)
        except Misread as error:
            where = f"field {'.'.join(error.path)!r}" if error.path else "it"
            told = f"is not the Avro that {self.role}_scheme describes: {where}" if error.broken else where
            told = f"the record's {self.place} {told} {error.what}"
            told = told if error.broken or error.path else f"the {self.role} {error.what}"
            raise DecodeError(f"{told}{_alien(body)}") from None
        return finite(out.reshape(self.shape), self.role)

    def write(self, array: NDArray[Any]) -> bytes:
        flat = cast(array, self.node.dtype, f"the {self.role}").reshape(-1)
        value = plain_value(self.node, flat, f"{self.role}_scheme", bytes, _decimal)
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


def _alien(body: bytes) -> str:
    """What else the bytes are, where that can be seen."""
    if body.startswith(b"Obj\x01"):
        return "; it is an Avro container file, with a schema of its own: send each record alone, without one"
    return "; it may be JSON (INPUT_FORMAT)" if body[:1] in (b"{", b"[") and body[-1:] in (b"}", b"]") else ""


def _decimal(value: float, node: Decimal) -> decimal.Decimal:
    """The decimal of the scheme's scale that is nearest; what does not fit its precision is refused by fastavro."""
    step = decimal.Decimal(1).scaleb(-node.scale)
    return decimal.Decimal(str(value)).quantize(step, context=decimal.Context(prec=400))
