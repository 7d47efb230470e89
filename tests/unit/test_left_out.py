"""What a Job leaves out of a stream: counted with its true reason and place; a lost class refuses the stream."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from typing import Any

import fastavro
import numpy as np
import pytest

from federated_training.data.decoders import Decoder
from federated_training.data.stream import Stream
from mainstem.errors import ConfigError, DecodeError
from mainstem.jobs.compiling import input_of
from mainstem.jobs.spec import JobSpec
from mainstem.protocol.log import Outgoing
from tests.unit.test_training_data import spec_of, stream_of

INDEX = {"data_reshape": "1", "label_type": "int32", "label_reshape": ""}
SPARSE = "sparse_categorical_crossentropy"


def indexed(labels: Sequence[int]) -> list[Outgoing]:
    """A record for each class index; its only value is its number."""
    return [Outgoing(np.float32(n).tobytes(), key=np.int32(label).tobytes()) for n, label in enumerate(labels)]


def spec_in(fmt: str, config: dict[str, Any]) -> JobSpec:
    """A Job's spec for a stream of another format."""
    return dataclasses.replace(spec_of(), input_format=fmt, input_config=json.dumps(config))


def opened(
    records: list[Outgoing], loss: Any, output: tuple[int, ...], config: dict[str, Any], **more: Any
) -> tuple[Stream, Any]:
    """The stream of these records, read for a model with this loss and output; and its labels."""
    spec = spec_of(config=config)
    stream = Stream(stream_of(records), spec, Decoder(spec, input_of((1,), "float32", output, loss), **more))
    return stream, stream.open(patience=0.0)[1]


@pytest.mark.parametrize("loss", [SPARSE, "categorical_crossentropy"])
def test_labels_from_1_to_k_refuse_the_stream_with_the_fix(loss: str) -> None:
    """The last class would be lost; label_subtract keeps it."""
    records = indexed([1 + n % 10 for n in range(550)])
    with pytest.raises(ConfigError) as caught:
        opened(records, loss, (10,), INDEX)
    assert str(caught.value) == (
        "DATA_TOPIC: labels run from 1 to 10, but the model's classes are 0 to 9, so that every record of class 10 "
        'would be left out (55 of 550, the first: stream:0 offset 9); subtract 1 with "label_subtract": 1 in '
        "INPUT_CONFIG (inject_files.py --label-subtract 1 writes them so)"
    )
    stream, y = opened(records, loss, (10,), INDEX | {"label_subtract": 1})
    assert stream.left_out.count == 0 and len(y) == 550
    assert (y if loss == SPARSE else y.argmax(axis=1))[:10].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("labels", "loss", "output", "config", "told"),
    [
        ([0, 1, 2, 3, 4] * 20, SPARSE, (3,), {}, "labels run from 0 to 4, but the model's classes are 0 to 2"),
        ([0, 1, 2, 3, 4] * 20, SPARSE, (3,), {}, "train a model of 5 classes"),
        ([-1, 1] * 20, "binary_crossentropy", (1,), {}, "send 0 instead of -1"),
        ([1, 2] * 20, "binary_crossentropy", (1,), {}, 'subtract 1 with "label_subtract": 1'),
        ([5, 6, 7] * 9, SPARSE, (3,), {}, 'subtract 5 with "label_subtract": 5'),
        ([1, 2, 3] * 9, SPARSE, (2,), {"label_subtract": 1}, "the model's classes are 1 to 2"),
    ],
)
def test_a_lost_class_says_how_to_keep_it(
    labels: list[int], loss: str, output: tuple[int, ...], config: dict[str, Any], told: str
) -> None:
    """Too many classes, -1 and 1, 1 and 2, any other first class."""
    with pytest.raises(ConfigError, match="labels run from") as caught:
        opened(indexed(labels), loss, output, INDEX | config)
    assert told in str(caught.value)


def test_a_stray_label_is_counted_and_left_out() -> None:
    """One label of 550 is a slip, not a class."""
    stream, y = opened(indexed([n % 3 for n in range(550)] + [77]), SPARSE, (3,), INDEX)
    assert len(y) == 550 and stream.left_out.sentence(stream.records) == (
        "1 of 551 records are left out: 1 because the label is 77; the model's classes are 0 to 2 "
        "(the first: stream:0 offset 550)"
    )


