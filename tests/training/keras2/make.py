"""Makes the files here with TensorFlow's own Keras: `pip install tensorflow-cpu==2.15.1` (or 2.13.1) and run this."""

from __future__ import annotations

import os
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np

L: Any = keras.layers
VERSION = keras.__version__.rpartition(".")[0]
INPUTS = np.random.default_rng(1).normal(size=(3, 5, 3)).astype("float32")


def branches() -> Any:
    """A functional model with an adapted layer, an inner model that is called twice, attention and recurrence."""
    adapted = L.Normalization()
    adapted.adapt(INPUTS)
    x = L.Input((5, 3))
    y = adapted(x)
    inner = keras.Sequential([L.Input((5, 3)), L.Dense(3, activation="relu", kernel_regularizer="l2")])
    y = L.Add()([inner(y), inner(x)])
    y = L.BatchNormalization()(L.MultiHeadAttention(2, 3)(y, value=y))
    y = L.Bidirectional(L.LSTM(2, return_sequences=True))(y)
    model = keras.Model(x, L.Dense(2, activation="softmax")(L.Flatten()(L.GRU(3, return_sequences=True)(y))))
    model.compile("sgd", "categorical_crossentropy")
    model.fit(INPUTS, np.eye(2)[[0, 1, 1]], verbose=0)
    return model


def stack() -> Any:
    """A Sequential model whose first layer was told the shape."""
    layers = [L.Conv1D(2, 2, input_shape=(5, 3)), L.SeparableConv1D(3, 2), L.LeakyReLU(0.1), L.Flatten(), L.Dense(2)]
    return keras.Sequential(layers)


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    outputs: dict[str, Any] = {}
    for name, make in (("branches", branches), ("branches-h5", branches), ("stack", stack)):
        made = make()
        outputs[name] = np.asarray(made(INPUTS))
        made.save(f"keras-{VERSION}-{name}.{'h5' if name.endswith('h5') else 'keras'}")
    np.savez(f"keras-{VERSION}.npz", inputs=INPUTS, **outputs)
