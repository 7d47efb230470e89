"""The parts of Keras that a model sent as data may hold, by name, and why the others are refused."""

from __future__ import annotations

import re
from typing import Final

LAYERS: Final = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization
    Bidirectional CategoryEncoding CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D
    Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D
    Cropping2D Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense
    Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization GroupQueryAttention HashedCrossing Hashing Identity InputLayer LSTM LSTMCell
    LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum
    MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment
    RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D
    SeparableConv2D SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization StackedRNNCells Subtract TimeDistributed UnitNormalization
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    CustomScaleLayer LayerScale
    """.split()
)
"""Keras' layers; the last two are those that `keras.applications` has for itself."""
INITIALIZERS: Final = frozenset(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform
    Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal
    VarianceScaling Zeros
    """.split()
)
OTHERS: Final = frozenset(
    "L1 L2 L1L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy FloatDTypePolicy".split()
)
MODELS: Final = frozenset(("Sequential", "Functional", "Model"))
DATA: Final = frozenset(("__keras_tensor__", "__tensor__", "__numpy__", "__ellipsis__", "__slice__"))
MODULES: Final = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies)|\.src\.models\.[a-z_]+"
    r"|\.src\.applications\.(convnext|inception_resnet_v2))?"
)
OPERATIONS: Final = re.compile(r"keras\.src\.ops\.(numpy|nn|math)")
CORE_OPERATIONS: Final = frozenset(("Cast", "StopGradient"))
"""Of `keras.src.ops.core`, whose others take functions."""
# TensorFlow's own functions go by names that Keras does not know: `tf.nn.softmax` is "softmax_v2".
ALIASES: Final = {"softmax_v2": "softmax", "leaky_relu_v2": "leaky_relu", "log_softmax_v2": "log_softmax",
                   "gelu_v2": "gelu", "swish": "silu"}  # fmt: skip
ACTIVATIONS: Final = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu linear
    log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus
    sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold
    """.split()
)


_CODE: Final = "Lambda layers carry Python code and are refused; use a layer or keras.ops instead"
_ELSEWHERE: Final = "runs a program that is not in the model and is refused; rebuild it from Keras' own layers"
_TEXT: Final = "takes text, and records hold numbers; turn the text into numbers before the records are sent"
_QUANTISED: Final = (
    "quantized layers cannot be trained and are refused; give the model as it was before quantize(), and quantize what "
    "comes of the run"
)
_PAIRS: Final = "changes images with their labels, which no layer of a model can do; do it before the records are sent"
_BASE: Final = "is a base class without a computation of its own; use a layer that derives from it"
_KERAS_2: Final = (
    "is an operation of TensorFlow 2's Keras that Keras 3 cannot read; build the model anew with Keras 3, using "
    "layers (Add, Multiply, Rescaling, ...) or keras.ops, and load the weights into it"
)
REFUSED: Final = {
    **dict.fromkeys(("Lambda", "__lambda__"), _CODE),
    **{name: f"{name} {_ELSEWHERE}" for name in ("TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper")},
    **{name: f"{name} {_TEXT}" for name in ("StringLookup", "TextVectorization")},
    "IntegerLookup": "IntegerLookup keeps its vocabulary outside the weights; map the ids before the records are sent",
    **{name: f"{name} {_PAIRS}" for name in ("MixUp", "CutMix", "MaxNumBoundingBoxes")},
    **{name: f"{name} {_BASE}" for name in ("Layer", "Wrapper")},
    **{name: f"{name} {_KERAS_2}" for name in ("TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod",
                                               "InstanceProperty")},
    **{name: f"{name}: {_QUANTISED}" for name in (
        "QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy", "Int4DTypePolicy", "GPTQDTypePolicy", "AWQDTypePolicy",
        "Int8QuantizationConfig", "Int4QuantizationConfig", "Float8QuantizationConfig", "GPTQConfig", "AWQConfig")},
}  # fmt: skip
"""Parts of Keras that are refused, and why, as a sentence without its full stop."""
