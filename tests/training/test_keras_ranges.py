"""What Keras' layers do with values that they do not take, and that every such sample is found before training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from federated_training.keras_ranges import Ranges, sample_dtype


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
    "behind weights": (lambda x: layers.Embedding(4, 2)(layers.Dense(5)(x)), "float32", [0, 9], [], ""),
}  # fmt: skip


@pytest.mark.parametrize(("build", "dtype", "good", "bad", "told"), MODELS.values(), ids=MODELS)
def test_samples_that_a_layer_does_not_take_are_found(
    build: Any, dtype: str, good: list[float], bad: list[float], told: str
) -> None:
    """Each bad value is found with its layer and position, no good one is."""
    inputs = keras.Input((5,), dtype=dtype)
    ranges = Ranges(keras.Model(inputs, build(inputs)))
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
