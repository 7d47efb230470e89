"""The workshop as the backend runs it: one process, JSON in and out, files in a private directory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from federated_training.workshop.sandbox import confine

pytestmark = pytest.mark.training
needs_landlock = pytest.mark.skipif(confine.why_not() is not None, reason=str(confine.why_not()))

_MODEL = "model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(2)])"


def run(request: dict[str, Any]) -> Any:
    """Start the workshop with the environment of a stranger, and its answer."""
    done = subprocess.run(
        [sys.executable, "-m", "federated_training.workshop"],
        input=json.dumps(request).encode(), capture_output=True, timeout=300, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), "SECRET": "never shown"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def run_all(operations: list[dict[str, Any]], **limits: int) -> list[Any]:
    """Several operations with one start."""
    return list(run({"ops": operations, "limits": limits})["answers"])


def _build(directory: Path, **request: Any) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    return {"op": "build", "dir": str(directory), **request}


def _source(directory: Path, code: str, imports: str = "import tensorflow as tf") -> dict[str, Any]:
    return _build(directory, kind="source", source={"imports": imports, "code": code}, seed=1)


def _keras_file(path: Path, config: dict[str, Any], weights: dict[str, Any], members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, value in weights.items():
            file[name] = value
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", members.get("weights", buffer.getvalue()))
        for name, content in members.items():
            if name != "weights":
                archive.writestr(name, content)


def test_every_template_builds_and_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Templates build with their defaults and parameters, bad parameters are named, and seeds decide the weights."""
    templates: list[tuple[str, dict[str, Any]]] = [
        ("mlp", {}), ("mlp", {"units": [16, 8], "classes": 3, "dropout": 0.5, "input_shape": [4, 4]}),
        ("cnn", {}), ("cifar10_cnn", {}), ("lenet", {}), ("lenet", {"input_shape": [784]}),
        ("mlp", {"units": [65536] * 40}), ("mlp", {"units": "many"}), ("mlp", {"unit": [3]}), ("resnet", {}),
    ]  # fmt: skip
    operations = [
        _build(tmp_path / str(index), kind="template", template={"name": name, "params": params}, seed=5)
        for index, (name, params) in enumerate(templates)
    ]
    operations += [
        _build(tmp_path / "again", kind="template", template={"name": "mlp", "params": {}}, seed=5),
        _build(tmp_path / "other", kind="template", template={"name": "mlp", "params": {}}, seed=6),
    ]
    answers = run_all(operations)
    assert [answer["ok"] for answer in answers] == [True] * 6 + [False] * 4 + [True] * 2
    mlp, small, cnn, cifar, lenet, flat = answers[:6]
    assert mlp["input"] == {"shape": [784], "dtype": "float32"} and mlp["output"]["shape"] == [10]
    assert mlp["params"] == 784 * 128 + 128 + 1280 + 10
    assert small["input"]["shape"] == [4, 4] and small["output"]["shape"] == [3]
    assert cnn["input"]["shape"] == [784] and cifar["input"]["shape"] == [32, 32, 3]
    assert lenet["input"]["shape"] == [28, 28, 1] and flat["input"]["shape"] == [784]
    assert lenet["params"] == flat["params"] == 61_706
    assert mlp["layers"][0] == {"name": "hidden_1", "class": "Dense", "output_shape": [None, 128], "params": 100_480}
    errors = [answer["error"] for answer in answers[6:10]]
    assert [error["field"] for error in errors] == [
        "template.params", "template.params.units", "template.params.unit", "template.name"
    ]  # fmt: skip
    assert "167,558,381,578 parameters" in errors[0]["message"]
    digests = [
        hashlib.sha256((tmp_path / name / "weights.npz").read_bytes()).digest() for name in ("0", "again", "other")
    ]
    assert digests[0] == digests[1] != digests[2]
    with np.load(tmp_path / "0" / "weights.npz", allow_pickle=False) as arrays:
        assert [list(arrays[f"t{i:04d}"].shape) for i in range(4)] == [t["shape"] for t in mlp["tensors"]]