@pytest.mark.parametrize(
    ("loss", "output", "good", "bad", "told"),
    [
        ("binary_crossentropy", (1,), [0, 0.3, 1], [2, -0.5], "the loss takes 0 to 1"),
        ("kl_divergence", (1,), [0, 1], [3], "the loss takes 0 to 1"),
        ("poisson", (1,), [0, 70.5], [-1], "the loss takes 0 up"),
        ("msle", (1,), [0, 70.5], [-1], "the loss takes 0 up"),
        ({"class_name": "MeanSquaredLogarithmicError", "config": {}}, (1,), [0], [-1], "the loss takes 0 up"),
        ("mse", (1,), [-7.5, 1e9], [], ""),
        ("hinge", (1,), [-1, 1], [], ""),
        (SPARSE, (3,), [0, 2], [3, 1.5, -1], "the model's classes are 0 to 2"),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"ignore_class": 255}},
            (3,),
            [0, 2, 255],
            [3],
            "0 to 2",
        ),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"ignore_class": -1}},
            (3,),
            [0, -1],
            [255],
            "0 to 2",
        ),
    ],
)
def test_labels_outside_a_loss_s_range_are_left_out(
    loss: Any, output: tuple[int, ...], good: list[float], bad: list[float], told: str
) -> None:
    """Keras would cut them off, or count them for nothing; soft labels and ignored classes stay."""
    spec = spec_of(config={"data_reshape": "1", "label_reshape": ""})
    decoder = Decoder(spec, input_of((1,), "float32", output, loss))
    records = [(np.float32(label).tobytes(), np.float32(0).tobytes()) for label in [*good, *bad]]
    _, y, refused = decoder.decode(records)
    assert np.allclose(y.reshape(-1), good) and [refusal.position for refusal in refused] == [
        *range(len(good), len(records))
    ]
    assert all(told in refusal.reason for refusal in refused)


def test_labels_of_each_place_are_judged_one_by_one() -> None:
    """A segmentation's classes, and one-hot rows that name no class."""
    places = Decoder(
        spec_of(config={"data_reshape": "1", "label_type": "uint8", "label_reshape": "2"}),
        input_of((1,), "float32", (2, 3), SPARSE),
    )
    _, y, refused = places.decode([(bytes(label), bytes(4)) for label in ([0, 2], [1, 3])])
    assert (
        y.tolist() == [[0, 2]] and refused[0].reason == "the label is 3 at position 1; the model's classes are 0 to 2"
    )
    one_hot = Decoder(spec_of(config={"data_reshape": "1"}), input_of((1,), "float32", (3,), SPARSE))
    keys = [np.array(row, "<f4").tobytes() for row in ([0, 0, 1], [0, 0, 0], [0, 2, 0])]
    _, y, refused = one_hot.decode([(key, bytes(4)) for key in keys])
    assert (
        y.tolist() == [2]
        and "0 for each of the 3 classes" in refused[0].reason
        and "is 2 at position 1" in refused[1].reason
    )


STEPS = [[0, 2, 1, 1, 0], [2, 2, 2, 0, 1]]


@pytest.mark.parametrize("loss", [SPARSE, "categorical_crossentropy"])
@pytest.mark.parametrize("hot", [False, True])
def test_each_step_has_its_label(loss: str, *, hot: bool) -> None:
    """Class numbers or one-hot rows for each of five steps; those of no class are left out with their step."""
    labels: Any = np.eye(3, dtype="f4")[STEPS] if hot else np.array(STEPS, "f4")
    config = {"data_reshape": "1", "label_reshape": "5 3" if hot else "5"}
    decoder = Decoder(spec_of(config=config), input_of((1,), "float32", (5, 3), loss))
    bad = labels[0].copy()
    bad[3] = 0 if hot else 3
    _, y, refused = decoder.decode([(label.tobytes(), bytes(4)) for label in (*labels, bad)])
    assert y.tolist() == (STEPS if loss == SPARSE else np.eye(3)[STEPS].tolist())
    assert y.dtype == (np.int32 if loss == SPARSE else np.float32)
    (refusal,) = refused
    assert (
        "0 for each of the 3" if hot else "the label is 3 at position 3; the model's classes are 0 to 2"
    ) in refusal.reason


def test_labels_of_a_single_output_may_be_one_hot() -> None:
    """Two values name one of two classes; nothing is subtracted from them."""
    config: dict[str, Any] = {"data_reshape": "1", "label_reshape": "2"}
    keys = [np.array(label, "f4").tobytes() for label in ([1, 0], [0, 1])]
    decoder = Decoder(spec_of(config=config), input_of((1,), "float32", (1,), "bce"))
    _, y, refused = decoder.decode([(key, bytes(4)) for key in keys])
    assert y.tolist() == [[0], [1]] and refused == []
    with pytest.raises(ConfigError, match="label_subtract is for class numbers"):
        Decoder(spec_of(config=config | {"label_subtract": 1}), input_of((1,), "float32", (1,), "bce"))


