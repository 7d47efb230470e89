# ruff: noqa: E501 - a case is one line of the page
"""What each layer that is not refused is tried with: an input, and two ways of making it, the plain one first.

A case is Python text, since the page shows it as it stands: `x` is the input, `y` a second one of its shape, and `whole` is `x` as integers.
"""

from __future__ import annotations

from typing import Final

ROW, SEQUENCE, IMAGE, VOLUME, SIGNAL = (5,), (6, 4), (8, 8, 3), (6, 6, 6, 2), (64,)
FILMS: Final = (3, 5, 5, 2)

CASES: Final[dict[str, tuple[tuple[int, ...], tuple[str, ...]]]] = {
    # core
    "Activation": (ROW, ("Activation('relu')(x)", "Activation('log_softmax')(x)")),
    "Dense": (ROW, ("Dense(3)(x)", "Dense(3, activation='gelu', use_bias=False, kernel_regularizer='l2', lora_rank=2)(x)")),
    "EinsumDense": (SEQUENCE, ("EinsumDense('abc,cd->abd', (6, 3))(x)",
                               "EinsumDense('abc,cd->abd', (6, 3), bias_axes='d', activation='tanh')(x)")),
    "Embedding": (ROW, ("Embedding(9, 3)(x)", "Embedding(9, 3, embeddings_constraint='unit_norm', mask_zero=True)(x)")),
    "Identity": (ROW, ("Identity()(x)", "Identity(dtype='float16')(x)")),
    "InputLayer": (ROW, ("x", "x")),
    "Masking": (SEQUENCE, ("LSTM(2)(Masking()(x))", "LSTM(2)(Masking(mask_value=3.0)(x))")),
    "ReversibleEmbedding": (ROW, ("ReversibleEmbedding(9, 3)(x)", "ReversibleEmbedding(9, 3, tie_weights=False)(x)")),
    # activations
    "ELU": (ROW, ("ELU()(x)", "ELU(alpha=0.3)(x)")),
    "LeakyReLU": (ROW, ("LeakyReLU()(x)", "LeakyReLU(negative_slope=0.1)(x)")),
    "PReLU": (SEQUENCE, ("PReLU()(x)", "PReLU(alpha_initializer='ones', shared_axes=[1])(x)")),
    "ReLU": (ROW, ("ReLU()(x)", "ReLU(max_value=2.0, negative_slope=0.1, threshold=0.5)(x)")),
    "Softmax": (ROW, ("Softmax()(x)", "Softmax(axis=1)(x)")),
    # attention
    "AdditiveAttention": (SEQUENCE, ("AdditiveAttention()([x, y])", "AdditiveAttention(use_scale=False, dropout=0.3)([x, y])")),
    "Attention": (SEQUENCE, ("Attention()([x, y])", "Attention(use_scale=True, score_mode='concat', dropout=0.3)([x, y])")),
    "GroupQueryAttention": (SEQUENCE, ("GroupQueryAttention(2, 4, 2)(x, y)",
                                       "GroupQueryAttention(2, 4, 1, dropout=0.2, use_bias=False)(x, y)")),
    "MultiHeadAttention": (SEQUENCE, ("MultiHeadAttention(2, 3)(x, y)",
                                      "MultiHeadAttention(2, 3, value_dim=2, dropout=0.2, output_shape=3)(x, y)")),
    # convolution
    "Conv1D": (SEQUENCE, ("Conv1D(2, 3)(x)", "Conv1D(4, 2, strides=2, padding='causal', groups=2, activation='silu')(x)")),
    "Conv1DTranspose": (SEQUENCE, ("Conv1DTranspose(2, 3)(x)", "Conv1DTranspose(2, 3, strides=2, padding='same')(x)")),
    "Conv2D": (IMAGE, ("Conv2D(2, 3)(x)", "Conv2D(3, 2, dilation_rate=2, groups=3, kernel_constraint='max_norm')(x)")),
    "Conv2DTranspose": (IMAGE, ("Conv2DTranspose(2, 3)(x)", "Conv2DTranspose(2, 3, strides=2, output_padding=1)(x)")),
    "Conv3D": (VOLUME, ("Conv3D(2, 3)(x)", "Conv3D(2, 2, strides=2, padding='same', bias_initializer='ones')(x)")),
    "Conv3DTranspose": (VOLUME, ("Conv3DTranspose(2, 3)(x)", "Conv3DTranspose(2, 2, strides=2, use_bias=False)(x)")),
    "DepthwiseConv1D": (SEQUENCE, ("DepthwiseConv1D(3)(x)", "DepthwiseConv1D(2, depth_multiplier=2, strides=2)(x)")),
    "DepthwiseConv2D": (IMAGE, ("DepthwiseConv2D(3)(x)", "DepthwiseConv2D(2, depth_multiplier=2, dilation_rate=2)(x)")),
    "SeparableConv1D": (SEQUENCE, ("SeparableConv1D(2, 3)(x)", "SeparableConv1D(2, 2, depth_multiplier=2)(x)")),
    "SeparableConv2D": (IMAGE, ("SeparableConv2D(2, 3)(x)", "SeparableConv2D(2, 2, strides=2, padding='same')(x)")),
    # merging
    **{name: (ROW, (f"{name}()([x, y])", f"{name}(dtype='float64')([x, y, x])"))
       for name in ("Add", "Average", "Maximum", "Minimum", "Multiply")},
    "Concatenate": (SEQUENCE, ("Concatenate()([x, y])", "Concatenate(axis=1)([x, y])")),
    "Dot": (SEQUENCE, ("Dot(axes=2)([x, y])", "Dot(axes=(1, 1), normalize=True)([x, y])")),
    "Subtract": (ROW, ("Subtract()([x, y])", "Subtract(dtype='float64')([x, y])")),
    # normalization
    "BatchNormalization": (IMAGE, ("BatchNormalization()(x)", "BatchNormalization(axis=1, momentum=0.5, scale=False)(x)")),
    "GroupNormalization": (IMAGE, ("GroupNormalization(3)(x)", "GroupNormalization(groups=-1, center=False)(x)")),
    "LayerNormalization": (SEQUENCE, ("LayerNormalization()(x)", "LayerNormalization(axis=[1, 2], epsilon=0.1)(x)")),
    "RMSNormalization": (SEQUENCE, ("RMSNormalization()(x)", "RMSNormalization(axis=-1, epsilon=0.1)(x)")),
    "SpectralNormalization": (ROW, ("SpectralNormalization(Dense(3))(x)",
                                    "SpectralNormalization(Dense(3), power_iterations=3)(x)")),
    "UnitNormalization": (ROW, ("UnitNormalization()(x)", "UnitNormalization(axis=1)(x)")),
    # pooling
    **{f"{kind}Pooling{d}D": (shape, (f"{kind}Pooling{d}D(2)(x)",
                                      f"{kind}Pooling{d}D(pool_size=2, strides=1, padding='same')(x)"))
       for kind in ("Average", "Max") for d, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    **{f"Global{kind}Pooling{d}D": (shape, (f"Global{kind}Pooling{d}D()(x)", f"Global{kind}Pooling{d}D(keepdims=True)(x)"))
       for kind in ("Average", "Max") for d, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    **{f"Adaptive{kind}Pooling{d}D": (shape, (f"Adaptive{kind}Pooling{d}D(2)(x)", f"Adaptive{kind}Pooling{d}D(3)(x)"))
       for kind in ("Average", "Max") for d, shape in ((1, SEQUENCE), (2, IMAGE), (3, VOLUME))},
    # numbers
    "CategoryEncoding": (ROW, ("CategoryEncoding(9)(x)", "CategoryEncoding(9, output_mode='count')(x)")),
    "Discretization": (ROW, ("Discretization(bin_boundaries=[0.5, 1.5])(x)", "adapted(Discretization(num_bins=3))(x)")),
    "HashedCrossing": (ROW, ("HashedCrossing(4)((whole[:, :1], whole[:, 1:2]))", "HashedCrossing(4, output_mode='one_hot')((whole[:, :1], whole[:, 1:2]))")),
    "Hashing": (ROW, ("Hashing(4)(x)", "Hashing(4, output_mode='count')(x)")),
    "Normalization": (ROW, ("adapted(Normalization())(x)", "Normalization(mean=2.0, variance=3.0, invert=True)(x)")),
    "Rescaling": (ROW, ("Rescaling(0.5)(x)", "Rescaling([1.0, 2.0, 3.0, 4.0, 5.0], offset=1.0)(x)")),
    # images and sound
    "AugMix": (IMAGE, ("AugMix()(x)", "AugMix(num_chains=2, seed=1)(x)")),
    "AutoContrast": (IMAGE, ("AutoContrast()(x)", "AutoContrast(value_range=(0, 1))(x)")),
    "CenterCrop": (IMAGE, ("CenterCrop(4, 4)(x)", "CenterCrop(3, 5)(x)")),
    "ContrastLimitedAdaptiveHistogramEqualization": (
        IMAGE, ("ContrastLimitedAdaptiveHistogramEqualization()(x)",
                "ContrastLimitedAdaptiveHistogramEqualization(value_range=(0, 1), tile_grid_size=(2, 2))(x)")),
    "Equalization": (IMAGE, ("Equalization()(x)", "Equalization(value_range=(0, 1), bins=8)(x)")),
    "MelSpectrogram": (SIGNAL, ("MelSpectrogram(fft_length=32, sequence_stride=8, num_mel_bins=8)(x)",
                                "MelSpectrogram(fft_length=16, window='hamming', num_mel_bins=4)(x)")),
    "Pipeline": (IMAGE, ("Pipeline([RandomFlip(), Rescaling(2.0)])(x)", "Pipeline([Dense(3)])(x)")),
    "RandAugment": (IMAGE, ("RandAugment()(x)", "RandAugment(num_ops=1, factor=0.2, seed=1)(x)")),
    "RandomBrightness": (IMAGE, ("RandomBrightness(0.3)(x)", "RandomBrightness((-0.2, 0.1), value_range=(0, 1), seed=1)(x)")),
    "RandomColorDegeneration": (IMAGE, ("RandomColorDegeneration(0.5)(x)", "RandomColorDegeneration(0.2, seed=1)(x)")),
    "RandomColorJitter": (IMAGE, ("RandomColorJitter(brightness_factor=0.3)(x)",
                                  "RandomColorJitter(contrast_factor=0.2, hue_factor=0.1, seed=1)(x)")),
    "RandomContrast": (IMAGE, ("RandomContrast(0.3)(x)", "RandomContrast((0.1, 0.2), value_range=(0, 1), seed=1)(x)")),
    "RandomCrop": (IMAGE, ("RandomCrop(4, 4)(x)", "RandomCrop(3, 5, seed=1)(x)")),
    "RandomElasticTransform": (IMAGE, ("RandomElasticTransform()(x)", "RandomElasticTransform(factor=0.5, seed=1)(x)")),
    "RandomErasing": (IMAGE, ("RandomErasing()(x)", "RandomErasing(factor=0.5, fill_value=0.0, seed=1)(x)")),
    "RandomFlip": (IMAGE, ("RandomFlip()(x)", "RandomFlip('vertical', seed=1)(x)")),
    "RandomGaussianBlur": (IMAGE, ("RandomGaussianBlur()(x)", "RandomGaussianBlur(kernel_size=5, sigma=0.5, seed=1)(x)")),
    "RandomGrayscale": (IMAGE, ("RandomGrayscale()(x)", "RandomGrayscale(factor=0.7, seed=1)(x)")),
    "RandomHue": (IMAGE, ("RandomHue(0.3)(x)", "RandomHue(0.2, value_range=(0, 1), seed=1)(x)")),
    "RandomInvert": (IMAGE, ("RandomInvert()(x)", "RandomInvert(factor=0.7, value_range=(0, 1), seed=1)(x)")),
    "RandomPerspective": (IMAGE, ("RandomPerspective()(x)", "RandomPerspective(factor=0.5, scale=0.5, seed=1)(x)")),
    "RandomPosterization": (IMAGE, ("RandomPosterization(4)(x)", "RandomPosterization(2, value_range=(0, 1), seed=1)(x)")),
    "RandomRotation": (IMAGE, ("RandomRotation(0.2)(x)", "RandomRotation((0.1, 0.2), fill_mode='nearest', seed=1)(x)")),
    "RandomSaturation": (IMAGE, ("RandomSaturation(0.3)(x)", "RandomSaturation(0.7, value_range=(0, 1), seed=1)(x)")),
    "RandomSharpness": (IMAGE, ("RandomSharpness(0.3)(x)", "RandomSharpness(0.7, value_range=(0, 1), seed=1)(x)")),
    "RandomShear": (IMAGE, ("RandomShear(0.2, 0.2)(x)", "RandomShear(0.1, 0.3, interpolation='nearest', seed=1)(x)")),
    "RandomTranslation": (IMAGE, ("RandomTranslation(0.2, 0.2)(x)", "RandomTranslation(0.1, 0.3, fill_mode='wrap', seed=1)(x)")),
    "RandomZoom": (IMAGE, ("RandomZoom(0.3)(x)", "RandomZoom(0.2, 0.1, fill_mode='constant', seed=1)(x)")),
    "Resizing": (IMAGE, ("Resizing(4, 4)(x)", "Resizing(4, 6, interpolation='nearest', crop_to_aspect_ratio=True)(x)")),
    "STFTSpectrogram": ((64, 1), ("STFTSpectrogram(frame_length=16, frame_step=8, fft_length=16)(x)",
                                 "STFTSpectrogram('psd', frame_length=16, frame_step=8, fft_length=32, trainable=True)(x)")),
    "Solarization": (IMAGE, ("Solarization()(x)", "Solarization(addition_factor=0.2, value_range=(0, 1), seed=1)(x)")),
    # regularization
    "ActivityRegularization": (ROW, ("ActivityRegularization(l1=0.1)(x)", "ActivityRegularization(l2=0.1)(x)")),
    "AlphaDropout": (ROW, ("AlphaDropout(0.3)(x)", "AlphaDropout(0.3, seed=1)(x)")),
    "Dropout": (SEQUENCE, ("Dropout(0.3)(x)", "Dropout(0.3, noise_shape=(None, 1, 4), seed=1)(x)")),
    "GaussianDropout": (ROW, ("GaussianDropout(0.3)(x)", "GaussianDropout(0.3, seed=1)(x)")),
    "GaussianNoise": (ROW, ("GaussianNoise(0.3)(x)", "GaussianNoise(0.3, seed=1)(x)")),
    "SpatialDropout1D": (SEQUENCE, ("SpatialDropout1D(0.3)(x)", "SpatialDropout1D(0.3, seed=1)(x)")),
    "SpatialDropout2D": (IMAGE, ("SpatialDropout2D(0.3)(x)", "SpatialDropout2D(0.3, seed=1)(x)")),
    "SpatialDropout3D": (VOLUME, ("SpatialDropout3D(0.3)(x)", "SpatialDropout3D(0.3, seed=1)(x)")),
    # shapes
    "Cropping1D": (SEQUENCE, ("Cropping1D()(x)", "Cropping1D((0, 2))(x)")),
    "Cropping2D": (IMAGE, ("Cropping2D(1)(x)", "Cropping2D(((1, 2), (0, 1)))(x)")),
    "Cropping3D": (VOLUME, ("Cropping3D()(x)", "Cropping3D((1, 2, 0))(x)")),
    "Flatten": (IMAGE, ("Flatten()(x)", "Flatten('channels_first')(x)")),
    "Permute": (SEQUENCE, ("Permute((2, 1))(x)", "Permute((1, 2))(x)")),
    "RepeatVector": (ROW, ("RepeatVector(2)(x)", "RepeatVector(3)(x)")),
    "Reshape": (SEQUENCE, ("Reshape((4, 6))(x)", "Reshape((-1, 2))(x)")),
    "UpSampling1D": (SEQUENCE, ("UpSampling1D()(x)", "UpSampling1D(3)(x)")),
    "UpSampling2D": (IMAGE, ("UpSampling2D()(x)", "UpSampling2D((1, 2), interpolation='bilinear')(x)")),
    "UpSampling3D": (VOLUME, ("UpSampling3D()(x)", "UpSampling3D((1, 2, 1))(x)")),
    "ZeroPadding1D": (SEQUENCE, ("ZeroPadding1D()(x)", "ZeroPadding1D((0, 2))(x)")),
    "ZeroPadding2D": (IMAGE, ("ZeroPadding2D()(x)", "ZeroPadding2D(((1, 2), (0, 1)))(x)")),
    "ZeroPadding3D": (VOLUME, ("ZeroPadding3D()(x)", "ZeroPadding3D((1, 2, 0))(x)")),
    # recurrence
    "Bidirectional": (SEQUENCE, ("Bidirectional(LSTM(2))(x)",
                                 "Bidirectional(GRU(2), merge_mode='sum', backward_layer=GRU(2, go_backwards=True))(x)")),
    "ConvLSTM1D": (FILMS[:3], ("ConvLSTM1D(2, 3)(x)", "ConvLSTM1D(2, 2, return_sequences=True, dropout=0.2)(x)")),
    "ConvLSTM2D": (FILMS, ("ConvLSTM2D(2, 3)(x)", "ConvLSTM2D(2, 2, strides=2, recurrent_dropout=0.2)(x)")),
    "ConvLSTM3D": ((2, 4, 4, 4, 1), ("ConvLSTM3D(2, 3)(x)", "ConvLSTM3D(2, 2, padding='same', go_backwards=True)(x)")),
    "GRU": (SEQUENCE, ("GRU(3)(x)", "GRU(3, reset_after=False, recurrent_dropout=0.2, return_sequences=True)(x)")),
    "GRUCell": (SEQUENCE, ("RNN(GRUCell(3))(x)", "RNN(GRUCell(3, dropout=0.2, seed=1), unroll=True)(x)")),
    "LSTM": (SEQUENCE, ("LSTM(3)(x)", "LSTM(3, dropout=0.2, unit_forget_bias=False, go_backwards=True)(x)")),
    "LSTMCell": (SEQUENCE, ("RNN(LSTMCell(3))(x)", "RNN(LSTMCell(3, recurrent_dropout=0.2), return_sequences=True)(x)")),
    "RNN": (SEQUENCE, ("RNN(SimpleRNNCell(3))(x)", "RNN([GRUCell(3), LSTMCell(2)])(x)")),
    "SimpleRNN": (SEQUENCE, ("SimpleRNN(3)(x)", "SimpleRNN(3, unroll=True, activation='relu')(x)")),
    "SimpleRNNCell": (SEQUENCE, ("RNN(SimpleRNNCell(3))(x)", "RNN(SimpleRNNCell(3, activation='relu', dropout=0.2))(x)")),
    "StackedRNNCells": (SEQUENCE, ("RNN(StackedRNNCells([GRUCell(3), GRUCell(2)]))(x)",
                                   "RNN(StackedRNNCells([LSTMCell(3, dropout=0.2), SimpleRNNCell(2)]))(x)")),
    "TimeDistributed": (SEQUENCE, ("TimeDistributed(Dense(2))(x)", "TimeDistributed(adapted(Normalization()))(x)")),
}  # fmt: skip
