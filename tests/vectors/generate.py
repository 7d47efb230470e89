"""Write the published vectors: `python -m tests.vectors.generate` (a test says when they are not current).

- `schema.json`: the JSON Schema of every record, by topic.
- `records.json`: one example of every record type, as the very bytes that stand in a topic.
- `refused.json`: records that every reader refuses, each with the reason.
- `weights.json`: tensors, their chunk records with headers and values and the manifest that names them; and the one
  record of an update that carries what changes of them.
- `signatures.json`: a key, and records with the header that holds, or does not and why.
- `machines.json`: digests of small runs, which every machine must come to (`tests.vectors.machines`).

They are the protocol's side of the bargain: a client in another language is right if it reads and writes these.
"""

from __future__ import annotations

import base64
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainstem.protocol.chunks import chunks, runs_of
from mainstem.protocol.exchange import Exchange, exchange_of
from mainstem.protocol.messages import (
    SCHEMA,
    Announcement,
    Audited,
    Base,
    ClientRecord,
    ControlRecord,
    Left,
    Update,
    encode,
    sha256,
)
from mainstem.protocol.packing import pack
from mainstem.protocol.topics import aggregator_topic
from mainstem.protocol.updates import unsent
from mainstem.protocol.weights import Tensor, digest, payload_bytes, payload_of, specs_of
from tests.support.signers import FORGER, key_of
from tests.vectors.examples import FEDERATION, sequence
from tests.vectors.machines import digests

HERE = Path(__file__).parent
COMMAND = "python -m tests.vectors.generate"
FIRST_OFFSET = 17
CHUNK_BYTES = 16


def schema() -> dict[str, Any]:
    """The JSON Schema: what stands on which topic, each record type by name."""
    topics = {
        "announcement": Announcement,
        "audit_record": Audited,
        "control_record": ControlRecord,
        "client_record": ClientRecord,
    }
    schemas, components = msgspec.json.schema_components(topics.values(), ref_template="#/$defs/{name}")
    named = dict(zip(topics, schemas, strict=True))
    for component in components.values():
        if "description" in component:  # Python 3.13 takes the indentation out of docstrings, earlier ones do not
            component["description"] = inspect.cleandoc(component["description"])
        if "schema" in component.get("properties", {}):  # a record, not a part of one
            component["properties"]["schema"] = {"const": SCHEMA}
            component["required"] = [
                "type",
                "schema",
                *(n for n in component["required"] if n not in ("type", "schema")),
            ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Mainstem protocol, schema 1",
        "description": f"Written by `{COMMAND}`.",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in topics],
        "$defs": dict(sorted((components | named).items())),
    }


def records() -> list[dict[str, Any]]:
    """Each example as text, with the sha256 by which a successor or a page reference names it."""
    values = [encode(record) for record in sequence()]
    return [{"type": json.loads(v)["type"], "value": v.decode(), "sha256": sha256(v)} for v in values]


def refused() -> list[dict[str, str]]:
    """A heartbeat, good but for one thing each; and one, first, that is just good."""
    good = b'{"type":"heartbeat","schema":1,"client":"a","incarnation":"1","phase":"waiting"'

    def more(text: str | bytes) -> bytes:
        return good + b"," + (text.encode() if isinstance(text, str) else text) + b"}"

    values = {
        "": more('"x":' + "[" * 63 + "]" * 63),
        "65 levels deep, in a field that no reader knows": more('"x":' + "[" * 64 + "]" * 64),
        "two fields of one name": more('"type":"tick","writer":"w"'),
        "two fields of one name, in a field that no reader knows": more('"x":{"a":1,"a":1}'),
        "bytes that are not UTF-8, in a field that no reader knows": more(b'"x":"\xff"'),
        "a surrogate written as bytes": more(b'"x":"\xed\xa0\x80"'),
        "a lone surrogate": more('"x":"\\ud800"'),
        "a lone surrogate as a name": more('"\\udfff":1'),
        "an integer of 2^53": more('"x":9007199254740992'),
        "an integer of -2^53": more('"x":-9007199254740992'),
        "an integer with a fraction": more('"base":2.0'),
        "an integer with an exponent": more('"base":2e0'),
        "a number beyond 64 bits": more('"x":1e400'),
        "NaN": more('"x":NaN'),
        "a control character in a string": more(b'"x":"\n"'),
        "a byte order mark": b"\xef\xbb\xbf" + more('"x":1'),
        "something after the object": more('"x":1') + b"x",
        "another schema": more('"x":1').replace(b'"schema":1', b'"schema":2'),
    }
    return [{"why": why, "value_base64": base64.b64encode(value).decode()} for why, value in values.items()]


