"""RAW, Avro and JSON samples: round trips, and refusals of bad settings and bad records."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
import pytest

from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs import codec_for, parse_dtype, parse_shape

SEED_CONFIG = (
    '{"type": "float32", "data_type": "float32", "data_reshape": "784", "label_type": "float32", "label_reshape": "10"}'
)
PIXELS = {
    "type": "record",
    "name": "digit",
    "fields": [{"name": "pixels", "type": {"type": "array", "items": "float"}}],
}
COPD = {
    "type": "record",
    "name": "HCOPD",
    "namespace": "data.ertis.uma.es",
    "fields": [{"name": n, "type": "float"} for n in ("gender", "age", "smoking")],
}
DIAGNOSIS = {"type": "record", "name": "HCOPD", "fields": [{"name": "diagnosis", "type": "boolean"}]}


def avro(schema: Any, value: Any) -> bytes:
    """`value` as a schemaless record, by an independent writer."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def long(value: int) -> bytes:
    """`value` as Avro's zigzag varint."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes(out + bytes([rest]))


def test_raw_of_the_seed_has_kafka_ml_bytes() -> None:
    """The seed's INPUT_CONFIG: 3,136 bytes of data in the value, 40 bytes of label in the key."""
    codec = codec_for("RAW", SEED_CONFIG)
    x = np.arange(784, dtype=np.float32) / 784
    y = np.eye(10, dtype=np.float32)[3]
    key, value = codec.encode(x, y)
    assert (key, value) == (y.tobytes(), x.tobytes())
    assert (len(value), len(key or b"")) == (3136, 40)
    assert (codec.x_shape, codec.y_shape) == ((784,), (10,))
    assert codec.x_dtype == codec.y_dtype == np.dtype(np.float32)
    decoded_x, decoded_y = codec.decode(key, value)
    assert np.array_equal(decoded_x, x) and decoded_y is not None and np.array_equal(decoded_y, y)


@pytest.mark.parametrize("shape", ["28 28", [28, 28], (28, 28), ["28", "28"], "(28, 28)", "28,28"])
def test_shapes_are_read_in_every_spelling(shape: object) -> None:
    """Strings, lists and tuples name the same shape."""
    assert parse_shape(shape, "data_reshape") == (28, 28)


def test_no_shape_is_a_single_value() -> None:
    """None and "" are Kafka-ML's "no dimension"; a number is one dimension."""
    assert parse_shape(None, "f") == parse_shape("", "f") == ()
    assert parse_shape(784, "f") == (784,)


@pytest.mark.parametrize("shape", ["0", "-1 28", "1.5", "x", True, [None], {"a": 1}, "9" * 40, [1] * 17, 2.0])
def test_bad_shapes_are_named(shape: object) -> None:
    """A shape that is not positive whole numbers is a ConfigError that names the field."""
    with pytest.raises(ConfigError, match="label_reshape"):
        parse_shape(shape, "label_reshape")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("half", "f2"), ("float", "f8"), ("double", "f8"), ("uint8", "u1"), ("bool_", "?"), ("int64", "i8")],
)
def test_types_have_kafka_ml_names(name: str, dtype: str) -> None:
    """The names that Kafka-ML knows, in little-endian."""
    assert parse_dtype(name, "data_type") == np.dtype(dtype)


@pytest.mark.parametrize("name", ["string", "object", "V8", 3, None, "datetime64", ">f4"])
def test_types_that_are_no_numbers_are_refused(name: object) -> None:
    """Whatever is not a type of numbers is a ConfigError."""
    with pytest.raises(ConfigError, match="data_type"):
        codec_for("RAW", {"data_type": name, "data_reshape": "4"})


