"""Properties of the codecs: exact round trips, and nothing but our errors on arbitrary bytes."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs import codec_for
from mainstem.streams.codecs.config import parse_dtype

DTYPES = st.sampled_from("float16 float32 float64 int8 int16 int32 int64 uint8 uint64 bool".split())
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
RECORD = {
    "type": "record",
    "name": "r",
    "fields": [
        {"name": "a", "type": "int"},
        {"name": "b", "type": ["null", "double"]},
        {"name": "c", "type": {"type": "array", "items": {"type": "enum", "name": "e", "symbols": ["x", "y"]}}},
        {"name": "d", "type": {"type": "array", "items": "float"}},
        {"name": "f", "type": "bytes"},
    ],
}
CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("RAW", {"data_type": "float32", "data_reshape": "2 2", "label_type": "bool", "label_reshape": "2"}),
    ("AVRO", {"data_scheme": RECORD, "data_reshape": "6", "label_scheme": "long", "label_type": "int8"}),
    ("JSON", {"data_scheme": RECORD, "data_reshape": "6", "label_type": "uint8"}),
    ("JSON", {"data_type": "int64", "data_reshape": "2 2", "label_type": "float16", "label_reshape": "2"}),
]


def arrays(dtype: str, shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """Arrays of finite values."""
    kind = np.dtype(dtype)
    elements = {"allow_nan": False, "allow_infinity": False} if kind.kind == "f" else None
    return hnp.arrays(kind, shape, elements=elements)


@given(st.data(), st.sampled_from(["RAW", "JSON"]), DTYPES, SHAPES, DTYPES, SHAPES)
def test_samples_round_trip_exactly(
    data: st.DataObject, fmt: str, x_type: str, x_shape: tuple[int, ...], y_type: str, y_shape: tuple[int, ...]
) -> None:
    """RAW and JSON give back the bytes of every finite sample, one by one and in batches."""
    config = {
        "data_type": x_type, "data_reshape": " ".join(map(str, x_shape)),
        "label_type": y_type, "label_reshape": list(y_shape),
    }  # fmt: skip
    codec = codec_for(fmt, json.dumps(config))
    x, y = data.draw(arrays(x_type, x_shape)), data.draw(arrays(y_type, y_shape))
    record = codec.encode(x, y)
    decoded_x, decoded_y = codec.decode(*record)
    assert decoded_y is not None
    assert (decoded_x.shape, decoded_x.dtype) == (x_shape, parse_dtype(x_type, "data_type"))
    assert decoded_x.tobytes() == x.tobytes() and decoded_y.tobytes() == y.tobytes()
    batch = codec.decode_many([record] * 3)
    assert batch.x.tobytes() == x.tobytes() * 3 and batch.y is not None and batch.y.tobytes() == y.tobytes() * 3


@given(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.sampled_from(["x", "y"]), max_size=4),
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=4),
    st.binary(max_size=4),
)
def test_avro_agrees_with_an_independent_writer(a: int, b: float, c: list[str], d: list[float], f: bytes) -> None:
    """What fastavro writes is read as the concatenation of its fields."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(RECORD), {"a": a, "b": b, "c": c, "d": d, "f": f})
    expected = [a, b, *("xy".index(s) for s in c), *d, *f]
    codec = codec_for("AVRO", {"data_scheme": RECORD, "data_reshape": len(expected)})
    assert codec.decode(None, buffer.getvalue())[0].tolist() == expected


@given(st.data(), st.sampled_from(["AVRO", "JSON"]), st.integers(1, 20))
def test_schemes_round_trip(data: st.DataObject, fmt: str, count: int) -> None:
    """A record of fixed fields and one open array round-trips through encode and decode."""
    scheme = {
        "type": "record",
        "name": "r",
        "fields": [
            {"name": "b", "type": "boolean"},
            {"name": "pair", "type": {"type": "array", "items": {"type": "record", "name": "p", "fields": [
                {"name": "u", "type": "float"}, {"name": "v", "type": "float"}]}}},
            {"name": "z", "type": ["double", "null"]},
        ],
    }  # fmt: skip
    codec = codec_for(fmt, {"data_scheme": scheme, "data_reshape": 2 * count + 2})
    floats = data.draw(arrays("float32", (2 * count,)))
    x = np.concatenate([[1.0], floats, [0.1]])
    assert codec.decode(*codec.encode(x))[0].tobytes() == x.astype(np.float64).tobytes()


@given(st.sampled_from(CONFIGS), st.none() | st.binary(max_size=40), st.binary(max_size=60))
def test_arbitrary_bytes_raise_only_decode_errors(
    case: tuple[str, dict[str, Any]], key: bytes | None, value: bytes
) -> None:
    """Whatever bytes come, decoding gives a finite sample of the right shape or a DecodeError."""
    codec = codec_for(*case)
    batch = codec.decode_many([(key, value)])
    assert len(batch.x) + len(batch.refused) == 1
    try:
        x, y = codec.decode(key, value)
    except DecodeError:
        assert batch.refused
    else:
        assert x.shape == codec.x_shape and x.dtype == codec.x_dtype and np.isfinite(x).all()
        assert y is None or (y.shape == codec.y_shape and y.dtype == codec.y_dtype)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abcdf"), inner, max_size=5),
    max_leaves=12,
)


@given(st.sampled_from(CONFIGS[2:]), JSON)
def test_arbitrary_json_raises_only_decode_errors(case: tuple[str, dict[str, Any]], value: object) -> None:
    """Any JSON value decodes or is refused with a DecodeError."""
    with contextlib.suppress(DecodeError):
        codec_for(*case).decode(None, json.dumps(value).encode())


SETTINGS = st.dictionaries(
    st.sampled_from([f"{role}_{what}" for role in ("data", "label") for what in ("type", "reshape", "scheme")]),
    JSON
    | st.sampled_from(["float32", "int8", "2 2", "4", "int", "double", json.dumps(RECORD)])
    | st.fixed_dictionaries({"type": JSON | st.sampled_from(["record", "array", "fixed", "enum", "int"])}, optional={
        "fields": JSON, "items": JSON | st.just("int"), "size": st.integers(-1, 5), "name": JSON, "symbols": JSON,
    }),
)  # fmt: skip


@given(st.sampled_from(["RAW", "AVRO", "JSON", "avro", "X"]), SETTINGS, st.none() | st.integers(-1, 5))
def test_arbitrary_settings_raise_only_config_errors(fmt: str, config: dict[str, Any], classes: int | None) -> None:
    """Any settings give a codec or a ConfigError; such a codec reads and writes within our errors."""
    with contextlib.suppress(ConfigError, DecodeError):
        codec = codec_for(fmt, config, classes=classes)
        codec.decode_many([(b"\2\0", b"\4\0\0\0\0\0\0\0\0\0\0"), (None, b"[1,2]")])
        codec.encode(np.zeros(codec.x_shape), 0)


def test_large_and_small_integers_in_one_json_sample() -> None:
    """Integers on both sides of 2**63 stay exact, and those beyond 64 bits are refused."""
    codec = codec_for("JSON", {"data_type": "uint64", "data_reshape": "2"})
    x, _ = codec.decode(None, b"[9223372036854775809, 1]")
    assert x.tolist() == [9223372036854775809, 1]
    with pytest.raises(DecodeError):
        codec.decode(None, b"[18446744073709551616, 1]")
    with pytest.raises(DecodeError):
        codec.decode(None, b"[9223372036854775809, -1]")
