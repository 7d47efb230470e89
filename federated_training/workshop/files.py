"""Files that the workshop takes: saved models (checked before Keras opens them) and arrays (never pickled)."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from federated_training.engines.keras import architecture, models
from federated_training.problems import FieldError, cause, first_sentence

_NAMES: Final = frozenset(("config.json", "metadata.json", "model.weights.h5", "assets/"))
_MAX_WEIGHTS: Final = 4 << 30
_SLACK: Final = 16 << 20

Array = NDArray[Any]


def inside(directory: Path, name: object, field: str) -> Path:
    """The path of a plain file name in the request's directory; raises FieldError for anything else."""
    if not isinstance(name, str) or not name or name != os.path.basename(name) or name in (".", ".."):
        raise FieldError(field, f"{str(name)[:60]!r} is not a file name in the request's directory.")
    path = directory / name
    if path.is_symlink():
        raise FieldError(field, f"{name!r} is a link; a plain file is needed.")
    return path


def open_saved(path: Path, max_params: int) -> tuple[Any, dict[str, Any] | None]:
    """The model in a `.keras` or a whole-model `.h5` file with its weights, and its compile settings as unchecked data.

    A `.keras` archive may hold config.json, metadata.json and model.weights.h5 only; sizes are checked before anything
    is read, the config as `architecture` says, and the weights must be arrays alone. Raises FieldError("file").
    """
    read = _open_h5 if h5py.is_hdf5(path) else _open_archive
    with read(path) as (text, compile_config, weights):
        model = models.build(text, max_params=max_params, field="file")
        try:
            _check_hdf5(weights, sum(array.nbytes for array in models.weights_of(model)))
            model.load_weights(weights)
        except FieldError:
            raise
        except Exception as error:  # Keras and h5py raise many kinds
            message = f"The weights in the file do not fit its model: {cause(error)}"
            raise FieldError("file", message) from error
    _check_adapters(model)
    return model, compile_config


@contextlib.contextmanager
def _open_archive(path: Path) -> Iterator[tuple[str, dict[str, Any] | None, Path]]:
    text = _read_archive(path)
    with zipfile.ZipFile(path) as archive:
        weights = Path(archive.extract("model.weights.h5", path.parent))
    try:
        yield text, architecture.compile_config(text), weights
    finally:
        weights.unlink(missing_ok=True)


@contextlib.contextmanager
def _open_h5(path: Path) -> Iterator[tuple[str, dict[str, Any] | None, Path]]:
    try:
        with h5py.File(path, "r") as file:
            texts = [file.attrs.get(name) for name in ("model_config", "training_config")]
    except (OSError, ValueError, RuntimeError) as error:
        raise FieldError("file", f"The .h5 file cannot be read: {first_sentence(error)}.") from error
    text, training = (value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in texts)
    if not isinstance(text, str):
        raise FieldError("file", "The file holds weights without their model; save both with model.save('x.keras').")
    # Keras tells the formats apart by the name.
    weights = path.with_name(f".{path.name}.h5")
    path.rename(weights)
    try:
        yield text, _training_config(training), weights
    finally:
        weights.rename(path)


def _training_config(text: object) -> dict[str, Any] | None:
    """The compile settings beside a model in `.h5`, under the names that `.keras` has for them."""
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return {**found, "optimizer": found.get("optimizer_config")} if isinstance(found, dict) else None


def _check_adapters(model: Any) -> None:
    for layer in model._flatten_layers(include_self=False):
        adapters = [weight for weight in layer.variables if "/lora_" in weight.path and not layer._layers]
        if adapters and not any(np.any(models.copied(weight)) for weight in adapters):
            raise FieldError(
                "file",
                f"The LoRA matrices of the layer {layer.name!r} are all zero, since Keras adds them to the kernel when "
                "it saves a model: no training would change them. Give the model without LoRA, or as source that "
                "calls enable_lora().",
            )