@pytest.mark.parametrize(
    ("fmt", "config", "told"),
    [
        ("CSV", {}, "INPUT_FORMAT"),
        ("RAW", "{", "not JSON"),
        ("RAW", "[]", "JSON object"),
        ("RAW", {"data_type": "uint8", "data_reshape": "100000 100000"}, "at most"),
        ("AVRO", {}, "data_scheme is missing"),
        ("AVRO", {"data_scheme": "{nonsense"}, "not an Avro schema"),
        ("AVRO", {"data_scheme": "string"}, "not an Avro schema"),
        ("AVRO", {"data_scheme": PIXELS}, "data_reshape"),
        ("AVRO", {"data_scheme": {"type": "record", "name": "r", "fields": []}}, "without fields"),
        ("AVRO", {"data_scheme": {"type": "record", "name": "r", "fields": [{"name": "n", "type": "r"}]}}, "itself"),
        ("AVRO", {"data_scheme": {"type": "record", "name": "r", "fields": [{"name": "n", "type": "string"}]}}, "'n'"),
        ("AVRO", {"data_scheme": ["int", "float"]}, "union"),
        ("AVRO", {"data_scheme": {"type": "fixed", "name": "f", "size": 0}}, "positive size"),
        ("AVRO", {"data_scheme": {"type": "enum", "name": "e", "symbols": []}}, "symbols"),
        ("JSON", {}, "data_type is missing"),
    ],
)
def test_bad_settings_name_the_field(fmt: str, config: Any, told: str) -> None:
    """A bad INPUT_FORMAT or INPUT_CONFIG is one clear ConfigError."""
    with pytest.raises(ConfigError, match=told):
        codec_for(fmt, config)


def test_deep_schemes_are_refused() -> None:
    """Nesting is bounded, in text and as objects."""
    scheme: Any = "int"
    for _ in range(100):
        scheme = {"type": "array", "items": scheme}
    with pytest.raises(ConfigError, match="deep"):
        codec_for("AVRO", {"data_scheme": scheme, "data_reshape": "4"})
    with pytest.raises(ConfigError):
        codec_for("AVRO", {"data_scheme": '{"type":' * 100_000, "data_reshape": "4"})


def test_named_types_that_repeat_stay_cheap() -> None:
    """Records of records of records: 10^20 values are counted at once, and refused as too large."""
    scheme: Any = {"type": "record", "name": "r0", "fields": [{"name": f"a{i}", "type": "int"} for i in range(10)]}
    for depth in range(1, 20):
        rest = [{"name": f"a{i}", "type": f"r{depth - 1}"} for i in range(9)]
        scheme = {"type": "record", "name": f"r{depth}", "fields": [{"name": "a", "type": scheme}, *rest]}
    with pytest.raises(ConfigError, match="at most"):
        codec_for("AVRO", {"data_scheme": scheme})


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (b"\0" * 40, b"\0" * 3135, "3135 bytes, but data_reshape '784' of float32 needs 3136"),
        (b"\0" * 4, b"\0" * 3136, "key has 4 bytes"),
        (b"\0" * 40, np.full(784, np.nan, np.float32).tobytes(), "finite"),
        (np.full(10, np.inf, np.float32).tobytes(), b"\0" * 3136, "label is inf"),
    ],
)
def test_raw_records_that_do_not_fit_are_refused(key: bytes, value: bytes, told: str) -> None:
    """Wrong sizes and non-finite values are DecodeErrors that say which side and why."""
    with pytest.raises(DecodeError, match=told):
        codec_for("RAW", SEED_CONFIG).decode(key, value)


def test_booleans_must_be_zero_or_one() -> None:
    """Any other byte is no boolean."""
    codec = codec_for("RAW", {"data_type": "bool", "data_reshape": "3"})
    assert codec.decode(None, b"\0\1\0")[0].tolist() == [False, True, False]
    with pytest.raises(DecodeError, match="bool"):
        codec.decode(None, b"\0\1\2")


def test_labels_out_of_range_are_refused_where_classes_are_known() -> None:
    """A class index must be below the classes; a one-hot vector within 0..1; unknown classes allow all."""
    index = {"data_type": "uint8", "data_reshape": "1", "label_type": "int32", "label_reshape": "1"}
    onehot = {"data_type": "uint8", "data_reshape": "1", "label_type": "float32", "label_reshape": "10"}
    for bad in (-1, 10):
        key = np.int32(bad).tobytes()
        assert codec_for("RAW", index).decode(key, b"\0")[1] == bad
        with pytest.raises(DecodeError, match=r"0\.\.9"):
            codec_for("RAW", index, classes=10).decode(key, b"\0")
    codec_for("RAW", index, classes=10).decode(np.int32(9).tobytes(), b"\0")
    with pytest.raises(DecodeError, match=r"within 0\.\.1"):
        codec_for("RAW", onehot, classes=10).decode(np.full(10, 2, np.float32).tobytes(), b"\0")
    with pytest.raises(ConfigError, match="label_reshape"):
        codec_for("RAW", onehot, classes=7)
    with pytest.raises(ConfigError, match="at least 2"):
        codec_for("RAW", onehot, classes=1)


