"""Models of kind forest: made here, since their parameters say all of them; no workshop opens anything."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from rest_framework import status

from backend.catalog.arrays import write_npz
from backend.catalog.models import Model
from backend.rest.problems import Problem
from mainstem.errors import ConfigError, RefusedError
from mainstem.jobs import forests
from mainstem.jobs.forests import FRAMEWORK, ForestParams
from mainstem.protocol.forests import check_forest, empty
from mainstem.protocol.weights import Tensor, payload_of

__all__ = ["FRAMEWORK", "answer_of", "forest_of", "make", "tensors_in", "write_json"]


def make(given: Mapping[str, Any]) -> tuple[dict[str, Any], IO[bytes]]:
    """What the workshop would say of the forest, and its weights, an npz; raises Problem naming the field."""
    try:
        params = forests.checked_params(given)
    except ConfigError as error:
        field = f"forest.{str(error).split()[0]}"
        raise Problem(status.HTTP_400_BAD_REQUEST, f"{error}.", field=field) from error
    weights = tempfile.NamedTemporaryFile()  # noqa: SIM115 (it goes with what was built)
    write_npz(weights, params.specs, payload_of(empty(params.trees, params.depth)))
    weights.flush()
    what = forests.input_of(params)
    return {
        "architecture": forests.architecture_of(params),
        "tensors": [{"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in params.specs],
        "input": {"shape": list(what.shape), "dtype": what.dtype},
        "output": {"shape": [params.width], "dtype": "float32"},
        "layers": [],
        "params": sum(int(np.prod(spec.shape)) for spec in params.specs),
        "compile": None,
    }, weights


def forest_of(model: Model) -> ForestParams | None:
    """The parameters of a forest; None where the model is none."""
    return forests.params_of(model.architecture) if model.framework == FRAMEWORK else None


def tensors_in(architecture: str, path: Path) -> tuple[ForestParams, Sequence[Tensor]]:
    """The forest in an npz of a version, which anybody may have committed, judged before anything is made of it.

    Raises Problem.
    """
    try:
        params = forests.params_of(architecture)
        with np.load(path, allow_pickle=False) as file:
            tensors = [file[f"t{number:04d}"] for number in range(len(params.specs))]
        if [(t.dtype.name, t.shape) for t in tensors] != [(spec.dtype, spec.shape) for spec in params.specs]:
            raise ConfigError("its tensors are not those of its forest")
        check_forest(tensors, params.features)
    except (ConfigError, RefusedError) as error:
        raise Problem(status.HTTP_409_CONFLICT, f"The version cannot be used: {error}.") from error
    return params, tensors


def answer_of(architecture: str, path: Path, x: Any) -> Any:
    """Outputs (n, width) of the version in that npz for samples (n, features); raises Problem."""
    params, tensors = tensors_in(architecture, path)
    return forests.outputs(params, forests.margins(params, tensors, x))


def write_json(architecture: str, path: Path, file: IO[bytes]) -> None:
    """The version in that npz as XGBoost's JSON, made of its tables; raises Problem."""
    params, tensors = tensors_in(architecture, path)
    file.write(json.dumps(forests.xgboost_model(params, tensors), separators=(",", ":")).encode())
