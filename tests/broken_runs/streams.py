"""Runs whose data are broken: what records hold, and what became of them since they were announced."""

from __future__ import annotations

import io
import json
import struct
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
from confluent_kafka import Producer

from tests.broken_runs.case import Run, case
from tests.broken_runs.ground import RAW, Ground, one_hot, records_of, samples
from tests.broken_runs.settings import source

FEATURES = [{"name": f"f{number}", "type": "float"} for number in range(8)]
LABEL = {"type": "record", "name": "L", "fields": [{"name": "label", "type": "int"}]}
SPARSE: dict[str, Any] = {"loss": "sparse_categorical_crossentropy"}
INDEX = {"label_type": "int32", "label_reshape": ""}


def avro(schema: dict[str, Any], datum: dict[str, Any]) -> bytes:
    """Schemaless Avro."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), datum)
    return buffer.getvalue()


@case('labels of another size: `label_reshape` "5" for three classes', r"label")
def label_reshape(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(), samples()
    config = RAW | {"label_reshape": "5"}
    return Run(federation, ground.stream(federation, records_of(x, np.eye(5, dtype="<f4")[labels]), config))


@case("labels 1 to 3 instead of 0 to 2", r"label")
def labels_from_one(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(**SPARSE), samples()
    return Run(federation, ground.stream(federation, records_of(x, (labels + 1).astype("<i4")), RAW | INDEX))


@case("word 50 in one of sixty texts, for an `Embedding` of 20 words", r"[Ee]mbedding|\b50\b")
def embedding(ground: Ground) -> Run:
    layers = "keras.layers.Embedding(20, 4), keras.layers.Flatten(), keras.layers.Dense(3, activation='softmax')"
    model = source(f"model = keras.Sequential([keras.Input((8,), dtype='int32'), {layers}])")
    federation = ground.federation(model, **SPARSE)
    words = np.random.default_rng(0).integers(0, 20, (60, 8)).astype("<i4")
    words[17, 3] = 50
    labels = (words[:, 0] % 3).astype("<i4")
    config = {"data_type": "int32", "data_reshape": "8", **INDEX}
    return Run(federation, ground.stream(federation, records_of(words, labels), config))


@case("a regression of one value, and labels of two classes, one-hot", r"label")
def regression_of_classes(ground: Ground) -> Run:
    model = source("model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])\nmodel.compile(loss='mse')")
    federation, (x, labels) = ground.federation(model), samples()
    records = records_of(x, np.eye(2, dtype="<f4")[labels % 2])
    return Run(federation, ground.stream(federation, records, RAW | {"label_reshape": "2"}))


@case("Avro records behind Confluent's five-byte header", r"header|Confluent|registry")
def confluent_header(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(**SPARSE), samples()
    schema = {"type": "record", "name": "D", "fields": FEATURES}
    header = struct.pack(">bI", 0, 7)
    records = [
        (avro(LABEL, {"label": int(label)}), header + avro(schema, {f"f{i}": float(v) for i, v in enumerate(row)}))
        for row, label in zip(x, labels, strict=True)
    ]
    config = {"data_scheme": schema, "label_scheme": LABEL, "data_reshape": "8"}
    return Run(federation, ground.stream(federation, records, config, input_format="AVRO"))


@case("NaN in every sample", r"NaN|finite")
def nan_everywhere(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(), samples()
    x[:, 2] = np.nan
    return Run(federation, ground.stream(federation, records_of(x, one_hot(labels))))


@case("JSON objects where lists of eight numbers were announced", r"JSON|object|list")
def json_of_another_shape(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(), samples()
    records = [
        (json.dumps(label).encode(), json.dumps({"values": row}).encode())
        for row, label in zip(x.tolist(), one_hot(labels).tolist(), strict=True)
    ]
    return Run(federation, ground.stream(federation, records, input_format="JSON"))


@case("an Avro `decimal` among the features", r"decimal|price", may_train=True)
def decimal_field(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(**SPARSE), samples()
    price = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
    schema = {"type": "record", "name": "D", "fields": [*FEATURES[:7], {"name": "price", "type": price}]}
    records = [
        (
            avro(LABEL, {"label": int(label)}),
            avro(schema, {**{f"f{i}": float(v) for i, v in enumerate(row[:7])}, "price": Decimal("12.34")}),
        )
        for row, label in zip(x, labels, strict=True)
    ]
    config = {"data_scheme": schema, "label_scheme": LABEL, "data_reshape": "8"}
    return Run(federation, ground.stream(federation, records, config, input_format="AVRO"))


@case("a stream addressed to the federation `nosuchid`, which is none", r"nosuchid|addressed")
def unknown_federation(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(), samples()
    return Run(federation, ground.stream(federation, records_of(x, one_hot(labels)), key=b"nosuchid"))


@case("100 offsets announced, `min_data` 90; 60 records were aborted, 38 can be read", r"\b38\b|can be read|readable")
def aborted_transactions(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(min_data=90), samples(38)
    topic = ground.write([])
    producer = Producer({"bootstrap.servers": ground.kafka, "transactional.id": topic})
    producer.init_transactions()
    aborted, kept = [(b"x", b"dropped")] * 60, records_of(x, one_hot(labels))
    for records, end in ((aborted, producer.abort_transaction), (kept, producer.commit_transaction)):
        producer.begin_transaction()
        for key, value in records:
            producer.produce(topic, value, key, partition=0)
        producer.flush()
        end()
    ground.announce(federation, topic, 100)
    return Run(federation, topic)


@case("550 records announced, in a compacted topic where three are left", r"compact|can be read|readable")
def compacted(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(), samples(550)
    settings = {
        "cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "1000",
    }  # fmt: skip
    records = records_of(x, one_hot(labels))
    topic = ground.write(records, settings)
    deadline = time.monotonic() + 90
    with ground.log() as log:
        while len(list(log.read(topic, 0, 0, 550))) > 100:
            assert time.monotonic() < deadline, "Kafka did not compact the topic"
            time.sleep(2)
            ground.write(records[-1:], topic=topic)  # a new segment: the newest is never compacted
    ground.announce(federation, topic, 550)
    return Run(federation, topic)


@case(
    "the topic was deleted and made again, with other records, before the federation opened",
    r"made again|made anew|deleted|another topic|recreated|gone",
)
def topic_made_again(ground: Ground) -> Run:
    first = ground.federation()
    x, labels = samples()
    topic = ground.stream(first, records_of(x, one_hot(labels)))
    restriction = {"for": "whoever finds it"}
    ground.announce(first, topic, 60, dataset_restrictions=restriction)
    time.sleep(3)  # the loggers have delivered both announcements
    ground.platform.ask("POST", f"deployments/{first}/stop/")
    with ground.log() as log:
        log.delete_topics([topic])
        time.sleep(2)
    ground.write(records_of(-x, one_hot(labels)), topic=topic)
    return Run(ground.federation(data_restriction=restriction), topic)


@case("300 of 550 announced records fell to retention", r"retention|readable|can be read|holds offsets|gone")
def retention(ground: Ground) -> Run:
    federation, (x, labels) = ground.federation(), samples(550)
    topic = ground.write(records_of(x, one_hot(labels)))
    with ground.log() as log:
        log.delete_records(topic, 0, 300)
    ground.announce(federation, topic, 550)
    return Run(federation, topic)


@case("a CSV file whose first row is `NA,3.1,1`, without a header", r"header|NA|line 1|row")
def csv_with_a_bad_first_row(ground: Ground) -> Run:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "patients.csv"
        path.write_text("NA,3.1,1\n" + "".join(f"{n}.5,{n}.25,{n % 2}\n" for n in range(40)))
        topic = ground.write([])
        ground.program("inject_scripts.inject_files", str(path), "--topic", topic, "--bootstrap", ground.kafka,
                       "--restriction", '{"for": "nobody"}')  # fmt: skip
    return Run("", topic)