def _read_archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            for name in names:
                if name not in _NAMES:
                    raise FieldError("file", f"The archive holds {name[:80]!r}, which is no part of a Keras model.")
            if len(set(names)) != len(names) or not {"config.json", "model.weights.h5"} <= set(names):
                raise FieldError("file", "The archive must hold config.json and model.weights.h5 once each.")
            for member in members:
                limit = _MAX_WEIGHTS if member.filename.endswith(".h5") else architecture.MAX_BYTES
                # Keras stores without compression; anything that unfolds a lot is not a model.
                if member.file_size > limit or member.file_size > 100 * max(member.compress_size, 1) + _SLACK:
                    unfolded = f"{member.filename} would unfold to {member.file_size:,} bytes"
                    raise FieldError("file", f"{unfolded}, which no saved model does.")
            return archive.read("config.json").decode()
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        message = f"The file is neither a .keras archive nor a model in .h5: {first_sentence(error)}."
        raise FieldError("file", message) from error


def _check_hdf5(path: Path, model_bytes: int) -> None:
    # Optimizer state may be in it too: up to a few times the model.
    budget = 6 * model_bytes + _SLACK

    def visit(group: h5py.Group, depth: int) -> int:
        total = 0
        if depth > architecture.MAX_DEPTH:
            raise FieldError("file", "The weights file is nested too deep.")
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise FieldError("file", f"The weights file has a link at {name[:80]!r}; only arrays may be in it.")
            item = group[name]
            if isinstance(item, h5py.Group):
                total += visit(item, depth + 1)
            elif not isinstance(item, h5py.Dataset) or item.external or item.is_virtual or item.dtype.kind == "O":
                raise FieldError("file", f"{name[:80]!r} in the weights file is not a plain array of numbers.")
            else:
                total += item.nbytes
            if total > budget:
                raise FieldError("file", "The arrays in the weights file are far larger than the model's weights.")
        return total

    with h5py.File(path, "r") as file:
        visit(file, 0)


def write_keras(model: Any, path: Path) -> None:
    """Save an uncompiled copy of the model as a `.keras` file at `path`, without the time of saving.

    The same model and weights give the same members, whose zip times are fixed too.
    """
    raw = path.with_name(f".{path.name}.raw.keras")
    model.save(raw)
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({"keras_version": keras.__version__, "date_saved": "1980-01-01@00:00:00"}).encode()
            target.writestr(zipfile.ZipInfo(name), content)
    raw.unlink()


def save_arrays(path: Path, arrays: Sequence[Array]) -> None:
    """Write `t0000`, `t0001`, ... as an `.npz`; the same arrays give the same bytes."""
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **{f"t{index:04d}": array for index, array in enumerate(arrays)})


def load_arrays(path: Path, count: int, max_bytes: int, field: str = "weights") -> list[Array]:
    """The arrays `t0000`, ... of an `.npz`, exactly `count`, at most `max_bytes` together; raises FieldError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > max_bytes + 4096 * (count + 1):
                raise FieldError(field, f"The arrays are larger than the {max_bytes:,} bytes that the model has.")
            if len(archive.namelist()) != count:
                raise FieldError(field, f"There are {len(archive.namelist())} arrays; the model has {count}.")
        with np.load(path, allow_pickle=False) as arrays:
            return [np.asarray(arrays[f"t{index:04d}"]) for index in range(count)]
    except FieldError:
        raise
    except Exception as error:  # what a damaged header makes of NumPy's parser is anything
        raise FieldError(field, f"The arrays cannot be read: {first_sentence(error)}.") from error


def load_inputs(path: Path, shape: Sequence[int], dtype: str, field: str = "inputs") -> Array:
    """An `.npy` of n samples as an array (n, *shape) of `dtype`; raises FieldError."""
    try:
        inputs = np.load(path, allow_pickle=False)
    except Exception as error:  # what a damaged header makes of NumPy's parser is anything
        raise FieldError(field, f"The samples cannot be read: {first_sentence(error)}.") from error
    if not isinstance(inputs, np.ndarray) or inputs.shape[1:] != tuple(shape) or inputs.dtype.kind not in "biuf":
        found = list(getattr(inputs, "shape", ()))
        raise FieldError(field, f"The samples have shape {found}; numbers of shape {['n', *shape]} are needed.")
    return inputs.astype(dtype)
