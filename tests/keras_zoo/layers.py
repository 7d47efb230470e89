"""Tries every layer of Keras: does a model with it survive being sent as data, does it train, and does it repeat?"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import operator
from pathlib import Path
from typing import Any

import numpy as np

from federated_training.engines.keras.architecture_parts import REFUSED
from tests.keras_zoo.layer_cases import CASES

SEED = 7


def exported() -> dict[str, set[str]]:
    """Keras' layer classes by the name that a config has for them, with their other names."""
    _start()
    import keras

    names: dict[Any, set[str]] = {}
    for name, value in vars(keras.layers).items():
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer):
            names.setdefault(value, set()).add(name)
    found: dict[str, set[str]] = {}
    for others in names.values():
        known = sorted(others & (set(CASES) | set(REFUSED))) or sorted(others)
        found[known[0]] = others - {known[0]}
    return found


@functools.cache
def outcome(name: str) -> str:
    """What comes of the layer's cases: "" when they train and prove, else the sentence that refuses it, or a case."""
    _start()
    if name in REFUSED:
        return _refused(name)
    shape, cases = CASES[name]
    return next(filter(None, (_tried(text, shape, graph=case == 0) for case, text in enumerate(cases))), "")


@functools.cache
def _start() -> None:
    from federated_training.engines.keras import runtime

    runtime.prepare(Path("/nonexistent"))
    import keras  # noqa: F401

    # TensorFlow's million objects stay: looking at them at each clear_session takes a second.
    gc.collect()
    gc.freeze()


def _refused(name: str) -> str:
    from federated_training.engines.keras import architecture
    from federated_training.problems import FieldError

    layer: dict[str, Any] = {"class_name": name, "module": "keras.layers", "config": {}, "registered_name": None}
    try:
        architecture.parse(json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}))
    except FieldError as error:
        return error.message
    raise AssertionError(f"{name} is not refused")


def _tried(text: str, shape: tuple[int, ...], *, graph: bool) -> str:
    """Build, send, rebuild, train twice from the same weights, save and load; raises AssertionError where one differs.

    `graph` compiles the training step, as a Job does; without it the step runs as Python, which is quicker to begin.
    """
    import keras

    from federated_training.engines.keras import models, state, training
    from federated_training.problems import FieldError

    keras.backend.clear_session()  # names count from the beginning, whatever ran before
    keras.utils.set_random_seed(SEED)
    try:
        original = _model(text, shape)
    except Exception as error:
        raise AssertionError(f"{text}: Keras itself does not make it: {error}") from error
    x = np.random.default_rng(1).integers(0, 9, (4, *shape)).astype("float32")
    try:
        model = models.build(original.to_json(), seed=SEED + 1)
        models.set_weights(model, models.weights_of(original))
        models.try_out(model)
    except FieldError as error:
        return error.message
    assert np.array_equal(original(x, training=False), model(x, training=False)), f"{text}: another model when rebuilt"

    start = models.weights_of(model)
    training.compile_model(model, {"optimizer": "sgd", "loss": "mean_squared_error"})
    model.run_eagerly = not graph
    trained = []
    for seed in (1, 2, 1):
        state.assign(model, start)
        state.seed(model, seed, functools.partial(operator.add, 10 * seed))
        model.train_on_batch(x, np.ones((4, 2), "float32"))
        trained.append(models.weights_of(model))
    assert all(map(np.array_equal, trained[0], trained[2])), f"{text}: the same seed trains another model"
    assert not all(map(np.array_equal, start, trained[0])), f"{text}: training changes nothing"
    return ""


def _model(text: str, shape: tuple[int, ...]) -> Any:
    import keras

    def adapted(layer: Any) -> Any:
        layer.adapt(np.random.default_rng(3).normal(3, 2, (20, shape[-1])).astype("float32"))
        return layer

    x = keras.Input(shape)
    names = {**vars(keras.layers), "x": x, "adapted": adapted}
    if "y" in text:
        names["y"] = keras.layers.Rescaling(0.5)(x)
    if "whole" in text:
        names["whole"] = keras.ops.cast(x, "int32")
    return keras.Model(x, keras.layers.Dense(2)(keras.layers.Flatten()(eval(text, names))))


def section() -> str:
    """The tables of layers for the page, as Markdown; tries whatever was not tried yet."""
    _start()
    import keras

    outcomes = {name: outcome(name) for name in sorted(exported())}
    others = exported()
    lines = [f"Made with Keras {keras.__version__}.", "", "| layer | trains and proves as |", "| --- | --- |"]
    for name in (name for name, refusal in outcomes.items() if not refusal):
        also = f" (also {', '.join(f'`{other}`' for other in sorted(others[name]))})" if others[name] else ""
        lines.append(f"| `{name}`{also} | {', '.join(f'`{text}`' for text in dict.fromkeys(CASES[name][1]))} |")
    lines += ["", "| layer | is refused |", "| --- | --- |"]
    lines += [f"| `{name}` | {refusal} |" for name, refusal in outcomes.items() if refusal]
    return "\n".join(lines) + "\n"
