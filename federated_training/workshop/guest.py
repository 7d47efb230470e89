"""Runs a person's model source, confined, and leaves the model as data. Started by `workshop.child` only.

Works in its current directory: reads `request.json`, writes `answer.json` and `weights.npz`. Whatever is in
those files afterwards was perhaps written by the source itself: the parent takes them as untrusted data.
"""

from __future__ import annotations

import importlib
import json
import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from federated_training.problems import cause

_FIELDS = {"<source.imports>": "source.imports", "<source.code>": "source.code"}
_AT_HAND = {"tf": "tensorflow", "keras": "keras", "np": "numpy"}
"""What source may use without importing it, as the models of Kafka-ML do."""


def main() -> None:
    """Run the source."""
    home = Path.cwd()  # the source may go elsewhere
    request = json.loads((home / "request.json").read_text("utf-8"))
    (home / "answer.json").write_text(json.dumps(_run(request, home)), "utf-8")
    # TensorFlow's own ending takes long and proves nothing.
    os._exit(0)


def _run(request: dict[str, Any], home: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        programs = [
            compile(request[part], f"<source.{part}>", "exec", dont_inherit=True) for part in ("imports", "code")
        ]
        used = {name for program in programs for name in _names(program)}
        if used & {"keras", "tensorflow", "tf"}:
            _seed(request["seed"])
        names |= {name: importlib.import_module(module) for name, module in _AT_HAND.items() if name in used}
        for program in programs:
            exec(program, names)  # noqa: S102 - what this process is for, and confined for
        model = _model(names)
        answer = {"ok": True, "architecture": model.to_json(), "compile": _settings(model)}
        import keras
        import numpy as np

        arrays = {
            f"t{index:04d}": np.array(keras.ops.convert_to_numpy(weight)) for index, weight in enumerate(model.weights)
        }
        with (home / "weights.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        return answer
    except BaseException as error:  # the source's own, of any kind
        return {"ok": False, "error": _explain(error)}


def _names(program: types.CodeType) -> Iterator[str]:
    """The names that a program and its functions look up or import, parts of dotted ones each by themselves."""
    for name in program.co_names:
        yield from name.split(".")
    for constant in program.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _seed(seed: int) -> None:
    import keras

    keras.utils.set_random_seed(seed)


def _model(names: dict[str, Any]) -> Any:
    import keras

    model = names.get("model")
    if model is None:
        models = [value for value in names.values() if isinstance(value, keras.Model)]
        model = models[0] if len(models) == 1 else None
    if not isinstance(model, keras.Model):
        raise _NoModel("The source must leave a Keras model in a variable named `model`.")
    if not model.built or not getattr(model, "inputs", None):
        raise _NoModel("The model has no input shape; add keras.Input(shape=...) as its first layer.")
    return model


def _settings(model: Any) -> Any:
    from federated_training.engines.keras import settings

    return settings.of_model(model)


class _NoModel(Exception):
    pass


def _explain(error: BaseException) -> dict[str, Any]:
    field, line = "source.code", None
    if isinstance(error, SyntaxError) and error.filename in _FIELDS:
        field, line = _FIELDS[error.filename], error.lineno
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        if filename in _FIELDS:
            field, line = _FIELDS[filename], trace.tb_lineno
        trace = trace.tb_next
    text = cause(error)
    if isinstance(error, _NoModel):
        return {"field": field, "message": text, "line": None}
    if isinstance(error, SyntaxError):
        text = error.msg
    message = f"{type(error).__name__}: {text}"
    if isinstance(error, PermissionError):
        message += " (model source has no files, no network and no other processes)"
    if line is not None:
        message = f"line {line}: {message}"
    return {"field": field, "message": message, "line": line}
