"""A narrower model for a weaker device: HeteroFL's, whose tensors are leading slices of the federation's. Pure.

Diao, Ding, Tarokh, "HeteroFL", ICLR 2021 (arXiv:2010.01264), section 3: every hidden layer has ceil(width n) of its n
channels, the output stays.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from mainstem.errors import ConfigError
from mainstem.protocol.architecture import layers

_WIDTHS: Final = {
    "Dense": "units", "Conv1D": "filters", "Conv2D": "filters", "Conv3D": "filters", "Embedding": "output_dim",
}  # fmt: skip
"""Layers that can be narrowed, by what says how wide they are."""
_GATED: Final = ("LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
"""Layers whose tensors have several gates side by side: the leading part of such a tensor is no narrower layer."""


def narrowed(architecture: str, width: float) -> str:
    """The Keras JSON of the same model with so much of the width of its hidden layers, 0 < width <= 1.

    Raises ConfigError where the leading part of a tensor would mean something else than in the whole model.
    """
    if not 0 < width <= 1:
        raise ConfigError(f"FEDERATED_WIDTH is {width:g}; it must be above 0 and at most 1")
    config = json.loads(architecture)
    if width == 1:
        return architecture
    found = list(layers(config))
    wide = [layer for layer in found if layer["class_name"] in _WIDTHS]
    for layer in found:
        if layer["class_name"] in _GATED:
            raise ConfigError(
                f"FEDERATED_WIDTH: the layer {layer['config']['name']} is of class {layer['class_name']}, which has "
                "its gates side by side in one tensor, so that the leading part of it is no narrower layer"
            )
    for layer in wide[:-1]:
        size = _WIDTHS[layer["class_name"]]
        layer["config"][size] = math.ceil(width * layer["config"][size])
    seen: set[str] = set()
    for layer in found:
        if layer["class_name"] == "Flatten" and seen:
            raise ConfigError(
                f"FEDERATED_WIDTH: the layer {layer['config']['name']} flattens the channels of a convolution, so that "
                "the leading part of what follows is no narrower layer: use GlobalAveragePooling2D in its place"
            )
        if layer["class_name"].startswith("Conv") and layer in wide[:-1]:
            seen.add(layer["config"]["name"])
        elif layer["class_name"].startswith("Global"):
            seen.clear()
    _forget_shapes(config)
    return json.dumps(config, separators=(",", ":"))


def _forget_shapes(part: Any) -> None:
    """Keras finds the shapes anew that it had noted down when the whole model was built."""
    if isinstance(part, list):
        for each in part:
            _forget_shapes(each)
    elif isinstance(part, dict):
        part.pop("build_config", None)
        part.pop("build_input_shape", None)
        for each in part.values():
            _forget_shapes(each)
