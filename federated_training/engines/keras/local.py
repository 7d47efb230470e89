"""A site's own model: from a file of the site's, or as narrow as the site says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import keras
import msgspec

from federated_training.engines.engine import LocalModel
from federated_training.engines.keras import models
from federated_training.problems import FieldError
from mainstem.errors import ConfigError
from mainstem.jobs.compiling import input_of
from mainstem.jobs.narrowing import narrowed
from mainstem.protocol.messages import Opened, TensorSpec

_FIELD: Final = "FEDERATED_LOCAL_MODEL"
_LARGEST: Final = 8 << 20
"""Bytes of a config."""


def local_model(opened: Opened, path: Path | None, width: float | None) -> LocalModel:
    """The model in the file, with the weights that a `.keras` file has, or the run's in that width.

    Raises ConfigError, which names the variable.
    """
    if width is not None and opened.adaptation.adapt != "slice":
        raise ConfigError(
            f"FEDERATED_WIDTH is set, but this federation's adapt is {opened.adaptation.adapt}, not slice"
        )
    archive = path is not None and path.suffix.lower() == ".keras"
    text = _config(path, archive) if path is not None else narrowed(opened.architecture, width or 1.0)
    try:
        model = models.build(text, seed=opened.training.seed, field=_FIELD if path is not None else "FEDERATED_WIDTH")
    except FieldError as error:
        raise ConfigError(f"{error.field}: {error.message}") from error
    if path is not None and archive:
        try:
            model.load_weights(path)
        except Exception as error:  # Keras and h5py raise many kinds
            raise ConfigError(f"{_FIELD}: the weights in {path} do not fit its model: {error}") from error
    tensors, told = models.weights_of(model), models.describe(model)
    specs = msgspec.convert(told["tensors"], tuple[TensorSpec, ...])
    taken = input_of(told["input"]["shape"], told["input"]["dtype"], told["output"]["shape"], opened.training.loss)
    keras.backend.clear_session()
    return LocalModel(text, specs, tensors, taken)


def _config(path: Path, archive: bool) -> str:
    try:
        if not archive:
            return path.read_text("utf-8")
        with zipfile.ZipFile(path) as file, file.open("config.json") as config:
            return config.read(_LARGEST).decode()
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{_FIELD} is {path}, which cannot be read as a Keras model: {error}") from error
