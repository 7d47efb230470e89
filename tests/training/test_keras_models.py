"""What Keras' own serialiser writes comes back as the same model: nested, shared, adapted, and of other versions."""

from __future__ import annotations

import gc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated_training.engines.keras import architecture, runtime
from federated_training.problems import FieldError

pytestmark = pytest.mark.training

KERAS_2 = Path(__file__).parent / "keras2"


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras, with the settings of a Job."""
    runtime.prepare(Path("/nonexistent"))
    import keras as module

    gc.collect()
    gc.freeze()  # else each clear_session looks at TensorFlow's million objects
    return module


def sent(model: Any) -> Any:
    """The model as a client has it: from JSON and weights alone."""
    from federated_training.engines.keras import models

    rebuilt = models.build(models.describe(model)["architecture"], seed=1)
    models.set_weights(rebuilt, models.weights_of(model))
    return rebuilt


def same(model: Any, other: Any, x: Any) -> bool:
    """Whether both give the same bits."""
    return np.array_equal(model(x, training=False), other(x, training=False))


def adapted(keras: Any, shape: tuple[int, ...]) -> Any:
    """A `Normalization` that has seen samples of this shape."""
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(3).normal(5, 3, (20, *shape)).astype("float32"))
    return layer


def nested(keras: Any) -> Any:
    """Functional in Sequential in Functional; the inner ones with and without compile settings."""
    layers = keras.layers
    x = keras.Input((4,))
    inner = keras.Model(x, layers.Concatenate()([adapted(keras, (4,))(x), layers.Dense(2)(x)]))
    inner.compile(keras.optimizers.Adam(0.1), "mse", metrics=["mae"])
    middle = keras.Sequential([keras.Input((4,)), inner, layers.Dropout(0.2), layers.Dense(4, activation="relu")])
    y = keras.Input((4,))
    return keras.Model(y, layers.Dense(2)(middle(layers.Dense(4)(y)) + keras.ops.tanh(middle(y))))


def shared(keras: Any) -> Any:
    """One layer called three times, and a shared model."""
    layers = keras.layers
    x = keras.Input((4,))
    dense, model = layers.Dense(4, activation="selu"), keras.Sequential([keras.Input((4,)), layers.Dense(4)])
    return keras.Model(x, layers.Dense(1)(layers.Add()([dense(dense(x)), dense(model(x)), model(model(x))])))


def transferred(keras: Any) -> Any:
    """Transfer learning, as Kafka-ML's VGG16 example has it."""
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    base.trainable = False
    return keras.Sequential([keras.Input((32, 32, 3)), base, keras.layers.Flatten(), keras.layers.Dense(2)])


def scaled(keras: Any) -> Any:
    """The layers that keras.applications keeps to itself, of ConvNeXt and of InceptionResNetV2."""
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    x = keras.Input((4,))
    return keras.Model(x, LayerScale(0.5, 4)(CustomScaleLayer(0.3)([x, keras.layers.Dense(4)(x)])))


def lora(keras: Any) -> Any:
    """A dense layer of which two thin matrices alone are trained."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="thick"), keras.layers.Dense(2)])
    model.get_layer("thick").enable_lora(2)
    return model


def mixed(keras: Any) -> Any:
    """Mixed precision, with a layer of its own precision."""
    policy = keras.mixed_precision.Policy("mixed_float16")
    layers = [keras.layers.Dense(5, dtype=policy), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((4,)), *layers])


@pytest.mark.parametrize("make", [nested, shared, transferred, scaled, lora, mixed])
def test_a_model_sent_as_data_is_the_same_model(keras: Any, make: Callable[[Any], Any]) -> None:
    """Same outputs to the bit, and a second sending changes nothing, the names of weights included."""
    from federated_training.engines.keras import models

    model = make(keras)
    x = np.random.default_rng(1).normal(size=(3, *model.input_shape[1:])).astype("float32")
    once = sent(model)
    twice = sent(once)
    assert same(model, once, x) and same(model, twice, x)
    assert models.tensors_of(once) == models.tensors_of(twice)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("MobileNetV3Small", 32), ("EfficientNetV2B0", 32), ("ResNet50V2", 32), ("ConvNeXtTiny", 32), ("Xception", 71),
    ],
)  # fmt: skip
def test_keras_applications_inside_a_model_pass_the_check(keras: Any, name: str, size: int) -> None:
    """The parts of the zoo's families, of which some are in no other model."""
    with keras.StatelessScope(initialize_variables=False):  # of no use but its structure
        base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(size, size, 3))
        text = keras.Sequential([keras.Input((size, size, 3)), base, keras.layers.GlobalMaxPooling2D()]).to_json()
    assert "compile_config" not in str(architecture.parse(text))


