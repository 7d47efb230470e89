"""Numbers on their way to the model: kept exactly, rounded where they are fractions, or refused by name."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstem.errors import ConfigError, DecodeError
from mainstem.streams.codecs import codec_for
from mainstem.streams.codecs.exact import cast, unfit_decimal

FLOAT32, FLOAT64 = np.dtype("f4"), np.dtype("f8")
NOW = 1735689600123
"""A time in milliseconds: as float32 it is 44 s off."""


def record(**fields: Any) -> dict[str, Any]:
    """A schema of a record with these fields."""
    return {"type": "record", "name": "row", "fields": [{"name": n, "type": t} for n, t in fields.items()]}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A schema of a logical type."""
    return {"type": kind, "logicalType": name, **more}


def avro(schema: Any, value: Any) -> bytes:
    """`value` as a schemaless record, by an independent writer."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), value)
    return buffer.getvalue()


def seen(schema: Any, value: Any, wanted: np.dtype[Any] | None = FLOAT32, **config: Any) -> list[Any]:
    """What a model of this dtype gets of an Avro record."""
    codec = codec_for("AVRO", {"data_scheme": schema, **config}, wanted=(wanted, None))
    return list(codec.decode(None, avro(schema, value))[0].tolist())


@settings(deadline=None)
@given(st.integers(-(2**63), 2**64 - 1), st.sampled_from(["f2", "f4", "f8", "i1", "u1", "i4", "u4", "i8", "u8"]))
def test_whole_numbers_survive_or_are_refused(value: int, code: str) -> None:
    """Whatever is not refused comes back as the same whole number, and what comes back so is not refused."""
    dtype, array = np.dtype(code), np.array([value])
    with np.errstate(over="ignore", invalid="ignore"):
        plain = array.astype(dtype)[0]
    kept = bool(np.isfinite(plain)) and int(plain) == value
    if kept:
        assert int(cast(array, dtype, "the data")[0]) == value
    else:
        with pytest.raises(DecodeError, match=f"is {value}, which .*{dtype.name}"):
            cast(array, dtype, "the data")


@settings(deadline=None)
@given(st.integers(-(10**18), 10**18), st.integers(0, 12), st.sampled_from([FLOAT32, FLOAT64]))
def test_decimals_survive_to_their_last_digit_or_are_refused(unscaled: int, scale: int, dtype: np.dtype[Any]) -> None:
    """Rounded to its scale, what the model sees is the decimal that was sent."""
    if unfit_decimal(unscaled, scale, dtype) is None:
        shown = decimal.Decimal(str(dtype.type(unscaled / 10**scale)))
        assert round(shown, scale) == decimal.Decimal(unscaled).scaleb(-scale)
    else:
        assert abs(unscaled) > 10 ** (6 if dtype == FLOAT32 else 15)


@pytest.mark.parametrize("kind", ["bytes", "fixed"])
def test_decimals_are_decoded(kind: str) -> None:
    """12.34 arrives as 12.34, not as the bytes 4 and 210; so do negative ones, and both write again."""
    schema = logical(kind, "decimal", precision=6, scale=2) | ({"size": 4, "name": "money"} if kind == "fixed" else {})
    schema = record(price=schema, n=["null", schema if kind == "bytes" else "money"])
    for wanted in (FLOAT32, FLOAT64):
        value = {"price": decimal.Decimal("12.34"), "n": decimal.Decimal("-0.05")}
        assert seen(schema, value, wanted) == [wanted.type(12.34), wanted.type(-0.05)]
    codec = codec_for("AVRO", {"data_scheme": schema})
    assert codec.decode(*codec.encode([12.34, -1.5]))[0].tolist() == [12.34, -1.5]
    assert codec_for("JSON", {"data_scheme": schema}).decode(None, b'{"price": 12.34, "n": -5}')[0].tolist() == [
        12.34,
        -5,
    ]


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        (
            record(at=logical("long", "timestamp-millis"), v="float"),
            {"at": NOW, "v": 1.5},
            "field 'at' is 1735689600123 (timestamp-millis), which float32 cannot hold exactly (it would become",
        ),
        (
            record(m=logical("bytes", "decimal", precision=12, scale=2)),
            {"m": decimal.Decimal("123456789.12")},
            "field 'm' is 123456789.12, of which float32 cannot hold every digit (it would become 1.2345679e+08)",
        ),
        (
            record(a={**record(id="long"), "name": "inner"}),
            {"a": {"id": 16777217}},
            "field 'a.id' is 16777217, which float32",
        ),
        (record(age=["null", "int"]), {"age": None}, "field 'age' is null; a sample needs a number there"),
        (record(x="double"), {"x": 1e300}, "field 'x' is 1e+300, which is too large for float32"),
    ],
)
def test_what_cannot_be_kept_names_its_field(schema: Any, value: Any, told: str) -> None:
    """The field, the value, the type and what would have become of it."""
    with pytest.raises(DecodeError) as caught:
        seen(schema, value)
    assert told in str(caught.value)


def test_times_are_the_numbers_of_their_unit() -> None:
    """Dates, times and timestamps are exact, or refused where the model's type is too narrow."""
    day, at = datetime.date(2025, 1, 1), datetime.datetime.fromtimestamp(NOW / 1000, datetime.UTC)
    assert seen(record(d=logical("int", "date")), {"d": day}) == [20089]
    time = datetime.time(0, 0, 1, 500000)
    assert seen(record(t=logical("int", "time-millis")), {"t": time}) == [1500]
    assert seen(record(t=logical("long", "timestamp-millis")), {"t": at}, FLOAT64) == [NOW]
    assert seen(record(t=logical("long", "timestamp-millis")), {"t": at}, np.dtype("i8")) == [NOW]
    # beside a fraction all are float64: no less exact
    mixed = record(t=logical("long", "timestamp-millis"), v="float")
    assert seen(mixed, {"t": at, "v": 0.5}, None) == [NOW, 0.5]
    with pytest.raises(DecodeError, match="field 'id' is 9007199254740993"):
        seen(record(id="long", v="double"), {"id": 2**53 + 1, "v": 0.5}, None)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (record(d={"type": "fixed", "name": "d", "size": 12, "logicalType": "duration"}), "'d' is a duration"),
        (record(u={"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}), "'u' is a uuid"),
        (record(b=logical("bytes", "big-decimal")), "'b' is a big-decimal"),
        (record(p=logical("bytes", "decimal", precision=2, scale=3)), "'p' is a decimal with precision 2 and scale 3"),
        (record(p=logical("bytes", "decimal")), "'p' is a decimal with precision None"),
        (
            {"type": "record", "name": "r", "fields": [{"name": "p", "type": "bytes", "logicalType": "decimal"}]},
            "'p' has its logicalType beside its type",
        ),
    ],
)
def test_logical_types_that_are_no_single_number_are_refused_by_name(schema: Any, told: str) -> None:
    """None of them arrives as raw bytes."""
    with pytest.raises(ConfigError, match=told):
        codec_for("AVRO", {"data_scheme": schema})


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"[16777217]", "is 16777217, which float32 cannot hold exactly"),
        (b"[16777217, 0.5]", "the data at position 0 is 16777217, which float32 cannot hold exactly"),
        (b"[9007199254740993, 0.5]", "is 9007199254740993"),
        (b"[1, null]", "has null at position 1"),
        (b"[NaN, 1]", "NaN and Infinity are no JSON"),
        (b'{"a": 1, "b": 2}', "is an object; add data_scheme to INPUT_CONFIG"),
    ],
)
def test_json_numbers_are_kept_or_refused(payload: bytes, told: str) -> None:
    """Whole numbers are exact also beside fractions; other shapes say what is there."""
    size = payload.count(b",") + 1
    codec = codec_for("JSON", {"data_type": "float64", "data_reshape": str(size)}, wanted=(FLOAT32, None))
    with pytest.raises(DecodeError) as caught:
        codec.decode(None, payload)
    assert told in str(caught.value)