def test_float_class_indices_must_be_whole() -> None:
    """1.5 is no class."""
    config = {"data_type": "uint8", "data_reshape": "1", "label_type": "float32"}
    with pytest.raises(DecodeError, match=r"1\.5"):
        codec_for("RAW", config, classes=10).decode(np.float32(1.5).tobytes(), b"\0")


def test_many_records_leave_out_the_bad_ones_with_reasons() -> None:
    """decode_many keeps order, lists what it refused, and raises nothing."""
    codec = codec_for("RAW", SEED_CONFIG, classes=10)
    good = [codec.encode(np.full(784, i, np.float32), np.eye(10)[i]) for i in range(4)]
    records = [good[0], (good[1][0], b"short"), good[1], (None, good[2][1]), good[3]]
    batch = codec.decode_many(records)
    assert batch.x[:, 0].tolist() == [0, 1, 3]
    assert batch.y is not None and batch.y.argmax(axis=1).tolist() == [0, 1, 3]
    assert [r.position for r in batch.refused] == [1, 3]
    assert "5 bytes" in batch.refused[0].reason and "no key" in batch.refused[1].reason
    assert codec.decode_many([]).x.shape == (0, 784)
    unlabelled = codec.decode_many([(None, good[0][1])] * 2)
    assert unlabelled.y is None and len(unlabelled.x) == 2 and not unlabelled.refused


def test_streams_without_labels_ignore_keys() -> None:
    """Without label settings y is None, whatever the key."""
    codec = codec_for("RAW", {"data_type": "uint8", "data_reshape": "2"})
    assert codec.y_shape is None and codec.y_dtype is None
    assert codec.decode(b"anything", b"ab")[1] is None
    assert codec.encode([1, 2], 3) == (None, b"\1\2")


def test_avro_reads_kafka_ml_scalars_in_schema_order() -> None:
    """Kafka-ML's own example schemas, as text: fields concatenated, label of one boolean."""
    codec = codec_for("AVRO", {"data_scheme": json.dumps(COPD), "label_scheme": json.dumps(DIAGNOSIS)}, classes=2)
    value = avro(COPD, {"gender": 1.0, "age": -0.5, "smoking": 2.0})
    x, y = codec.decode(avro(DIAGNOSIS, {"diagnosis": True}), value)
    assert x.tolist() == [1.0, -0.5, 2.0] and x.dtype == np.float32
    assert y is not None and y.tolist() == [True] and codec.y_shape == (1,)


def test_avro_accepts_schemes_with_pythons_quotes() -> None:
    """Kafka-ML replaces single quotes, so streams announced so exist."""
    assert codec_for("AVRO", {"data_scheme": str(COPD)}).x_shape == (3,)


def test_avro_reads_every_kind_of_number() -> None:
    """Ints, longs, doubles, booleans, enums, fixed, bytes, nullable, nested and named types."""
    schema = {
        "type": "record",
        "name": "all",
        "fields": [
            {"name": "i", "type": "int"},
            {"name": "l", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "d", "type": "double"},
            {"name": "b", "type": "boolean"},
            {"name": "e", "type": {"type": "enum", "name": "colour", "symbols": ["red", "green"]}},
            {"name": "f", "type": {"type": "fixed", "name": "two", "size": 2}},
            {"name": "g", "type": "two"},
            {"name": "n", "type": ["null", "float"]},
            {"name": "a", "type": {"type": "array", "items": {"type": "array", "items": "int"}}},
            {"name": "s", "type": "bytes"},
        ],
    }
    value = {
        "i": -5, "l": 1 << 40, "d": 0.25, "b": True, "e": "green", "f": b"\1\2", "g": b"\3\4",
        "n": 1.5, "a": [[7, 8], [9]], "s": b"\xff",
    }  # fmt: skip
    codec = codec_for("AVRO", {"data_scheme": schema, "data_reshape": "14"})
    expected = [-5, 1 << 40, 0.25, 1, 1, 1, 2, 3, 4, 1.5, 7, 8, 9, 255]
    x, _ = codec.decode(None, avro(schema, {**value, "l": 1 << 40}))
    assert x.tolist() == expected and codec.x_dtype == np.float64
    with pytest.raises(DecodeError, match="null"):
        codec.decode(None, avro(schema, {**value, "n": None}))
    single = codec_for("AVRO", {"data_scheme": schema, "data_reshape": "14", "data_type": "float32"})
    assert single.decode(None, avro(schema, value))[0].dtype == np.float32


