"""Turns what TensorFlow 2's Keras wrote (2.15 and before) into what Keras 3 reads, as plain data.

Only what means the same is converted. What Keras 3 computes differently, or cannot, is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from federated_training.problems import FieldError

WAY_OUT: Final = "build the model anew with Keras 3 and load the weights into it"
_ANY: Final = object()
_GROUPS: Final = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D",
                  "SeparableConv1D", "SeparableConv2D")  # fmt: skip
_SEPARABLE: Final = {f"kernel_{part}": _ANY for part in ("initializer", "regularizer", "constraint")}
_DROPPED: Final[Mapping[str, Mapping[str, object]]] = {
    **{name: {"groups": 1} for name in _GROUPS},
    **{name: {"groups": 1, **_SEPARABLE} for name in ("SeparableConv1D", "SeparableConv2D")},
    "Embedding": {"input_length": _ANY},
    "MultiHeadAttention": {
        **{f"{part}_shape": _ANY for part in ("query", "key", "value")},
        "softmax_robust_masking": False,
    },
}
_DROPPED_ANYWHERE: Final[Mapping[str, object]] = {
    "batch_input_shape": _ANY, "implementation": _ANY, "rng_type": _ANY, "time_major": False,
}  # fmt: skip
"""Arguments that Keras 3 does not have, and the one value that changes nothing."""

_FUNCTIONAL: Final = "keras.src.models.functional"
_MODULES: Final = {"Sequential": "keras", "Functional": _FUNCTIONAL, "Model": _FUNCTIONAL}
_ACTIVATIONS: Final = ("activation", "recurrent_activation")


def wrote(text: str) -> bool:
    """Whether TensorFlow 2's Keras wrote this JSON config: Keras 3 has another name for the shape of an input."""
    return '"batch_input_shape"' in text


def convert(value: Any, field: str) -> None:
    """Change a config of any depth in place; raises FieldError."""
    if isinstance(value, list):
        for item in value:
            convert(item, field)
    elif isinstance(value, dict):
        if isinstance(value.get("class_name"), str) and isinstance(value.get("config"), dict):
            _convert_object(value, value["config"], field)
        for item in value.values():
            convert(item, field)


def _convert_object(value: dict[str, Any], config: dict[str, Any], field: str) -> None:
    name = value["class_name"]
    module = value.get("module")
    if isinstance(module, str) and module.startswith("tf_keras."):
        value["module"] = module.removeprefix("tf_")
    if name in _MODULES:
        value["module"], value["class_name"] = _MODULES[name], "Functional" if name == "Model" else name
        value.pop("registered_name", None)
        if name == "Sequential":
            _begin(config)
        else:
            _convert_calls(config)
    elif name == "Policy":
        value.update(module="keras", class_name="DTypePolicy", registered_name=None)
    elif name == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    elif name == "BatchNormalization" and isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    value.pop("build_config", None)  # Keras 3 builds a layer when it is called
    _drop(name, config, field)


def _convert_calls(config: dict[str, Any]) -> None:
    """The calls of a functional model's layers: whose output each takes, as [layer, number of its call, output, ...].

    To Keras 2 an inner Sequential's own making is its first call; Keras 3 knows that of functional models only.
    """
    listed = config.get("layers")
    layers = [layer for layer in listed if isinstance(layer, dict)] if isinstance(listed, list) else []
    names = {str(layer.get("name")) for layer in layers}
    inner = {str(layer.get("name")) for layer in layers if layer.get("class_name") == "Sequential"}

    def refers(value: Any) -> bool:
        if not isinstance(value, list) or len(value) < 3 or not isinstance(value[0], str) or value[0] not in names:
            return False
        return type(value[1]) is int and type(value[2]) is int

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            if refers(value) and value[0] in inner and value[1] > 0:
                value[1] -= 1
            for item in value:
                walk(item)

    walk(config.get("output_layers"))
    for layer in layers:
        nodes = layer.get("inbound_nodes")
        walk(nodes)
        if isinstance(nodes, list):
            layer["inbound_nodes"] = [_call(node, refers) for node in nodes]


def _call(node: Any, refers: Callable[[Any], bool]) -> Any:
    """A call in Keras 3's form where an argument by name is another layer's output, which Keras 3 does not see."""
    named = node[0][3] if isinstance(node, list) and node and refers(node[0]) and len(node[0]) > 3 else None
    if not isinstance(named, dict) or not any(refers(value) for value in named.values()):
        return node
    tensors = [_tensor(item) if refers(item) else item for item in node]
    arguments = {key: _tensor(value) if refers(value) else value for key, value in named.items()}
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": arguments}


def _tensor(reference: list[Any]) -> dict[str, Any]:
    # Keras looks at the history alone.
    config = {"shape": [None], "dtype": "float32", "keras_history": reference[:3]}
    return {"class_name": "__keras_tensor__", "config": config}


def _begin(config: dict[str, Any]) -> None:
    """Keras 2 leaves the input's layer out where the first layer was told the shape."""
    layers = config.get("layers")
    if not isinstance(layers, list) or not layers:
        return
    first = layers[0]
    inside = first.get("config") if isinstance(first, dict) and first.get("class_name") != "InputLayer" else None
    if isinstance(inside, dict) and isinstance(inside.get("batch_input_shape"), list):
        shape = {"batch_input_shape": inside["batch_input_shape"], "name": f"{inside.get('name')}_input"}
        layers.insert(0, {"class_name": "InputLayer", "config": shape})


def _drop(name: str, config: dict[str, Any], field: str) -> None:
    layer = str(config.get("name"))[:60]
    for key, harmless in {**_DROPPED_ANYWHERE, **_DROPPED.get(name, {})}.items():
        given = config.pop(key, harmless)
        if harmless is not _ANY and given != harmless:
            raise FieldError(field, f"The layer {layer!r} has {key}={given!r}, which Keras 3 does not have: {WAY_OUT}.")
    if any(config.get(key) == "hard_sigmoid" for key in _ACTIVATIONS):
        raise FieldError(
            field,
            f"The layer {layer!r} uses hard_sigmoid, which has another slope in Keras 3 than in TensorFlow 2's Keras: "
            f"use sigmoid, or {WAY_OUT}.",
        )
