"""What becomes of values on their way to a model: `python -m tests.support.values` writes the table of docs/values.md.

Each case goes the whole way: written by an independent writer (NumPy, fastavro, json, text), read by the Job's own
`Decoder` for a model of the type named.
"""

from __future__ import annotations

import datetime
import decimal
import io
import itertools
import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import fastavro
import numpy as np

from federated_training.data.decoders import Decoder
from inject_scripts.injection import input_config
from inject_scripts.readers import DataSet, Making, csv_source, idx_source, npz_source
from inject_scripts.samples import prepare
from mainstem.errors import MainstemError
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.messages import InputSpec
from mainstem.streams.codecs import codec_for

PAGE: Final = Path(__file__).parents[2] / "docs" / "values.md"
MARKS: Final = ("<!-- values -->", "<!-- end -->")
COMMAND: Final = "python -m tests.support.values"
KEY: Final = np.float32(0).tobytes()
F4, F8, I8 = "float32", "float64", "int64"

Record = tuple[bytes | None, bytes]


@dataclass(frozen=True, slots=True)
class Case:
    """One value: how it is stored, what it is, the model's type, and how its records come to be.

    `sent` gives INPUT_FORMAT, INPUT_CONFIG and the records, or raises what an injection script says.
    """

    stored: str
    value: Any
    model: str
    sent: Callable[[], tuple[str, dict[str, Any], list[Record]]]

    def seen(self) -> Any:
        """What a model of that type gets; raises MainstemError where it is refused."""
        fmt, config, records = self.sent()
        spec = JobSpec(
            cloud_bootstrap="k:1", data_bootstrap="k:1", data_topic="t", input_format=fmt,
            input_config=json.dumps(config), federation="abcdefgh", client_id="c",
        )  # fmt: skip
        model = InputSpec(shape=codec_for(fmt, config).x_shape, dtype=self.model, label_shape=(1,))
        decoder = Decoder(spec, model)
        x, _, refused = decoder.decode(records)
        if refused:
            raise MainstemError(refused[0].reason)
        return x.reshape(-1)[0]

    def row(self) -> tuple[str, str, str, str]:
        """Stored as, value, the model's type, and what it saw, with how exact that is."""
        shown = f"`{self.value}`"
        try:
            seen = self.seen()
        except MainstemError as error:
            return self.stored, shown, self.model, f"refused: {error}".replace("|", "\\|")
        digits = isinstance(self.value, decimal.Decimal)
        verdict = "every digit" if digits else "exact" if _exact(self.value, seen) else "the nearest"
        return self.stored, shown, self.model, f"`{seen}`, {verdict}"


def _exact(value: Any, seen: Any) -> bool:
    """Whether what was seen is what was stored."""
    stored = value.item() if isinstance(value, np.generic) else value
    number = Fraction(stored.split(" = ")[-1]) if isinstance(stored, str) else Fraction(stored)
    return number == Fraction(seen.item())


# ------------------------------------------------------------ records of producers
def _labelled(config: dict[str, Any]) -> dict[str, Any]:
    return config | {"label_type": "float32", "label_reshape": "1"}


def raw(dtype: str, value: Any, model: str) -> Case:
    """An array's bytes, as NumPy writes them."""

    def sent() -> tuple[str, dict[str, Any], list[Record]]:
        config = _labelled({"data_type": dtype, "data_reshape": "1"})
        return "RAW", config, [(KEY, np.array([value], dtype).tobytes())]

    return Case(f"RAW {dtype}", np.array(value, dtype)[()], model, sent)


def avro(stored: str, schema: Any, value: Any, model: str, shown: Any = None) -> Case:
    """A field `v`, as fastavro writes it."""
    record = {"type": "record", "name": "row", "fields": [{"name": "v", "type": schema}]}

    def sent() -> tuple[str, dict[str, Any], list[Record]]:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(record), {"v": value})
        return "AVRO", {"data_scheme": record, "data_reshape": "1", "label_scheme": "float"}, [(KEY, buffer.getvalue())]

    return Case(f"AVRO {stored}", value if shown is None else shown, model, sent)


def text(stored: str, payload: str, model: str, scheme: Any = None, value: Any = None) -> Case:
    """JSON as it stands."""

    def sent() -> tuple[str, dict[str, Any], list[Record]]:
        kind = {"data_type": "bool"} if stored.endswith("true") else {"data_type": model}
        config = kind if scheme is None else {"data_scheme": scheme}
        return "JSON", config | {"data_reshape": "1", "label_type": "float32"}, [(b"0", payload.encode())]

    return Case(f"JSON {stored}", payload if value is None else f"{payload} = {value}", model, sent)


