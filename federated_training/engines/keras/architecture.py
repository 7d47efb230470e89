"""Checks a Keras JSON config as plain data, before Keras sees it: only known, harmless parts may be in it.

Keras' own safe mode refuses lambdas. This check is an allow list on top of it (`architecture_parts`): no custom
objects, and none of the layers that read files or run foreign code when they are made or called.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from federated_training.engines.keras import architecture_keras2
from federated_training.engines.keras import architecture_parts as parts
from federated_training.problems import FieldError

MAX_BYTES: Final = 8 << 20
"""Largest config in bytes."""

MAX_DEPTH: Final = 64
"""Deepest nesting of a config."""

MAX_WHOLE: Final = 1 << 53
"""Whole numbers in a config are below it; readers of JSON agree on them."""


def parse(text: str, field: str = "config") -> dict[str, Any]:
    """A Keras JSON config as a plain dict that holds nothing but known parts, without its compile settings.

    Raises FieldError, naming the first part that is refused.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise FieldError(field, f"The config is larger than {MAX_BYTES >> 20} MiB.")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FieldError(field, f"The config is not JSON: {error}.") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise FieldError(
            field, "The config must be the object with class_name and config that to_json() of a model gives."
        )
    if str(config.get("class_name")) not in parts.MODELS:
        raise FieldError(
            field,
            f"The model is of class {str(config.get('class_name'))[:60]!r}; only Sequential and Functional models can "
            "be sent as data. Write a subclass of keras.Model as a functional model.",
        )
    # TensorFlow 2's Keras writes no module at the top.
    config.setdefault("module", "keras")
    if architecture_keras2.wrote(text):
        architecture_keras2.convert(config, field)
    if config["class_name"] == "Model":
        config["class_name"] = "Functional"
    if config["class_name"] == "Functional":
        config["module"] = "keras.src.models.functional"
    _check(config, field, 0)
    return config


def compile_config(text: str) -> dict[str, Any] | None:
    """The compile settings in a Keras JSON config as plain, unchecked data; None when the model has none."""
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        return None
    found = config.get("compile_config") if isinstance(config, dict) else None
    return found if isinstance(found, dict) else None


def _check(value: Any, field: str, depth: int, layer: str = "") -> None:
    """Look at everything in `value`, which is changed to what Keras can read; `layer` names the layer around it."""
    if depth > MAX_DEPTH:
        raise FieldError(field, f"The config is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, list):
        for item in value:
            _check(item, field, depth + 1, layer)
    elif isinstance(value, float) and not math.isfinite(value):
        raise FieldError(field, f"The config holds {value}{_of(layer)}; numbers must be finite.")
    elif isinstance(value, int) and abs(value) >= MAX_WHOLE:  # Keras' kernels take the low half of it, or end
        raise FieldError(field, f"The config holds {str(value)[:40]}{_of(layer)}; whole numbers must be below 2^53.")
    elif isinstance(value, dict):
        if "class_name" in value:
            # Only the outermost model's settings would ever be used, and those are chosen anew.
            value.pop("compile_config", None)
            layer = _name(value) or layer
            _check_object(value, field, layer)
        for key, item in list(value.items()):
            if isinstance(item, dict) and item.get("class_name") == "function":
                value[key] = _activation(item, field)
            else:
                _check(item, field, depth + 1, layer)


def _name(value: dict[str, Any]) -> str:
    config, kind = value.get("config"), value["class_name"]
    known = isinstance(kind, str) and kind in parts.LAYERS
    name = config.get("name") if known and isinstance(config, dict) else None
    return name[:60] if isinstance(name, str) else ""


def _check_object(value: dict[str, Any], field: str, layer: str) -> None:
    name, module = value["class_name"], value.get("module")
    if not isinstance(name, str):
        raise FieldError(field, f"A class_name in the config is {str(name)[:60]!r}; it must be text.")
    if name in parts.REFUSED:
        raise FieldError(field, f"{parts.REFUSED[name]}{_of(layer)}.")
    if name in parts.DATA:
        return
    registered = value.get("registered_name")
    if registered not in (None, name):
        raise FieldError(field, f"{str(registered)[:80]!r} is a custom object; only Keras' own can be sent as data.")
    # A config without `module` comes from TensorFlow 2's Keras; its names are looked up among Keras' own.
    if module is not None and not isinstance(module, str):
        raise FieldError(field, f"The module of {name[:60]!r} must be text.")
    if module is not None and parts.OPERATIONS.fullmatch(module):
        return
    if module == "keras.src.ops.core" and name in parts.CORE_OPERATIONS:
        return
    known = name in parts.LAYERS or name in parts.INITIALIZERS or name in parts.OTHERS or name in parts.MODELS
    if not known or (module is not None and not parts.MODULES.fullmatch(module)):
        raise FieldError(
            field, f"{name[:60]!r} (of {str(module)[:60]}) is not among the layers and parts that can be sent as data."
        )
    config = value.get("config")
    if isinstance(config, dict) and config.get("stateful") is True:
        raise FieldError(
            field,
            f"The layer {layer!r} is stateful: what it remembers from one batch to the next is no part of the weights. "
            "Build it with stateful=False.",
        )
    if name == "Discretization" and isinstance(config, dict) and not config.get("bin_boundaries"):
        raise FieldError(field, f"The layer {layer!r} has no bin_boundaries; give them, or call its adapt() first.")


def _of(layer: str) -> str:
    return f" (layer {layer!r})" if layer else ""


def _activation(value: dict[str, Any], field: str) -> str:
    name = value.get("config")
    name = parts.ALIASES.get(name, name) if isinstance(name, str) else None
    if name not in parts.ACTIVATIONS:
        raise FieldError(field, f"The function {str(value.get('config'))[:60]!r} is not one of Keras' activations.")
    return str(name)