def signatures() -> dict[str, Any]:
    """A site's key, and a `left` that it signed, or did not: `why` says what is wrong, and is empty where it holds."""
    key, topic, value = key_of("A"), aggregator_topic(FEDERATION), encode(Left(client="a", incarnation="1"))
    (_, header), (_, other) = key.sign(topic, value), FORGER.sign(topic, value)
    elsewhere = key.sign(aggregator_topic("other123"), value)[1]
    changed = header[:-1] + bytes([header[-1] ^ 1])
    claimed = header[:17] + other[17:]
    said = {
        "": header,
        "made for another topic": elsewhere,
        "another key's": other,
        "a bit differs": changed,
        "another key's, and names this one": claimed,
        "cut off": header[:-1],
        "another version": b"\x02" + header[1:],
    }
    return {
        "private_key_pem": key.pem().decode(),
        "public_key": key.public,
        "topic": topic,
        "value": value.decode(),
        "headers": [{"why": why, "signature_base64": base64.b64encode(sig).decode()} for why, sig in said.items()],
    }


def tensors() -> dict[str, Tensor]:
    """A model with every trap: 0-d, empty, several dtypes, more than one chunk."""
    return {
        "dense/kernel": (np.arange(12, dtype=np.float32).reshape(3, 4) - 5.5) / 4,
        "dense/bias": np.array([1.0, -0.0, 65504.0], np.float16),
        "norm/é": np.array([np.pi, -1e-300], np.float64),
        "steps": np.array(-2, np.int64),
        "mask": np.array([True, False]),
        "unused": np.zeros((0, 4), np.float32),
    }


def weights() -> dict[str, Any]:
    """The chunk records of these tensors at consecutive offsets, and their manifest."""
    named = tensors()
    specs = specs_of(named.items())
    sent = [
        {
            "partition": 0,
            "offset": FIRST_OFFSET + number,
            "headers": {name: value.decode() for name, value in chunk.headers("site-a", "0-0-5f0c")},
            "value_base64": base64.b64encode(chunk.data).decode(),
        }
        for number, chunk in enumerate(chunks(payload_of(named.values()), CHUNK_BYTES))
    ]
    return {
        "tensors": msgspec.to_builtins(specs),
        "chunks": sent,
        "weights": {
            "writer": "site-a",
            "update": "0-0-5f0c",
            "chunks": msgspec.to_builtins(runs_of((0, FIRST_OFFSET + i) for i in range(len(sent)))),
            "nbytes": payload_bytes(specs),
            "sha256": digest(specs, list(named.values())),
        },
        "packed": packed(named, exchange_of(specs)),
    }


def packed(named: dict[str, Tensor], exchange: Exchange) -> dict[str, Any]:
    """The record of an update that carries what changes of these tensors."""
    carried = [list(named.values())[number] for number in exchange.carried]
    (specs,) = exchange.payloads
    update = Update(
        client="site-a",
        incarnation="5f0c",
        base=Base(seq=0, version=0),
        number=0,
        examples=450,
        weights=unsent(writer="site-a", update="0-0-5f0c", specs=specs, tensors=carried),
    )
    record = pack(update, b"".join(payload_of(carried)))
    return {
        "carried": list(exchange.carried),
        "headers": {name: value.decode() for name, value in record.headers},
        "value_base64": base64.b64encode(record.value or b"").decode(),
    }


def files() -> dict[str, str]:
    """The vectors' files by name."""
    contents = {
        "schema.json": schema(),
        "records.json": records(),
        "weights.json": weights(),
        "refused.json": refused(),
        "signatures.json": signatures(),
    }
    return {name: written(content) for name, content in contents.items()}


def written(content: Any) -> str:
    """The text of a file."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write them all."""
    for name, text in {**files(), "machines.json": written(digests())}.items():
        (HERE / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(text)} characters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
