"""The workshop's operations, one function each; they run confined. Importing this starts TensorFlow."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np

from federated_training.engines.keras import architecture, models, settings, templates
from federated_training.engines.keras import training as keras_training
from federated_training.engines.keras.ranges import ValueRanges
from federated_training.problems import FieldError, cause
from federated_training.workshop import files
from mainstem.protocol.messages import InputSpec

Request = Mapping[str, Any]
Answer = dict[str, Any]


def answer(request: Request, directory: Path, max_params: int) -> Answer:
    """Do one request and say what came of it; raises FieldError."""
    operation = _OPERATIONS.get(str(request.get("op")))
    if operation is None:
        raise FieldError("op", f"{str(request.get('op'))[:40]!r} is no operation; there are {', '.join(_OPERATIONS)}.")
    try:
        return operation(request, directory, max_params)
    except FieldError:
        raise
    except (MemoryError, OSError) as error:
        raise FieldError("model", f"The machine refused: {cause(error)}.") from error
    except Exception as error:  # what was uploaded is anybody's; a mistake of ours shows in the log
        traceback.print_exc()
        raise FieldError("model", f"The workshop cannot read this: {type(error).__name__}: {cause(error)}.") from error


_held: dict[str, Any] = {}
"""The model that predicted last, by its architecture and weights: most questions are to it again."""


def _fresh() -> None:
    _held.clear()
    keras.backend.clear_session()


def _build(request: Request, directory: Path, max_params: int) -> Answer:
    seed = request.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise FieldError("seed", "seed must be a whole number from 0 up to 4294967295.")
    makers: dict[str, Callable[[], tuple[Any, Any]]] = {
        "template": lambda: (_from_template(request, max_params, seed), None),
        "json": lambda: _from_json(request, max_params, seed),
        "keras": lambda: _from_file(request, directory, max_params),
        "source": lambda: _from_source(request, max_params),
    }
    maker = makers.get(str(request.get("kind")))
    if maker is None:
        raise FieldError("kind", f"kind must be one of {', '.join(makers)}.")
    _fresh()
    model, compiled = maker()
    models.try_out(model)
    arrays = models.weights_of(model)
    for tensor, array in zip(models.tensors_of(model), arrays, strict=True):
        if array.dtype.kind in "fV" and not np.isfinite(array.astype("float64")).all():
            raise FieldError("weights", f"The initial weights {tensor['name']} hold NaN or infinity.")
    files.save_arrays(directory / "weights.npz", arrays)
    return {**models.describe(model), "weights": "weights.npz", "compile": compiled}


def _from_template(request: Request, max_params: int, seed: int) -> Any:
    template = request.get("template")
    if not isinstance(template, dict):
        raise FieldError("template", "template must be an object with name and params.")
    # Without values first: its size is checked before anything is allocated.
    with keras.StatelessScope(initialize_variables=False):
        text = templates.make(template.get("name"), template.get("params") or {}).to_json()
    return models.build(text, max_params=max_params, seed=seed, field="template.params")


def _from_json(request: Request, max_params: int, seed: int) -> tuple[Any, Any]:
    text = _text(request, "config")
    return models.build(text, max_params=max_params, seed=seed), settings.of_config(architecture.compile_config(text))


def _from_file(request: Request, directory: Path, max_params: int) -> tuple[Any, Any]:
    model, config = files.open_saved(_file(request, directory, "file"), max_params)
    return model, settings.of_config(config)


def _from_source(request: Request, max_params: int) -> tuple[Any, Any]:
    """The model that a run of the source left, which is as untrusted as the source."""
    found = request["found"]
    model = models.build(found["architecture"], max_params=max_params, field="source.code")
    _load(model, Path(found["weights"]), "source.code")
    return model, settings.checked(found["compile"])


def _load(model: Any, path: Path, field: str = "weights") -> None:
    limit = sum(array.nbytes for array in models.weights_of(model))
    models.set_weights(model, files.load_arrays(path, len(model.weights), limit, field), field)


def _model(request: Request, directory: Path, max_params: int) -> Any:
    _fresh()
    model = models.build(_text(request, "architecture"), max_params=max_params, field="architecture")
    if "weights" in request:
        _load(model, _file(request, directory, "weights"))
    return model


def _check_training(request: Request, directory: Path, max_params: int) -> Answer:
    training = request.get("training")
    if not isinstance(training, dict):
        raise FieldError("training", "training must be an object with optimizer, loss, metrics and learning_rate.")
    try:
        wanted = msgspec.convert(request.get("input"), InputSpec)
    except msgspec.ValidationError as error:
        raise FieldError("input", f"input must say what the model takes, and its labels: {error}.") from error
    try:
        keras_training.check(_model(request, directory, max_params), training, wanted)
    except FieldError as error:
        prefix = "" if error.field.startswith("architecture") else "training."
        raise FieldError(prefix + error.field, error.message) from error
    return {}


def _export(request: Request, directory: Path, max_params: int) -> Answer:
    out = _file(request, directory, "out")
    if out.suffix != ".keras":
        raise FieldError("out", "out must be a file name that ends in .keras.")
    files.write_keras(_model(request, directory, max_params), out)
    return {"out": out.name, "bytes": out.stat().st_size}


def _predict(request: Request, directory: Path, max_params: int) -> Answer:
    weights = hashlib.sha256(_file(request, directory, "weights").read_bytes()) if "weights" in request else None
    key = f"{weights and weights.hexdigest()} {max_params} {_text(request, 'architecture')}"
    if key not in _held:
        _held[key] = _model(request, directory, max_params)
    model = _held[key]
    tensor = model.inputs[0]
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    inputs = files.load_inputs(_file(request, directory, "inputs"), tensor.shape[1:], dtype)
    outputs = np.zeros((0, *model.outputs[0].shape[1:]), keras.backend.standardize_dtype(model.outputs[0].dtype))
    for number, reason in ValueRanges(model).judge(inputs):
        raise FieldError("inputs", f"Sample {number}: {reason}.")
    if len(inputs):
        # Keras' predict makes float32 of float64 before the model sees it; a batch is taken as it is.
        batches = [inputs[start : start + 32] for start in range(0, len(inputs), 32)]
        outputs = np.concatenate([np.asarray(model.predict_on_batch(batch)) for batch in batches])
    np.save(_file(request, directory, "out"), outputs, allow_pickle=False)
    return {"out": request["out"], "shape": list(outputs.shape), "dtype": outputs.dtype.name}


def _text(request: Request, name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str):
        raise FieldError(name, f"{name} must be a model's config as JSON text.")
    return value


def _file(request: Request, directory: Path, name: str) -> Path:
    return files.inside(directory, request.get(name), name)


_OPERATIONS: dict[str, Callable[[Request, Path, int], Answer]] = {
    "build": _build,
    "check_training": _check_training,
    "export": _export,
    "predict": _predict,
}