def test_a_class_that_a_layer_does_not_take_refuses_the_stream() -> None:
    """Samples that a layer refuses are counted with its name; a class of them alone is lost."""

    def unfit(x: Any) -> list[tuple[int, str]]:
        return [(n, f"layer 'ids' gets {v:g}") for n, v in enumerate(x[:, 0].tolist()) if v >= 100]

    labels = [n % 2 for n in range(100)]
    stream, y = opened(indexed([*labels, 0, 1]), SPARSE, (3,), INDEX, unfit=unfit)
    assert len(y) == 100 and stream.left_out.sentence(102) == (
        "2 of 102 records are left out: 2 because layer 'ids' gets 100 (the first: stream:0 offset 100)"
    )
    with pytest.raises(
        ConfigError, match=r"every record of class 2 would be left out \(5 of 105, .*: layer 'ids' gets"
    ):
        opened(indexed([*labels, 2, 2, 2, 2, 2]), SPARSE, (3,), INDEX, unfit=unfit)


# ------------------------------------------------------------ the true reason
@pytest.mark.parametrize(
    ("fmt", "value", "told"),
    [
        ("RAW", b"\0\0\0\0\x2a" + bytes(16), "begins with the header of a Confluent schema registry (schema 42)"),
        ("RAW", bytes(3), "the record's value has 3 bytes, but data_reshape '4' of float32 needs 16"),
        ("RAW", np.full(4, np.nan, "<f4").tobytes(), "the data is nan at position 0; it must be finite"),
        ("JSON", b'{"pixels": [1, 2, 3, 4]}', "the record's value is an object; add data_scheme"),
        ("JSON", b"[1, 2, 3]", "the record's value has 3 values, but data_reshape '4' needs 4"),
        ("JSON", b"[1, 2, 3, NaN]", "NaN and Infinity are no JSON"),
        ("RAW", None, "the record has no value (a tombstone)"),
    ],
)
def test_a_stream_of_which_nothing_can_be_read_says_why(fmt: str, value: bytes | None, told: str) -> None:
    """The first record's own reason and place, never a missing key that is there."""
    config = {"data_type": "float32", "data_reshape": "4", "label_type": "int32"}
    spec = spec_in(fmt, config)
    key = np.int32(1).tobytes() if fmt == "RAW" else b"1"
    log = stream_of([Outgoing(value, key=key)] * 3)
    decoder = Decoder(spec, input_of((4,), "float32", (3,), SPARSE))
    with pytest.raises(DecodeError) as caught:
        Stream(log, spec, decoder).open(patience=0.0)
    assert (
        told in str(caught.value) and "(stream:0 offset 0)" in str(caught.value) and "no key" not in str(caught.value)
    )


def test_missing_keys_are_still_told() -> None:
    """Where the label really is not there."""
    with pytest.raises(DecodeError, match="the record has no key; its label belongs there"):
        opened([Outgoing(np.float32(1).tobytes())], SPARSE, (3,), INDEX)


def test_nulls_are_counted_by_field() -> None:
    """Each nullable field has its own count and first record."""
    fields = [{"name": name, "type": ["null", "double"]} for name in ("age", "t4", "t5")]
    schema = {"type": "record", "name": "row", "fields": fields}

    def row(**values: float | None) -> Outgoing:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, {"age": 1.0, "t4": 1.0, "t5": 1.0} | values)
        return Outgoing(buffer.getvalue(), key=b"\2")

    spec = spec_in("AVRO", {"data_scheme": schema, "label_scheme": "int"})
    records = [row(), row(t5=None), row(age=None), row(t4=None), row(age=None), row(t5=None), row(age=None)]
    decoder = Decoder(spec, input_of((3,), "float32", (3,), SPARSE))
    stream = Stream(stream_of(records), spec, decoder)
    stream.open(patience=0.0)
    told = "{} because the record's value field '{}' is null; a sample needs a number there (the first: stream:0 {})"
    counts = [
        told.format(*kind).replace("stream:0 ", "stream:0 offset ")
        for kind in ((3, "age", 2), (2, "t5", 1), (1, "t4", 3))
    ]
    assert stream.left_out.sentence(7) == f"6 of 7 records are left out: {'; '.join(counts)}"


def test_numbers_that_change_on_their_way_are_left_out() -> None:
    """int64 labels of a regression and int64 data in a float32 model: exact, or refused."""
    config = {"data_type": "int64", "data_reshape": "1", "label_type": "int64", "label_reshape": ""}
    decoder = Decoder(spec_of(config=config), input_of((1,), "float32", (1,), "mse"))
    big = (1 << 24) + 1
    records = [(np.int64(a).tobytes(), np.int64(b).tobytes()) for a, b in ((1, 2), (big, 2), (1, big), (1 << 24, 2))]
    x, y, refused = decoder.decode(records)
    assert x.tolist() == [[2], [2]] and y.tolist() == [[1], [1 << 24]]
    assert [refusal.reason.split(",")[0] for refusal in refused] == [f"the label is {big}", f"the data is {big}"]