def test_a_model_is_checked_exported_run_and_read_back(tmp_path: Path) -> None:
    """Build, check its training, export it, predict; then build from the exported file, and from its JSON config."""
    common: dict[str, Any] = {"dir": str(tmp_path)}
    built = run(_build(tmp_path, kind="template", template={"name": "mlp", "params": {"input_shape": [4]}}, seed=2))
    model = {"architecture": built["architecture"], "weights": "weights.npz"}
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 12, dtype="float32").reshape(3, 4))
    np.save(tmp_path / "bad.npy", np.zeros((3, 5), "float32"))
    np.save(tmp_path / "object.npy", np.array([{}]), allow_pickle=True)
    labels: dict[str, Any] = {"shape": [4], "label_shape": [10], "classes": 10}
    common["input"] = labels
    fine = {"optimizer": "sgd", "loss": "categorical_crossentropy", "metrics": ["accuracy"], "learning_rate": 0.1}
    answers = run_all(
        [
            {**common, "op": "check_training", **model, "training": fine},
            {**common, "op": "check_training", **model, "training": {**fine, "optimizer": "magic"}},
            {**common, "op": "check_training", **model, "training": {**fine, "loss": "nope"}},
            {**common, "op": "check_training", **model, "training": {**fine, "metrics": ["nope"]}},
            {**common, "op": "check_training", **model, "training": fine, "input": {**labels, "label_shape": [7]}},
            {**common, "op": "check_training", **model, "training": {**fine, "learning_rate": -1.0}},
            {**common, "op": "export", **model, "out": "model.keras"},
            {**common, "op": "export", **model, "out": "../model.keras"},
            {**common, "op": "predict", **model, "inputs": "x.npy", "out": "y.npy"},
            {**common, "op": "predict", **model, "inputs": "bad.npy", "out": "z.npy"},
            {**common, "op": "predict", **model, "inputs": "object.npy", "out": "z.npy"},
            {**common, "op": "dance"},
        ]
    )
    settings = [f"training.{name}" for name in ("optimizer", "loss", "metrics", "loss", "learning_rate")]
    wanted = [None, *settings, None, "out", None, "inputs", "inputs", "op"]
    assert [answer.get("error", {}).get("field") for answer in answers] == wanted, answers
    assert np.allclose(np.load(tmp_path / "y.npy").sum(axis=1), 1.0)
    before = (tmp_path / "weights.npz").read_bytes()
    answers = run_all(
        [
            _build(tmp_path, kind="keras", file="model.keras"),
            {**common, "op": "export", **model, "out": "again.keras"},
            _build(tmp_path / "json", kind="json", config=built["architecture"], seed=2),
        ]
    )
    assert [answer["ok"] for answer in answers] == [True] * 3, answers
    assert answers[0]["architecture"] == answers[2]["architecture"] == built["architecture"]
    assert (tmp_path / "weights.npz").read_bytes() == (tmp_path / "json" / "weights.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.h5"))


def _legacy(name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": name, "config": {"name": name.lower(), "trainable": True, "dtype": "float32", **config}}


def test_what_kafka_ml_s_users_have_is_understood(tmp_path: Path) -> None:
    """Configs of TensorFlow 2's Keras, functional models with branches, and compile settings with a schedule."""
    dense = _legacy("Dense", units=3, activation="relu",
                    kernel_initializer={"class_name": "GlorotUniform", "config": {"seed": None}})  # fmt: skip
    inputs = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "i"}}
    old = {"class_name": "Sequential", "config": {"name": "s", "layers": [inputs, dense]}, "keras_version": "2.8.0"}
    code = """
i = tf.keras.Input((6, 6, 1))
x = tf.keras.layers.Conv2D(4, 3, activation=tf.nn.relu)(i)
y = tf.keras.layers.Conv2D(4, 3, padding="same")(x)
z = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.ops.relu(tf.keras.layers.Add()([x, y])) + x * 2.0)
z = tf.keras.layers.Bidirectional(tf.keras.layers.LSTM(3))(tf.keras.layers.Reshape((2, 2))(z))
model = tf.keras.Model(i, tf.keras.layers.Dense(10, activation=tf.nn.softmax)(z))
model.compile(
    tf.keras.optimizers.SGD(0.05, momentum=0.9), loss=tf.keras.losses.SparseCategoricalCrossentropy(),
    metrics=[tf.keras.metrics.SparseTopKCategoricalAccuracy(k=2), "accuracy"])
"""
    lost = """
model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3)])
schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
model.compile(tf.keras.optimizers.SGD(schedule), tf.keras.losses.Huber(delta=5.0), weighted_metrics=["mae"])
"""
    operations = [_build(tmp_path / "old", kind="json", config=json.dumps(old))]
    if confine.why_not() is None:
        operations += [_source(tmp_path / "code", code), _source(tmp_path / "lost", lost)]
    answers = run_all(operations)
    assert all(answer["ok"] for answer in answers), answers
    assert answers[0]["input"]["shape"] == [4] and answers[0]["params"] == 15
    for answer in answers[1:2]:
        assert answer["compile"] == {
            "optimizer": {"class_name": "SGD", "config": {"momentum": 0.9}}, "learning_rate": 0.05,
            "loss": "sparse_categorical_crossentropy", "lost": {},
            "metrics": [{"class_name": "SparseTopKCategoricalAccuracy", "config": {"k": 2}}, "accuracy"],
        }  # fmt: skip
        training = {name: value for name, value in answer["compile"].items() if name != "lost"}
        labels = {"shape": [6, 6, 1], "label_dtype": "int64", "classes": 10}
        checked = run({"op": "check_training", "dir": str(tmp_path), "architecture": answer["architecture"],
                       "training": training, "input": labels})  # fmt: skip
        assert checked == {"ok": True}
    for answer in answers[2:]:
        assert answer["compile"]["loss"] == {"class_name": "Huber", "config": {"delta": 5.0}}
        why = answer["compile"]["lost"]
        assert "the schedule ExponentialDecay, which would start anew in each round" in why["optimizer"]
        assert "weighted_metrics (mae)" in why["metrics"]
        assert why["metrics"].endswith("give metrics for the deployment.")