def test_json_fields_are_named() -> None:
    """With a scheme the field is named: too large, null, a fraction where a whole number belongs."""
    codec = codec_for("JSON", {"data_scheme": record(id="long", age=["null", "float"])}, wanted=(FLOAT32, None))
    for payload, told in (
        (b'{"id": 16777217, "age": 1}', "field 'id' is 16777217, which float32"),
        (b'{"id": 1, "age": null}', "field 'age' is null"),
        (b'{"id": 1.5, "age": 1}', "1.5 in field 'id', which is a whole number"),
        (b'{"id": "7", "age": 1}', "needs a number in field 'id', which has '7'"),
    ):
        with pytest.raises(DecodeError) as caught:
            codec.decode(None, payload)
        assert told in str(caught.value)


@pytest.mark.parametrize(("stored", "wanted"), [("int64", "f4"), ("uint32", "f4"), ("int32", "f2"), ("int64", "f8")])
def test_raw_integers_are_exact_in_the_model_s_type(stored: str, wanted: str) -> None:
    """The first number beyond the type's digits is refused, the one before it kept."""
    digits = {"f2": 11, "f4": 24, "f8": 53}[wanted]
    codec = codec_for("RAW", {"data_type": stored, "data_reshape": "2"}, wanted=(np.dtype(wanted), None))
    assert codec.decode(None, np.array([1, 1 << digits], stored).tobytes())[0].tolist() == [1, 1 << digits]
    with pytest.raises(DecodeError, match=f"the data is {(1 << digits) + 1} at position 1, which float"):
        codec.decode(None, np.array([1, (1 << digits) + 1], stored).tobytes())


