"""Checks a Keras JSON config as plain data, before Keras sees it: only known, harmless parts may be in it.

Keras' own safe mode refuses lambdas. This check is an allow list on top of it: no custom objects, and none of
the layers that read files or run foreign code when they are made or called (`Lambda`, `TFSMLayer`,
`JaxLayer`, `FlaxLayer`, `TorchModuleWrapper`, the lookup and text layers with their vocabulary files).
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from federated_training.problems import FieldError

MAX_BYTES: Final = 8 << 20
"""Largest config in bytes."""

MAX_DEPTH: Final = 64
"""Deepest nesting of a config."""

_LAYERS: Final = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding
    CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D
    ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Discretization
    Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization GroupQueryAttention Identity InputLayer LSTM LSTMCell
    LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum
    MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RNN RandomBrightness RandomContrast
    RandomCrop RandomFlip RandomRotation RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape
    Resizing ReversibleEmbedding SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
    """.split()
)
_INITIALIZERS: Final = frozenset(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
    Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    """.split()
)
_OTHERS: Final = frozenset(
    "L1 L2 L1L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy FloatDTypePolicy".split()
)
_MODELS: Final = frozenset(("Sequential", "Functional", "Model"))
_DATA: Final = frozenset(("__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"))
_MODULES: Final = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies)|\.src\.models\.[a-z_]+)?"
)
_OPERATIONS: Final = re.compile(r"keras\.src\.ops\.(numpy|nn|math)")
_RUNNING: Final = ("Lambda", "__lambda__")
# TensorFlow's own functions go by names that Keras does not know: `tf.nn.softmax` is "softmax_v2".
_ALIASES: Final = {"softmax_v2": "softmax", "leaky_relu_v2": "leaky_relu", "log_softmax_v2": "log_softmax",
                   "gelu_v2": "gelu", "swish": "silu"}  # fmt: skip
_ACTIVATIONS: Final = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
    sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """.split()
)


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
    if str(config.get("class_name")) not in _MODELS:
        raise FieldError(
            field,
            f"The model is of class {str(config.get('class_name'))[:60]!r}; only Sequential and Functional models can "
            "be sent as data. Write a subclass of keras.Model as a functional model.",
        )
    config.pop("compile_config", None)
    # TensorFlow 2's Keras writes no module at the top; Keras 3 reads the layers below in that format too.
    config.setdefault("module", "keras")
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


def _check(value: Any, field: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise FieldError(field, f"The config is nested more than {MAX_DEPTH} deep.")
    if isinstance(value, list):
        for item in value:
            _check(item, field, depth + 1)
    elif isinstance(value, dict):
        if "class_name" in value:
            _check_object(value, field)
        for key, item in list(value.items()):
            if isinstance(item, dict) and item.get("class_name") == "function":
                value[key] = _activation(item, field)
            elif key == "compile_config" and item is not None:
                raise FieldError(field, "A model inside the model has compile settings; build it without them.")
            else:
                _check(item, field, depth + 1)


def _check_object(value: dict[str, Any], field: str) -> None:
    name, module = value["class_name"], value.get("module")
    if not isinstance(name, str):
        raise FieldError(field, f"A class_name in the config is {str(name)[:60]!r}; it must be text.")
    if name in _RUNNING:
        raise FieldError(field, "Lambda layers carry Python code and are refused; use a layer or keras.ops instead.")
    if name in _DATA:
        return
    registered = value.get("registered_name")
    if registered not in (None, name):
        raise FieldError(field, f"{str(registered)[:80]!r} is a custom object; only Keras' own can be sent as data.")
    # A config without `module` comes from TensorFlow 2's Keras; its names are looked up among Keras' own.
    if module is not None and not isinstance(module, str):
        raise FieldError(field, f"The module of {name[:60]!r} must be text.")
    if module is not None and _OPERATIONS.fullmatch(module):
        return
    known = name in _LAYERS or name in _INITIALIZERS or name in _OTHERS or name in _MODELS
    if not known or (module is not None and not _MODULES.fullmatch(module)):
        raise FieldError(
            field, f"{name[:60]!r} (of {str(module)[:60]}) is not among the layers and parts that can be sent as data."
        )


def _activation(value: dict[str, Any], field: str) -> str:
    name = value.get("config")
    name = _ALIASES.get(name, name) if isinstance(name, str) else None
    if name not in _ACTIVATIONS:
        raise FieldError(field, f"The function {str(value.get('config'))[:60]!r} is not one of Keras' activations.")
    return str(name)