def test_hostile_keras_files_are_refused(tmp_path: Path) -> None:
    """Bombs, foreign members, links, wrong weights, code and references to files are refused with a sentence."""
    dense = {
        "class_name": "Dense",
        "module": "keras.layers",
        "registered_name": None,
        "config": {"units": 2, "name": "d"},
    }
    inputs = {"class_name": "InputLayer", "module": "keras.layers", "registered_name": None,
              "config": {"batch_shape": [None, 4], "name": "i"}}  # fmt: skip

    def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
        return {"class_name": "Sequential", "module": "keras", "config": {"name": "s", "layers": list(layers)}}

    good = sequential(inputs, dense)
    kernel = {"layers/dense/vars/0": np.ones((4, 2), "float32"), "layers/dense/vars/1": np.zeros(2, "float32")}
    lambda_layer = {"class_name": "Lambda", "module": "keras.layers", "config": {}}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, bytes], str | None]] = {
        "good": (good, kernel, {}, None),
        "bomb": (good, kernel, {"weights": bytes(200 << 20)}, "would unfold"),
        "member": (good, kernel, {"evil.py": b"x"}, "evil.py"),
        "lambda": (sequential(inputs, lambda_layer, dense), kernel, {}, "Lambda"),
        "link": (good, {"layers/dense/vars/0": h5py.ExternalLink("/etc/passwd", "/x")}, {}, "link"),
        "huge": (good, {**kernel, "more": np.random.default_rng(0).random(8 << 20, "float32")}, {}, "far larger"),
        "shape": (good, {**kernel, "layers/dense/vars/0": np.ones((5, 2), "float32")}, {}, "do not fit"),
        "nothing": (good, {}, {}, "do not fit"),
        "open": (sequential(dense), kernel, {}, "input shape"),
    }
    operations = []
    for name, (config, weights, members, _) in cases.items():
        _build(tmp_path / name)
        _keras_file(tmp_path / name / "model.keras", config, weights, members)
        operations.append(_build(tmp_path / name, kind="keras", file="model.keras"))
    (tmp_path / "good" / "link.keras").symlink_to(tmp_path / "good" / "model.keras")
    operations.append(_build(tmp_path / "good", kind="keras", file="link.keras"))
    (tmp_path / "good" / "text.keras").write_text("no archive")
    operations.append(_build(tmp_path / "good", kind="keras", file="text.keras"))
    answers = run_all(operations)
    expected = [*(case[3] for case in cases.values()), "link", "neither a .keras archive"]
    for says, answer, operation in zip(expected, answers, operations, strict=True):
        assert answer["ok"] == (says is None), (operation, answer)
        if says is not None:
            assert says in answer["error"]["message"] and answer["error"]["field"] == "file"


