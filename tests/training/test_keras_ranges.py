"""What Keras' layers do with values that they do not take, and that every such sample is found before training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from federated_training.data.decoders import Decoder
from federated_training.data.stream import Stream
from federated_training.engines.engine import TrainingError
from federated_training.engines.keras import models
from federated_training.engines.keras.engine import KafkaModelEngine
from federated_training.engines.keras.ranges import ValueRanges, sample_dtype
from federated_training.problems import FieldError
from federated_training.serving.model import Predictor
from federated_training.serving.version import VersionManifest, tensors_of
from federated_training.workshop.ops import answer
from mainstem.errors import ConfigError
from mainstem.jobs.compiling import input_of
from mainstem.protocol import updates
from mainstem.protocol.changes import Way
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import Data, Opened, Rules, StrategyChoice, Topics, Training
from mainstem.protocol.topics import TopicSpec, stream_spec
from mainstem.protocol.weights import specs_of
from mainstem.runtime.clock import SystemClock
from mainstem.testing.memory_log import MemoryLog
from tests.unit.test_training_data import spec_of

pytestmark = pytest.mark.training


def embedding(x: Any) -> Any:
    """Ids of four rows."""
    return layers.Embedding(4, 2, name="ids")(x)


def nested(x: Any) -> Any:
    """An embedding in a model in a model, behind a shift that Keras computes."""
    inner = keras.Sequential([keras.Input((5,)), layers.Embedding(4, 2, name="ids")], name="inner")
    return inner(x - 1)


def steps(x: Any) -> Any:
    """An embedding at each of five steps."""
    return layers.TimeDistributed(layers.Embedding(4, 2), name="steps")(layers.Reshape((5, 1))(x))


def image(layer: Any) -> Any:
    """The layer behind a reshape to an image."""
    return lambda x: layer(layers.Reshape((1, 5, 1))(x))


IDS = "takes whole numbers 0 to 3, but gets"
MODELS: dict[str, tuple[Any, str, list[float], list[float], str]] = {
    "embedding": (embedding, "float32", [0, 3], [4, -1, 2.7], f"layer 'ids' (Embedding) {IDS}"),
    "int embedding": (embedding, "int32", [0, 3], [4, -1], "layer 'ids' (Embedding)"),
    "reversible": (layers.ReversibleEmbedding(4, 2), "int32", [0, 3], [4, -1], "its input_dim is 4"),
    "time distributed": (steps, "int32", [0, 3], [4], "layer 'steps' (Embedding)"),
    "nested": (nested, "float32", [1, 4], [0, 5], "layer 'inner/ids' (Embedding)"),
    "categories": (layers.CategoryEncoding(4, output_mode="one_hot"), "int32", [0, 3], [4, -1], "its num_tokens is 4"),
    "many categories": (layers.CategoryEncoding(4), "int32", [0, 3], [4, -1], IDS),
    "one_hot": (lambda x: keras.ops.one_hot(x, 4), "int32", [0, 3], [4, -1], f"(OneHot) {IDS}"),
    "brightness": (
        image(layers.RandomBrightness(0.1, value_range=(0, 1))), "float32", [0, 0.5, 1], [1.5, -0.1], "takes 0 to 1,",
    ),
    "contrast": (image(layers.RandomContrast(0.1, value_range=(0, 1))), "float32", [0, 1], [255], "it cuts off"),
    "dense": (layers.Dense(2), "int64", [0, 1 << 24], [(1 << 24) + 1], "float32 rounds whole numbers"),
    "dense of floats": (layers.Dense(2), "float32", [-1e9, 0.1], [], ""),
    "discretization": (layers.Discretization([0.0, 1.0]), "float32", [-1e9, 1e9], [], ""),
    "hashing": (layers.Hashing(8), "float32", [-7, 1e6], [2.7], "takes whole numbers alone, but gets 2.7"),
    "hashing to one place each": (layers.Hashing(8, output_mode="one_hot"), "int32", [-7, 1 << 30], [], ""),
    "pipeline": (
        image(layers.Pipeline([layers.RandomFlip(), layers.RandomBrightness(0.1, value_range=(0, 1))])),
        "float32", [0, 1], [255], "(Pipeline) takes 0 to 1,",
    ),
    "behind weights": (lambda x: layers.Embedding(4, 2)(layers.Dense(5)(x)), "float32", [0, 9], [], ""),
}  # fmt: skip


@pytest.mark.parametrize(("build", "dtype", "good", "bad", "told"), MODELS.values(), ids=MODELS)
def test_samples_that_a_layer_does_not_take_are_found(
    build: Any, dtype: str, good: list[float], bad: list[float], told: str
) -> None:
    """Each bad value is found with its layer and position, no good one is."""
    inputs = keras.Input((5,), dtype=dtype)
    ranges = ValueRanges(keras.Model(inputs, build(inputs)))
    values = [*good, *bad]
    x = np.full((len(values), 5), good[-1], dtype)
    x[:, 3] = values
    found = ranges.judge(x)
    assert [number for number, _ in found] == list(range(len(good), len(values)))
    for (_, reason), value in zip(found, bad, strict=True):
        assert (
            told in reason
            and "position 3" in reason
            and (f"{np.asarray(value, dtype):.15g}" in reason or "inner" in reason)
        )
    assert ranges.judge(x[:0]) == []


def test_layers_that_compute_in_float32_make_the_samples_float32() -> None:
    """Keras casts a float64 input by itself: what the model sees is what is checked."""
    for dtype, policy, seen in (
        ("float64", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("int64", None, "int64"),
    ):
        model = keras.Sequential([keras.Input((3,), dtype=dtype), layers.Dense(1, dtype=policy)])
        assert sample_dtype(model) == seen


@pytest.fixture(scope="module")
def opened() -> tuple[MemoryLog, Opened]:
    """A federation whose model has an embedding of a hundred ids."""
    log = MemoryLog(SystemClock())
    log.create_topics([TopicSpec("data", 1, {}), stream_spec("stream")])
    stack = [keras.Input((3,)), layers.Embedding(100, 4, name="ids"), layers.Flatten(), layers.Dense(2)]
    model = models.build(keras.Sequential(stack).to_json(), seed=7)
    tensors = models.weights_of(model)
    specs = specs_of(zip([one["name"] for one in models.tensors_of(model)], tensors, strict=True))
    start = updates.publish(log, "data", writer="w", update="v0", specs=specs, tensors=tensors)
    return log, Opened(
        federation="abcdefgh", seq=0, prev="", name="t", framework="tf",
        architecture=models.describe(model)["architecture"],
        input=input_of((3,), "float32", (2,), "sparse_categorical_crossentropy"),
        training=Training(loss="sparse_categorical_crossentropy"), strategy=StrategyChoice(), rules=Rules(),
        data=Data(),
        topics=Topics(control="c", data="data", aggregator="a"), weights=start, tensors=specs,
    )  # fmt: skip


def test_a_job_leaves_out_what_its_layers_do_not_take(opened: tuple[MemoryLog, Opened]) -> None:
    """The stream's records are judged before training, by the engine's model, and named with layer and offset."""
    log, run = opened
    ids = [[1, 2, 3], [1, 120, 3], [99, 0, 0], [4, 5, -1]]
    records = [Outgoing(np.array(row, "<i4").tobytes(), key=bytes([n % 2])) for n, row in enumerate(ids)]
    log.append("stream", records)
    config = {"data_type": "int32", "data_reshape": "3", "label_type": "uint8"}
    spec = dataclasses.replace(spec_of(), input_config=json.dumps(config))
    engine = KafkaModelEngine(run)
    decoder = Decoder(spec, run.input, sample_dtype=engine.sample_dtype, unfit=engine.unfit)
    with pytest.raises(ConfigError, match=r"every record of class 1 would be left out \(2 of 4, .*'ids' \(Embedding\)"):
        Stream(log, spec, decoder).open()
    log.append("stream", [Outgoing(np.array([7, 8, 9], "<i4").tobytes(), key=b"\1")])
    stream = Stream(log, spec, decoder)
    assert stream.open()[0].tolist() == [[1, 2, 3], [99, 0, 0], [7, 8, 9]]
    assert stream.left_out.sentence(5) == (
        "2 of 5 records are left out: 2 because layer 'ids' (Embedding) takes whole numbers 0 to 99, but gets 120 at "
        "position 1; its input_dim is 100 (the first: stream:0 offset 1)"
    )


def test_questions_outside_a_layer_s_range_are_answered_so(opened: tuple[MemoryLog, Opened], tmp_path: Path) -> None:
    """An inference and REST's predict name the layer too, where Keras would answer for another id."""
    log, run = opened
    model = Predictor(run, tensors_of(log, VersionManifest(run, Way(run.weights))))
    assert model.predict(np.zeros((2, 3), "float32")).shape == (2, 2)
    with pytest.raises(TrainingError, match=r"does not take this sample: layer 'ids' \(Embedding\) .* but gets -1"):
        model.predict(np.array([[0, 0, -1]], "float32"))
    np.save(tmp_path / "x.npy", np.array([[0, 0, 0], [0, 0, 100]], "float32"))
    asked = {"op": "predict", "architecture": run.architecture, "inputs": "x.npy", "out": "y.npy"}
    with pytest.raises(FieldError, match=r"Sample 1: layer 'ids' .* but gets 100 at position 2"):
        answer(asked, tmp_path, 1000)
