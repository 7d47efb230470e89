"""INPUT_CONFIG: the settings that say how a stream's records are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mainstem.errors import ConfigError

MAX_SAMPLE_BYTES = 256 << 20
"""Largest decoded sample, in bytes: far above what one Kafka record carries."""

MAX_RANK = 16
"""Most dimensions of a sample."""

_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(stored)
    for name, stored in {
        "float16": "<f2", "half": "<f2",
        "float32": "<f4", "single": "<f4",
        "float64": "<f8", "double": "<f8", "float": "<f8",
        "int8": "i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "int": "<i8",
        "uint8": "u1", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8",
        "bool": "?", "bool_": "?",
    }.items()
}  # fmt: skip
"""Names that Kafka-ML and NumPy use; `float` and `int` are Python's, so 64 bits wide."""


def raw_config(model: Mapping[str, Any]) -> dict[str, Any]:
    """INPUT_CONFIG of RAW records as a model takes them: `model` is a federation's input as an object."""
    return {
        "data_type": model["dtype"],
        "data_reshape": " ".join(map(str, model["shape"])),
        "label_type": model["label_dtype"],
        "label_reshape": " ".join(map(str, model["label_shape"])),
    }


def read_config(input_config: Mapping[str, Any] | str) -> dict[str, Any]:
    """INPUT_CONFIG as a dict, from JSON text or a mapping; raises ConfigError."""
    if isinstance(input_config, str):
        try:
            input_config = json.loads(input_config)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"INPUT_CONFIG is not JSON: {error}") from error
    if not isinstance(input_config, Mapping):
        raise ConfigError('INPUT_CONFIG must be a JSON object such as {"data_type": "float32", ...}')
    return dict(input_config)


def parse_shape(value: object, field: str) -> tuple[int, ...]:
    """The shape in a `data_reshape` or `label_reshape`; raises ConfigError.

    "28 28", "784", 784, [28, 28] and "(28, 28)" are understood. Nothing (None or "") is a
    single value: shape ().
    """
    if value is None:
        return ()
    if isinstance(value, str):
        items: list[Any] = value.replace(",", " ").strip(" ()[]").split()
    elif isinstance(value, (list, tuple)):
        items = list(value)
    else:
        items = [value]
    shape: list[int] = []
    for item in items:
        text = item if isinstance(item, str) else str(item) if type(item) is int else ""
        if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) > 0):
            raise ConfigError(f'{field} must be positive whole numbers such as "28 28", not {str(value)[:80]!r}')
        shape.append(int(text))
    if len(shape) > MAX_RANK:
        raise ConfigError(f"{field} has {len(shape)} dimensions; at most {MAX_RANK} are supported")
    return tuple(shape)


def parse_dtype(value: object, field: str) -> np.dtype[Any]:
    """The dtype (little-endian) that a `data_type` or `label_type` names; raises ConfigError."""
    if value is None:
        raise ConfigError(f'{field} is missing from INPUT_CONFIG; name a type such as "float32"')
    dtype = _DTYPES.get(value.strip().lower()) if isinstance(value, str) else None
    if dtype is None:
        known = ", ".join(sorted(_DTYPES))
        raise ConfigError(f"{field} {str(value)[:80]!r} is not a type of numbers; use one of {known}")
    return dtype


def check_size(shape: tuple[int, ...], dtype: np.dtype[Any], field: str) -> None:
    """Refuse samples above MAX_SAMPLE_BYTES before anything is allocated; raises ConfigError."""
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_SAMPLE_BYTES:
        raise ConfigError(f"{field} makes a sample of {size} bytes; at most {MAX_SAMPLE_BYTES} are supported")