@needs_landlock
def test_source_runs_confined_and_every_misdeed_is_a_clear_error(tmp_path: Path) -> None:
    """Good source gives a model; source that loops, forks, spies, talks, hoards or crashes is ended and explained."""
    secret = tmp_path / "settings.env"
    secret.write_text("SECRET=1")
    compiled = f"{_MODEL}\nmodel.compile('sgd', 'mse', metrics=['mae'])"
    cases: list[tuple[str, str | None]] = [
        (f"import sys\nprint('{{\"ok\": 1}}' * 100000)\nsys.stderr.write('x' * 100000)\n{compiled}", None),
        ("import os\nos.setsid()", "line 2: PermissionError"),
        ("import os\nwhile True: os.fork()", "line 2: PermissionError"),
        (f"print(open({str(secret)!r}).read())", "line 1: PermissionError"),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "line 2: PermissionError"),
        ("rows = []\nwhile True: rows.append(bytearray(10_000_000))", "memory"),
        ("open('/tmp/mainstem-was-here', 'w')", "line 1: PermissionError"),
        ("y = 1\n1 / 0", "line 2: ZeroDivisionError"),
        ("model = Foo(", "line 1: SyntaxError"),
        ("import os\nos._exit(3)", "ended with status 3"),
        ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
        (_MODEL.replace("])", ", tf.keras.layers.Lambda(lambda x: x)])"), "Lambda"),
        ("class M(tf.keras.Model): pass\nmodel = M()", "no input shape"),
        ("y = 3", "named `model`"),
        ("import os\nopen('answer.json', 'w').write('[' * 100000)\nos._exit(0)", "something other than a model"),
        (
            f"import os\n{_MODEL}\nopen('answer.json', 'w').write('{{\"architecture\": \"os\"}}')\nos._exit(0)",
            "not JSON",
        ),
    ]
    operations = [
        _source(tmp_path / str(index), code, "import tensorflow as tf" if "tf." in code else "")
        for index, (code, _) in enumerate(cases)
    ]
    operations.append(_source(tmp_path / "imports", _MODEL, imports="import tensorflow as tf\nimport nowhere"))
    answers = run_all(operations, seconds=590, source_seconds=40, memory_mb=3000)
    for (code, says), answer in zip(cases, answers, strict=False):
        assert answer["ok"] == (says is None), (code, answer)
        if says is not None:
            assert says in answer["error"]["message"], answer
    assert answers[0]["compile"]["optimizer"] == "sgd" and answers[0]["compile"]["loss"] == "mean_squared_error"
    assert answers[0]["compile"]["metrics"] == ["mean_absolute_error"]
    assert answers[7]["error"] == {"field": "source.code", "message": answers[7]["error"]["message"], "line": 2}
    assert answers[-1]["error"]["field"] == "source.imports" and answers[-1]["error"]["line"] == 2
    assert not Path("/tmp/mainstem-was-here").exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


@needs_landlock
def test_the_model_of_kafka_ml_s_readme_needs_no_imports_and_bad_answers_are_refusals(tmp_path: Path) -> None:
    """`tf`, `keras` and `np` are at hand; a directory as answer and damaged weights are refused, infinity is told."""
    readme = """
model = tf.keras.models.Sequential([
      tf.keras.layers.Flatten(input_shape=(28, 28)),
      tf.keras.layers.Dense(128, activation=tf.nn.relu),
      tf.keras.layers.Dense(10, activation=tf.nn.softmax)
])

model.compile(
    optimizer=keras.optimizers.Adam(clipnorm=float(CLIP)),
    loss='sparse_categorical_crossentropy',
    metrics=['accuracy'],
)
"""
    damaged = (
        f"{_MODEL}\nimport io, os, json, zipfile\n"
        "open('answer.json', 'w').write(json.dumps({'architecture': model.to_json()}))\n"
        "with zipfile.ZipFile('weights.npz', 'w') as z:\n"
        "    for i in range(2): z.writestr(f't000{i}.npy', b'\\x93NUMPY\\x01\\x00\\x10\\x00{]' + bytes(14))\n"
        "os._exit(0)"
    )
    operations = [
        _source(tmp_path / str(number), code, imports="")
        for number, code in enumerate(
            [
                readme.replace("CLIP", "1"),
                readme.replace("CLIP", "'inf'"),
                damaged,
                "import os\nos.mkdir('answer.json')\nos._exit(0)",
            ]
        )
    ]
    good, endless, *refused = run_all(operations, seconds=590)
    assert good["ok"] and good["input"]["shape"] == [28, 28] and good["params"] == 101_770, good
    assert "Adam: clipnorm is inf; it must be" in endless["compile"]["lost"]["optimizer"]
    says = ("cannot be read", "before it left a model")
    assert all(part in answer["error"]["message"] for part, answer in zip(says, refused, strict=True)), refused


@pytest.mark.parametrize(
    "request_", [{}, {"dir": "relative"}, {"dir": "/nowhere"}, {"ops": [3]}, {"limits": 3, "dir": "/tmp"}]
)
def test_requests_without_sense_get_an_error_answer(request_: dict[str, Any]) -> None:
    """What is not a request is answered at once, before TensorFlow starts."""
    answer = run(request_)
    assert answer["ok"] is False
    assert answer["error"]["message"].endswith(".")


def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """The wall limit ends the process with an error answer."""
    answer = run({**_build(tmp_path, kind="template", template={"name": "mlp"}), "limits": {"seconds": 1}})
    assert "more than 1 seconds" in answer["error"]["message"]