# ------------------------------------------------------------ files
def file(stored: str, value: Any, model: str, source: Callable[[Path, np.dtype[Any]], DataSet]) -> Case:
    """A file of one row, injected with `--dtype` of the model's type."""

    def sent() -> tuple[str, dict[str, Any], list[Record]]:
        with tempfile.TemporaryDirectory() as name:
            dtype = np.dtype(model)
            samples = prepare(source(Path(name), dtype), dtype=dtype)
            config = input_config("RAW", samples.x_shape, samples.x_dtype, (1,), np.dtype("f4"))
            codec = codec_for("RAW", config)
            return "RAW", config, [codec.encode(x, 0.0) for x, _ in samples.iterate()]

    return Case(stored, value, model, sent)


def csv(cell: str, model: str) -> Case:
    """A cell, below a header."""

    def source(folder: Path, dtype: np.dtype[Any]) -> DataSet:
        (folder / "f.csv").write_text(f'v,label\n"{cell}",0\n')
        return csv_source(folder / "f.csv", None, Making(dtype=dtype))

    return file("CSV", cell, model, source)


def npz(dtype: str, value: Any, model: str) -> Case:
    """An array of the file's `x`."""

    def source(folder: Path, _: np.dtype[Any]) -> DataSet:
        np.savez(folder / "f.npz", x=np.array([[value]], dtype), y=[0])
        return npz_source(folder / "f.npz", None, None, labelled=True)

    return file(f"npz {dtype}", np.array(value, dtype)[()], model, source)


def idx(code: int, dtype: str, value: Any, model: str) -> Case:
    """A value of an IDX file of this type."""

    def source(folder: Path, _: np.dtype[Any]) -> DataSet:
        (folder / "i").write_bytes(struct.pack(">4B2I", 0, 0, code, 2, 1, 1) + np.array([value], f">{dtype}").tobytes())
        (folder / "l").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 1) + b"\0")
        return idx_source(folder / "i", folder / "l")

    return file(f"IDX 0x{code:02x}, {np.dtype(dtype).name}", np.array(value, dtype)[()], model, source)


# ------------------------------------------------------------ the table
LARGE: Final = (1 << 24) + 1
HUGE: Final = (1 << 53) + 1
NOW: Final = 1735689600123
AT: Final = datetime.datetime.fromtimestamp(NOW / 1000, datetime.UTC)