def test_what_a_layer_derives_from_its_weights_follows_them_in_compiled_functions_too(keras: Any) -> None:
    """A mean that changes from round to round is what training and evaluation compute with."""
    from federated_training.engines.keras import models, state, training

    normal = keras.layers.TimeDistributed(adapted(keras, (2,)))
    model = keras.Sequential([keras.Input((3, 2)), normal, keras.layers.Flatten(), keras.layers.Dense(1)])
    training.compile_model(model, {"optimizer": "sgd", "loss": "mean_squared_error"})
    x, y = np.full((4, 3, 2), 6.0, "float32"), np.ones((4, 1), "float32")
    before = models.weights_of(model)
    first = model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)[0, 0]
    model.train_on_batch(x, y)
    trained = models.weights_of(model)
    state.assign(model, [array * 2 if array.dtype.kind == "f" else array for array in before])
    other = model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)[0, 0]
    fresh = sent(model)
    training.compile_model(fresh, {"optimizer": "sgd", "loss": "mean_squared_error"})
    assert other == (fresh.evaluate(x, y, verbose=0), fresh.predict(x, verbose=0)[0, 0]) != first
    state.assign(model, before)
    model.train_on_batch(x, y)
    assert all(map(np.array_equal, trained, models.weights_of(model)))


def test_the_download_of_an_adapted_model_is_the_model_that_is_served(keras: Any, tmp_path: Path) -> None:
    """`load_model` of the `.keras` file computes what a client computes."""
    from federated_training.workshop import files

    model = sent(nested(keras))
    files.write_keras(model, tmp_path / "model.keras")
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    assert same(model, keras.models.load_model(tmp_path / "model.keras"), x)


@pytest.mark.parametrize("path", sorted({*KERAS_2.glob("*.keras"), *KERAS_2.glob("*.h5")}), ids=lambda path: path.name)
def test_files_of_tensorflow_2_s_keras_give_the_outputs_that_it_gave(keras: Any, path: Path, tmp_path: Path) -> None:
    """Adapted, nested, bidirectional, with attention: `keras2/make.py` made them with the versions in their names."""
    from federated_training.workshop import files

    copy = tmp_path / "model.keras"
    copy.write_bytes(path.read_bytes())
    model, compiled = files.open_saved(copy, 100_000)
    version, name = path.stem.split("-", 2)[1:]
    with np.load(KERAS_2 / f"keras-{version}.npz") as kept:
        assert np.allclose(model(kept["inputs"]), kept[name], atol=1e-6)
    assert (compiled is None) == (name == "stack")
    assert sorted(tmp_path.iterdir()) == [copy]


def test_files_that_cannot_be_trained_are_refused_with_the_way_out(keras: Any, tmp_path: Path) -> None:
    """Weights alone, LoRA that the saving took out, and a file that is neither."""
    from federated_training.workshop import files

    model = lora(keras)
    model.save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "b.keras")
    (tmp_path / "c.keras").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    (tmp_path / "d.keras").write_bytes(b"PK\x03\x04")
    for name, says in (
        ("a.weights.h5", "save both with model.save"), ("b.keras", "LoRA matrices of the layer 'thick'"),
        ("c.keras", "cannot be read"), ("d.keras", "neither a .keras archive"),
    ):  # fmt: skip
        with pytest.raises(FieldError, match=says):
            files.open_saved(tmp_path / name, 100_000)


@pytest.mark.parametrize(
    "header",
    [b"{'descr': '<f4', ]", b"(" * 200, b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", b"\xff\xfe", b""],
)
def test_arrays_with_damaged_headers_are_refused(header: bytes, tmp_path: Path) -> None:
    """Whatever NumPy's parser raises (SyntaxError, TokenError, ...), and a directory in the file's place."""
    from federated_training.workshop import files

    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)
    (tmp_path / "x.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("t0000.npy", content)
    (tmp_path / "folder").mkdir()
    for name in ("x.npy", "folder"):
        with pytest.raises(FieldError, match="cannot be read"):
            files.load_inputs(tmp_path / name, (1,), "float32")
    for name in ("w.npz", "folder", "x.npy"):
        with pytest.raises(FieldError, match="cannot be read"):
            files.load_arrays(tmp_path / name, 1, 1000)


def test_what_no_update_changes_is_marked(keras: Any) -> None:
    """A frozen layer's weights, those of layers inside and BatchNorm's statistics there too, do not change in training;
    BatchNorm's statistics elsewhere change without a gradient."""
    from federated_training.engines.keras import models

    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    inner.trainable = False
    layers = [inner, keras.layers.Dense(3, trainable=False), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    before = [np.array(weight) for weight in models.weights_of(model)]
    marked = models.tensors_of(model)
    kinds = ["frozen" if "frozen" in t else "untrained" if "untrained" in t else "trained" for t in marked]
    assert kinds == ["frozen"] * 8 + ["trained"] * 2 + ["untrained"] * 2 + ["trained"] * 2
    model.compile("sgd", "mse")
    random = np.random.default_rng(1)
    model.fit(random.normal(size=(64, 4)) + 3, random.normal(size=(64, 2)), verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, models.weights_of(model), strict=True)]
    assert changed == [kind != "frozen" for kind in kinds]