def test_avro_arrays_take_the_shape_of_data_reshape() -> None:
    """An array field becomes a sample of data_reshape, also from blocks that state their size."""
    codec = codec_for("AVRO", {"data_scheme": PIXELS, "data_reshape": "2 2"})
    floats = np.arange(4, dtype="<f4")
    assert codec.decode(None, avro(PIXELS, {"pixels": floats.tolist()}))[0].tolist() == [[0, 1], [2, 3]]
    blocks = long(1) + floats[:1].tobytes() + long(-3) + long(12) + floats[1:].tobytes() + long(0)
    assert codec.decode(None, blocks)[0].tolist() == [[0, 1], [2, 3]]
    key, value = codec.encode(floats.reshape(2, 2))
    assert key is None and value == avro(PIXELS, {"pixels": floats.tolist()})


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (long(10 * 1024**3) + b"\0" * 16, "claims 10737418240 array items"),
        (long(-4) + long(1 << 40) + b"\0" * 16, "claims a block"),
        (long(-4) + long(3) + b"\0" * 17, "wrong"),
        (long(5) + b"\0" * 21, "more values than the 4"),
        (long(4) + b"\0" * 3, "bytes are left"),
        (long(3) + b"\0" * 13, "has 3 values"),
        (long(4) + b"\0" * 18, "1 bytes after its end"),
        (b"\xff" * 12, "longer than 64 bits"),
        (long(4) + b"\0" * 16, "ends in the middle"),
        (b"", "too few"),
        (long(4) + np.full(4, np.nan, "<f4").tobytes() + b"\0", "finite"),
    ],
)
def test_avro_claims_are_checked_before_they_cost(payload: bytes, told: str) -> None:
    """Array lengths, block sizes and value counts are checked against the bytes and the shape."""
    codec = codec_for("AVRO", {"data_scheme": PIXELS, "data_reshape": "4"})
    with pytest.raises(DecodeError, match=told):
        codec.decode(None, payload)


def test_avro_casts_only_what_survives() -> None:
    """A `data_type` narrower than the scheme refuses values that it cannot hold."""
    config = {"data_scheme": "long", "data_type": "int8"}
    codec = codec_for("AVRO", config)
    assert codec.decode(None, long(-128))[0].tolist() == [-128]
    with pytest.raises(DecodeError, match=r"-128\.\.127"):
        codec.decode(None, long(128))
    overflow = codec_for("AVRO", {"data_scheme": "double", "data_type": "float32"})
    with pytest.raises(DecodeError, match="too large for float32"):
        overflow.decode(None, np.float64(1e300).tobytes())


def test_avro_schemes_that_cannot_be_written_are_config_errors() -> None:
    """Several open arrays have no single way to be filled; a nameless record has no writer."""
    two = {"type": "record", "name": "t", "fields": [
        {"name": "a", "type": {"type": "array", "items": "int"}},
        {"name": "b", "type": {"type": "array", "items": "int"}},
    ]}  # fmt: skip
    with pytest.raises(ConfigError, match="several arrays"):
        codec_for("AVRO", {"data_scheme": two, "data_reshape": "4"}).encode([1, 2, 3, 4])
    nameless = {"type": "record", "fields": [{"name": "a", "type": "int"}]}
    with pytest.raises(ConfigError, match="cannot be written"):
        codec_for("AVRO", {"data_scheme": nameless}).encode([1])