# ------------------------------------------------------------ what stands before a record
HEADERS = {"confluent": b"\0\0\0\0\x2a", "single-object": b"\xc3\x01" + b"f" * 8, "glue": b"\x03\0" + b"u" * 16}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("fmt", ["RAW", "AVRO", "JSON"])
def test_registry_headers_are_recognised_and_skipped(fmt: str, name: str) -> None:
    """Without the setting the refusal names it; with it the header is skipped, on the side that has one."""
    config: dict[str, Any] = {"data_type": "float32", "data_reshape": "2", "label_type": "int32", "label_reshape": "1"}
    if fmt == "AVRO":
        config |= {"data_scheme": record(a="float", b="float"), "label_scheme": "int"}
    key, value = codec_for(fmt, config).encode([0.5, 2], 3)
    with pytest.raises(DecodeError, match=f'"data_header": "{name}" to INPUT_CONFIG'):
        codec_for(fmt, config).decode(key, HEADERS[name] + value)
    codec = codec_for(fmt, config | {"data_header": name})
    x, y = codec.decode(key, HEADERS[name] + value)
    assert x.tolist() == [0.5, 2] and y is not None and y.tolist() == [3]
    batch = codec.decode_many([(key, HEADERS[name] + value)] * 3 + [(key, b"\xff" + value)])
    assert len(batch.x) == 3 and "does not begin with the header" in batch.refused[0].reason
    with pytest.raises(ConfigError, match="data_header"):
        codec.encode([0.5, 2], 3)


def test_headers_are_named_or_refused() -> None:
    """A header that nobody knows is a ConfigError that lists those there are."""
    with pytest.raises(ConfigError, match="label_header is 'avro'; it must be one of confluent"):
        codec_for("RAW", {"data_type": "u", "label_header": "avro"} | {"data_type": "int8", "label_type": "int8"})


# ------------------------------------------------------------ labels
def test_what_label_subtract_says_is_taken_from_labels() -> None:
    """Classes 1 to 3 become 0 to 2, also unsigned ones; writing adds it again."""
    config = {"data_type": "uint8", "label_type": "uint8", "label_subtract": 1}
    codec = codec_for("RAW", config, classes=3)
    batch = codec.decode_many([(bytes([label]), b"\7") for label in (1, 2, 3)])
    assert batch.y is not None and batch.y.tolist() == [0, 1, 2]
    assert codec.encode(7, 0) == (b"\1", b"\7")
    with pytest.raises(DecodeError, match="value -1"):
        codec.decode(b"\0", b"\7")
    with pytest.raises(ConfigError, match="label_subtract is 'one'"):
        codec_for("RAW", config | {"label_subtract": "one"})


# ------------------------------------------------------------ whatever comes
MONEY = logical("bytes", "decimal", precision=9, scale=3)
ANY = record(at=logical("long", "timestamp-micros"), price=["null", MONEY], id="long", share="double")


@settings(deadline=None)
@given(st.binary(max_size=40), st.sampled_from([None, *HEADERS]), st.sampled_from(["f4", "f8", "i8", "u1"]))
def test_any_bytes_are_a_sample_or_a_refusal(payload: bytes, header: str | None, wanted: str) -> None:
    """Nothing but DecodeError, and nothing that is not finite, comes of bytes that a stranger chose."""
    codec = codec_for("AVRO", {"data_scheme": ANY, "data_header": header}, wanted=(np.dtype(wanted), None))
    for body in (payload, HEADERS.get(header or "", b"") + payload):
        with contextlib.suppress(DecodeError):
            x, _ = codec.decode(None, body)
            assert x.dtype == np.dtype(wanted) and np.isfinite(x).all()


@settings(deadline=None)
@given(
    st.integers(-(10**9) + 1, 10**9 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_another_writer_wrote_is_read_or_refused(price: int, id: int, share: float) -> None:
    """In float64: decimals of nine digits always, whole numbers where they are exact."""
    paid = decimal.Decimal(price).scaleb(-3)
    value = {"at": 0, "price": paid, "id": id, "share": share}
    raw = avro(record(at="long", price=["null", MONEY], id="long", share="double"), value)
    codec = codec_for("AVRO", {"data_scheme": ANY})
    if int(float(id)) == id:
        assert codec.decode(None, raw)[0].tolist() == [0, float(paid), id, share]
    else:
        with pytest.raises(DecodeError, match=f"field 'id' is {id}, which float64"):
            codec.decode(None, raw)
