"""The published vectors are current, valid by their own schema, and right by the written specification alone."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from typing import Any

import jsonschema
import msgspec
import pytest

from mainstem.errors import DecodeError
from mainstem.protocol import signing
from mainstem.protocol.chunks import Assembler, Limits, check_manifest
from mainstem.protocol.exchange import check_update, exchange_of
from mainstem.protocol.log import Record
from mainstem.protocol.messages import (
    TensorSpec,
    Update,
    Weights,
    decode_announcement,
    decode_audited,
    decode_client,
    decode_control,
    encode,
)
from mainstem.protocol.packing import check_payload, decode
from mainstem.protocol.weights import tensors_in
from tests.vectors.generate import COMMAND, HERE, files, tensors

SIZES = {"float16": 2, "float32": 4, "float64": 8, "int64": 8, "bool": 1}


def load(name: str) -> Any:
    """A published file."""
    return json.loads((HERE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["schema.json", "records.json", "weights.json", "refused.json", "signatures.json"])
def test_current(name: str) -> None:
    """What is published is what the code says now."""
    assert (HERE / name).read_text(encoding="utf-8") == files()[name], f"{name} is not current: run `{COMMAND}`"


@pytest.mark.parametrize("record", load("records.json"), ids=lambda r: str(r["type"]))
def test_records(record: dict[str, str]) -> None:
    """Every golden record is read, written again as the same bytes, valid by the schema, and hashes as published."""
    value = record["value"].encode()
    schema = load("schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(value))
    assert hashlib.sha256(value).hexdigest() == record["sha256"]
    clients = ("joined", "heartbeat", "update", "client_failed", "left", "tick")
    decode = (
        decode_announcement
        if record["type"] == "announcement"
        else decode_client
        if record["type"] in clients
        else decode_audited
        if record["type"] == "audited"
        else decode_control
    )
    assert encode(decode(value)) == value


@pytest.mark.parametrize("record", load("refused.json"), ids=lambda r: r["why"] or "good")
def test_refused(record: dict[str, str]) -> None:
    """What depends on the reader is refused by all of them; the first is the good record that the others spoil."""
    value = base64.b64decode(record["value_base64"])
    if not record["why"]:
        assert decode_client(value).schema == 1
        return
    with pytest.raises(DecodeError):
        decode_client(value)


def test_every_type_has_an_example() -> None:
    """Nothing of the schema is without a golden record."""
    kinds = [d.get("properties", {}).get("type", {}) for d in load("schema.json")["$defs"].values()]
    types = {kind["enum"][0] for kind in kinds if "enum" in kind}
    assert types == {r["type"] for r in load("records.json")}


@pytest.mark.parametrize(
    "change",
    [
        {"examples": -1},
        {"client": "a b"},
        {"client": "a\n"},
        {"number": 2**63},
        {"weights": None},
        {"incarnation": ""},
        {"schema": 2},
    ],
)
def test_the_schema_has_the_bounds(change: dict[str, Any]) -> None:
    """What our decoder refuses, the published schema refuses too."""
    (update,) = [json.loads(r["value"]) for r in load("records.json") if r["type"] == "update"]
    client = load("schema.json")
    client["anyOf"] = [{"$ref": "#/$defs/client_record"}]
    jsonschema.Draft202012Validator(client).validate(update)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(client).validate(update | change)


def hashed(tensors: list[dict[str, Any]], payload: bytes) -> str:
    """The digest of docs/protocol.md, and that the payload is just so long."""
    whole, start = hashlib.sha256(), 0
    for tensor in tensors:
        size = math.prod(tensor["shape"]) * SIZES[tensor["dtype"]]
        data = payload[start : start + size]
        start += size
        shape = ",".join(str(n) for n in tensor["shape"])
        head = "\0".join([tensor["name"], tensor["dtype"], shape]).encode()
        whole.update(str(len(head)).encode() + b":" + head + str(size).encode() + b":" + data)
        if tensor["name"] == "dense/kernel":
            assert struct.unpack("<12f", data) == tuple((i - 5.5) / 4 for i in range(12))
        if tensor["name"] == "steps":
            assert struct.unpack("<q", data) == (-2,)
    assert start == len(payload)
    return whole.hexdigest()


def test_chunks_by_the_specification_alone() -> None:
    """docs/protocol.md, followed with nothing but the standard library, gives the published tensors and digest."""
    vector = load("weights.json")
    manifest = vector["weights"]
    records = {(c["partition"], c["offset"]): c for c in vector["chunks"]}
    payload = b""
    for index, place in enumerate((p, first + i) for p, first, count in manifest["chunks"] for i in range(count)):
        value = base64.b64decode(records[place]["value_base64"])
        assert records[place]["headers"] == {
            "kind": "chunk",
            "writer": manifest["writer"],
            "update": manifest["update"],
            "index": str(index),
        }
        payload += value
    assert len(payload) == manifest["nbytes"] and hashed(vector["tensors"], payload) == manifest["sha256"]


def test_a_packed_update_by_the_specification_alone() -> None:
    """Its value is the payload of the tensors that updates carry, floats; its manifest stands in a header."""
    vector = load("weights.json")
    packed = vector["packed"]
    floats = [n for n, tensor in enumerate(vector["tensors"]) if tensor["dtype"].startswith("float")]
    assert packed["carried"] == floats and packed["headers"]["kind"] == "update"
    manifest = json.loads(packed["headers"]["manifest"])["weights"]
    payload = base64.b64decode(packed["value_base64"])
    assert len(payload) == manifest["nbytes"] and "chunks" not in manifest
    assert hashed([vector["tensors"][number] for number in floats], payload) == manifest["sha256"]


def test_our_reader_takes_them() -> None:
    """Mainstem's own reader gives the same tensors."""
    vector = load("weights.json")
    specs = msgspec.convert(vector["tensors"], tuple[TensorSpec, ...])
    weights = msgspec.convert(vector["weights"], Weights)
    check_manifest(weights, specs, Limits())
    assembler = Assembler(weights, specs)
    for chunk in vector["chunks"]:
        headers = {name: value.encode() for name, value in chunk["headers"].items()}
        assembler.add(headers, base64.b64decode(chunk["value_base64"]))
    for got, want in zip(tensors_in(specs, assembler.payload()), tensors().values(), strict=True):
        assert got.dtype == want.dtype and got.shape == want.shape and got.tobytes() == want.tobytes()
    headers = {name: value.encode() for name, value in vector["packed"]["headers"].items()}
    record = Record("a", 0, 0, 0, None, base64.b64decode(vector["packed"]["value_base64"]), headers)
    update, exchange = decode(record), exchange_of(specs)
    assert isinstance(update, Update) and exchange.carried == tuple(vector["packed"]["carried"])
    check_update(update, exchange, 1 << 20)
    check_payload(update, exchange, record.value or b"")


@pytest.mark.parametrize("header", load("signatures.json")["headers"], ids=lambda h: h["why"] or "good")
def test_signatures(header: dict[str, str]) -> None:
    """The good one is the very one that the key makes; no other holds."""
    vector = load("signatures.json")
    topic, value = vector["topic"], vector["value"].encode()
    headers = {signing.HEADER: base64.b64decode(header["signature_base64"])}
    assert signing.signed(headers, topic, value, vector["public_key"]) == (not header["why"])
    key = signing.SigningKey.from_pem(vector["private_key_pem"].encode())
    assert (dict([key.sign(topic, value)]) == headers) == (not header["why"])