def test_json_lists_flat_or_nested() -> None:
    """A flat list is reshaped; a nested one must have the shape."""
    config = {"data_type": "float32", "data_reshape": "2 2", "label_type": "uint8", "label_reshape": ""}
    codec = codec_for("JSON", config, classes=10)
    for text in (b"[1, 2.5, 3, 4]", b"[[1, 2.5], [3, 4]]"):
        x, y = codec.decode(b"9", text)
        assert x.tolist() == [[1, 2.5], [3, 4]] and y == 9
    key, value = codec.encode([[1, 2.5], [3, 4]], 7)
    assert (key, value) == (b"7", b"[[1.0,2.5],[3.0,4.0]]")


def test_json_objects_in_the_schemes_order() -> None:
    """Fields come in the scheme's order, not in the object's; unknown ones are ignored."""
    codec = codec_for("JSON", {"data_scheme": COPD, "label_scheme": DIAGNOSIS})
    x, y = codec.decode(b'{"diagnosis": true}', b'{"smoking": 3, "age": 2, "extra": "x", "gender": 1}')
    assert x.tolist() == [1, 2, 3] and y is not None and y.tolist() == [True]
    key, value = codec.encode([1, 2, 3], [False])
    assert json.loads(key or b"") == {"diagnosis": False}
    assert json.loads(value) == {"gender": 1.0, "age": 2.0, "smoking": 3.0}


def test_json_enums_by_symbol() -> None:
    """A label may be its symbol; it decodes to the symbol's index."""
    enum = {"type": "enum", "name": "kind", "symbols": ["benign", "malignant"]}
    codec = codec_for("JSON", {"data_type": "int32", "data_reshape": "1", "label_scheme": enum})
    assert codec.decode(b'"malignant"', b"[1]")[1] == 1
    with pytest.raises(DecodeError, match="symbol"):
        codec.decode(b'"other"', b"[1]")
    assert codec.encode([1], 1)[0] == b'"malignant"'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2, 3, NaN]", "not JSON"),
        (b"[1, 2, 3]", "3 values"),
        (b"[[1, 2], [3]]", "needs 2 items"),
        (b'[1, 2, 3, "4"]', "other than numbers"),
        (b"[1, 2, 3, true]", "other than numbers"),
        (b"[1, 2, 3, 256]", r"0\.\.255"),
        (b"[1, 2, 3, 1.5]", "fraction"),
        (b"[1, 2, 3, 1" + b"0" * 30 + b"]", "64 bits|outside"),
        (b'{"a": 1}', "is an object; add data_scheme"),
        (b"null", "no list"),
    ],
)
def test_json_that_does_not_fit_is_refused(text: bytes, told: str) -> None:
    """Whatever is not a list of four bytes is a DecodeError."""
    codec = codec_for("JSON", {"data_type": "uint8", "data_reshape": "2 2"})
    with pytest.raises(DecodeError, match=told):
        codec.decode(None, text)


def test_json_objects_that_lack_fields_name_them() -> None:
    """A missing or mistyped field is named."""
    codec = codec_for("JSON", {"data_scheme": COPD})
    with pytest.raises(DecodeError, match="'age'"):
        codec.decode(None, b'{"gender": 1, "smoking": 1}')
    with pytest.raises(DecodeError, match="number in field 'age'"):
        codec.decode(None, b'{"gender": 1, "age": "old", "smoking": 1}')
    with pytest.raises(DecodeError, match="object"):
        codec.decode(None, b"[1, 2, 3]")


def test_encoding_refuses_samples_that_do_not_fit() -> None:
    """A sample of another size, or with text in it, is not written."""
    codec = codec_for("RAW", {"data_type": "uint8", "data_reshape": "4"})
    for bad in ([1, 2, 3], "four", [1, 2, 3, 300], [[1, 2], [3]], [0.5, 0, 0, 0], [1, 2, 3, None]):
        with pytest.raises(DecodeError):
            codec.encode(bad)
    labelled = codec_for("RAW", SEED_CONFIG, classes=10)
    with pytest.raises(DecodeError, match="one-hot"):
        labelled.encode(np.zeros(784), np.full(10, 5.0))
