"""A small convolutional network on scikit-learn's handwritten digits: what both systems train, in either environment.

1,400 of the 1,797 images of 8 x 8 are dealt to the clients in equal parts, 397 are the test set. Training is a pure
function of (weights, version, client): plain SGD, which keeps no state, in an order drawn from a seed of the two. The
clients of a process share one network and train in turns, on one core.

`python -m benchmarks.digits_task initial FILE` writes the first model; `... score FILE...` tells the test accuracies.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from sklearn.datasets import load_digits

CLIENTS, EPOCHS, BATCH, RATE = 10, 5, 16, 0.1
TRAINING_IMAGES = 1400

Array = Any
_lock = threading.Lock()


@functools.cache
def images() -> tuple[Array, Array]:
    """(1797, 8, 8, 1) float32 in 0..1 and (1797,) int, in a fixed random order."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return (digits.images[order] / 16).astype(np.float32)[..., None], digits.target[order]


@functools.cache
def network() -> Any:
    """The process's network: two convolutions and a dense layer, 3,658 parameters, the same at every start."""
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    made.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def prepare() -> None:
    """Build and trace the network, so that no round pays for it."""
    train(network().get_weights(), 0, 0)


def train(weights: Sequence[Array], version: int, client: int) -> list[Array]:
    """The weights after EPOCHS epochs over the client's images."""
    share = TRAINING_IMAGES // CLIENTS
    x, y = (part[client * share : (client + 1) * share] for part in images())
    random = np.random.default_rng([client, version])
    with _lock:
        network().set_weights(weights)
        for _ in range(EPOCHS):
            order = random.permutation(share)
            network().fit(x[order], y[order], batch_size=BATCH, shuffle=False, verbose=0)
        return list(network().get_weights())


def accuracy(weights: Sequence[Array]) -> float:
    """On the test images."""
    x, y = (part[TRAINING_IMAGES:] for part in images())
    network().set_weights(weights)
    return float(network().evaluate(x, y, verbose=0)[1])


def read(path: str) -> list[Array]:
    """Tensors from a .npz."""
    with np.load(path) as file:
        return [file[name] for name in file.files]


def main() -> int:
    """Write the first model, or score models."""
    what, *files = sys.argv[1:]
    if what == "initial":
        np.savez(files[0], *network().get_weights())
        print(json.dumps({"parameters": network().count_params()}))
    else:
        print(json.dumps({"accuracies": [accuracy(read(path)) for path in files]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