def _logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def cases() -> Iterator[Case]:
    """Every kind of input, with a value that fits and one that does not."""
    yield from (raw(f"float{bits}", 0.1, F4) for bits in (16, 32, 64))
    yield from (raw("float64", value, F4) for value in (1e300, 16777217.0, float("nan"), float("inf")))
    for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"):
        info = np.iinfo(dtype)
        extreme = int(info.max) if info.min == 0 else int(info.min)
        yield raw(dtype, extreme, F4)
        if info.bits > 16:
            yield raw(dtype, LARGE, F4)
    yield from (
        raw("int64", value, model) for value, model in ((LARGE, F8), (HUGE, F8), (HUGE, I8), (1 << 40, "int32"))
    )
    yield from (raw("uint64", (1 << 64) - 1, model) for model in (I8, "uint64"))
    yield raw("bool", True, F4)
    yield raw("float32", 1.0, "int32")

    yield from (avro("int", "int", value, F4) for value in (-7, LARGE))
    yield from (avro("long", "long", HUGE, model) for model in (F4, F8, I8))
    yield avro("float", "float", 0.1, F4, np.float32(0.1))
    yield from (avro("double", "double", value, F4) for value in (0.1, 1e300))
    yield avro("boolean", "boolean", True, F4)
    yield avro("enum", {"type": "enum", "name": "e", "symbols": ["red", "green"]}, "green", F4, "green = 1")
    yield avro("bytes", "bytes", b"\xff", F4, "ff = 255")
    yield avro("fixed", {"type": "fixed", "name": "f", "size": 1}, b"\xff", F4, "ff = 255")
    yield from (avro("null or double", ["null", "double"], value, F4) for value in (0.5, None))
    money = _logical("bytes", "decimal", precision=20, scale=2)
    for value, model in itertools.product(("12.34", "-0.05", "123456789.12", "123456789012345678.90"), (F4, F8)):
        yield avro("decimal (bytes)", money, decimal.Decimal(value), model)
    fixed = {"type": "fixed", "name": "f", "size": 4, "logicalType": "decimal", "precision": 8, "scale": 3}
    yield avro("decimal (fixed)", fixed, decimal.Decimal("12.345"), F4)
    yield avro("date", _logical("int", "date"), datetime.date(2025, 1, 1), F4, "2025-01-01 = 20089")
    time = datetime.time(12, 30, 0, 250000)
    yield avro("time-millis", _logical("int", "time-millis"), time, F4, "12:30:00.250 = 45000250")
    yield avro("time-millis", _logical("int", "time-millis"), time, F8, "12:30:00.250 = 45000250")
    yield avro("time-micros", _logical("long", "time-micros"), time, F8, "12:30:00.250 = 45000250000")
    units = {"millis": NOW, "micros": NOW * 1000}
    for (unit, number), model in itertools.product(units.items(), (F4, F8, I8)):
        kind = f"timestamp-{unit}"
        yield avro(kind, _logical("long", kind), AT, model, f"2025-01-01T00:00:00.123Z = {number}")
    nanos = _logical("long", "timestamp-nanos")
    yield from (
        avro("timestamp-nanos", nanos, NOW * 1_000_000 + 1, model, f"{NOW * 1_000_000 + 1}") for model in (F8, I8)
    )
    local = _logical("long", "local-timestamp-millis")
    yield avro("local-timestamp-millis", local, AT.replace(tzinfo=None), F8, f"2025-01-01T00:00:00.123 = {NOW}")
    duration = {"type": "fixed", "name": "f", "size": 12, "logicalType": "duration"}
    yield avro("duration", duration, bytes(12), F4, "no months, days, ms")
    uuid = {"type": "fixed", "name": "f", "size": 16, "logicalType": "uuid"}
    yield avro("uuid", uuid, bytes(16), F4, "a UUID")
    yield avro("big-decimal", _logical("bytes", "big-decimal"), b"\2\2", F4, "any scale")
    yield avro("string", "string", "7", F4)

    yield from (text("number", value, F4) for value in ("0.1", "16777216", "16777217", "1e300", "NaN", "null", '"7"'))
    yield from (text("number", str(HUGE), model) for model in (F8, I8))
    yield text("number", str((1 << 64) - 1), "uint64")
    yield text("true", "true", F4, value="1")
    yield text("object", '{"v": 1}', F4)
    row = {"type": "record", "name": "row", "fields": [{"name": "v", "type": ["null", "long"]}]}
    yield from (text("object with a scheme", f'{{"v": {value}}}', F4, row, value) for value in (7, LARGE, 1.5, "null"))
    paid = {"type": "record", "name": "row", "fields": [{"name": "v", "type": money}]}
    yield text("object with a decimal", '{"v": 12.34}', F4, paid, decimal.Decimal("12.34"))

    yield from (csv(cell, F4) for cell in ("0.1", "16777216", "16777217", "1e300", "NA", "", "1_000"))
    yield from (csv(cell, model) for cell, model in (("16777217", F8), (str(HUGE), F8), (str(HUGE), I8), ("1.5", I8)))

    yield from (npz(f"float{bits}", 0.1, F4) for bits in (16, 32, 64))
    yield from (npz("int64", LARGE, model) for model in (F4, F8, I8))
    yield from (npz(dtype, 200, F4) for dtype in ("uint8", "int16", "uint32"))
    yield npz("bool", True, F4)
    yield from (
        npz(dtype, value, F4) for dtype, value in (("complex128", 1j), ("datetime64[D]", "2025-01-01"), ("U1", "7"))
    )

    yield idx(0x08, "u1", 255, F4)
    yield idx(0x09, "i1", -128, F4)
    yield idx(0x0B, "i2", -32768, F4)
    yield from (idx(0x0C, "i4", LARGE, model) for model in (F4, F8, "int32"))
    yield idx(0x0D, "f4", 0.1, F4)
    yield from (idx(0x0E, "f8", 0.1, model) for model in (F4, F8))


def table() -> str:
    """The table in Markdown."""
    rows = [("stored as", "value", "model's type", "what the model sees"), ("---",) * 4]
    rows += [case.row() for case in cases()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page(before: str) -> str:
    """The page with the table written anew between its marks."""
    head, rest = before.split(MARKS[0], 1)
    return f"{head}{MARKS[0]}\n\n{table()}\n\n{MARKS[1]}{rest.split(MARKS[1], 1)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
