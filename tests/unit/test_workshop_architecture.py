"""The check of Keras configs as plain data."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from federated_training.engines.keras import architecture
from federated_training.problems import FieldError


def _model(*layers: dict[str, Any], **more: Any) -> str:
    return json.dumps({"class_name": "Sequential", "module": "keras", "config": {"layers": list(layers)}, **more})


def _layer(class_name: str, module: str | None = "keras.layers", /, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "module": module, "config": config, "registered_name": None}


def test_known_layers_pass_and_compile_settings_are_left_out() -> None:
    """A plain model passes, without its compile settings."""
    parsed = architecture.parse(_model(_layer("Dense", units=3), compile_config={"optimizer": "adam"}))
    assert "compile_config" not in parsed
    inner = {**json.loads(_model(_layer("Dense", units=3))), "compile_config": {"optimizer": "adam"}}
    parsed = architecture.parse(_model(inner | {"compile_config": {}}, inner))
    assert "compile_config" not in json.dumps(parsed)
    parsed = architecture.parse(_model(_layer("Dense", units=3)))
    assert [layer["class_name"] for layer in parsed["config"]["layers"]] == ["Dense"]


def test_tensorflow_names_of_activations_become_keras_names() -> None:
    """`tf.nn.softmax`, which Keras could not read back, becomes softmax."""
    function = {"module": "builtins", "class_name": "function", "config": "softmax_v2", "registered_name": "function"}
    parsed = architecture.parse(_model(_layer("Dense", units=3, activation=function)))
    assert parsed["config"]["layers"][0]["config"]["activation"] == "softmax"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "to_json"),
        (json.dumps({"class_name": "MyModel", "config": {}}), "only Sequential and Functional"),
        (_model(_layer("Lambda", function={"class_name": "__lambda__", "config": {"value": "x"}})), "Lambda"),
        (_model(_layer("Activation", activation={"class_name": "__lambda__", "config": {}})), "Lambda"),
        (_model(_layer("TFSMLayer", filepath="/x")), "TFSMLayer"),
        (_model(_layer("StringLookup", vocabulary="/etc/passwd")), "StringLookup"),
        (_model(_layer("Dense", "os", units=1)), "'Dense' (of os)"),
        (_model(_layer("system", "os")), "system"),
        (_model(_layer("get_file", "keras.utils")), "get_file"),
        (_model({**_layer("Dense"), "registered_name": "evil>Dense"}), "custom object"),
        (_model(_layer("Dense", activation={"class_name": "function", "config": "system", "module": "os"})), "system"),
        (_model({"class_name": "__typespec__", "spec_name": "x", "config": []}), "__typespec__"),
        (_model(_layer("SimpleRNN", stateful=True, name="memory")), "The layer 'memory' is stateful"),
        (_model(_layer("Bidirectional", layer=_layer("LSTM", stateful=True, name="inner"))), "'inner' is stateful"),
        (_model(_layer("Discretization", num_bins=3, bin_boundaries=None, name="bins")), "'bins' has no bin_bound"),
        (_model(_layer("Dense", name="q", dtype=_layer("QuantizedDTypePolicy", "keras"))), "of the run (layer 'q')"),
        (_model(_layer("TFOpLambda", function="math.multiply")), "TensorFlow 2's Keras"),
        (_model(_layer("Rescaling", scale=float("inf"), name="scale")), "holds inf (layer 'scale')"),
        (_model(_layer("Dense", units=1e999)), "must be finite"),
        (_model(_layer("RepeatVector", n=2**62, name="many")), "holds 4611686018427387904 (layer 'many')"),
        (_model(_layer("Dense", units=-(2**53))), "must be below 2^53"),
        (_model(_layer("Dense", batch_input_shape=[None, 2], activation="hard_sigmoid", name="d")), "'d' uses hard"),
        (_model(_layer("LSTM", batch_input_shape=[None, 2, 2], time_major=True)), "time_major=True"),
    ],
)
def test_what_is_not_a_known_part_is_refused_in_a_sentence(text: str, says: str) -> None:
    """Everything outside of the allow list is refused by name, before Keras sees it."""
    with pytest.raises(FieldError) as caught:
        architecture.parse(text)
    assert says in caught.value.message
    assert caught.value.field == "config"


def test_deep_and_large_configs_are_refused() -> None:
    """Nesting and size have limits."""
    deep: dict[str, Any] = {}
    for _ in range(architecture.MAX_DEPTH + 1):
        deep = {"a": deep}
    with pytest.raises(FieldError, match="nested"):
        architecture.parse(_model(_layer("Dense", x=deep)))
    with pytest.raises(FieldError, match="larger"):
        architecture.parse(" " * (architecture.MAX_BYTES + 1))


_NAMES = ["class_name", "config", "module", "layers", "registered_name", "compile_config", "batch_input_shape", "name",
          "inbound_nodes", "axis", "output_layers", "stateful"]  # fmt: skip
_JSON = st.recursive(
    st.sampled_from([None, True, 7, float("inf"), "Dense", "function", "Sequential", "Functional", "keras.layers"]),
    lambda child: st.lists(child, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), child),
    max_leaves=12,
)


@settings(max_examples=200)
@given(_JSON)
@example({"batch_input_shape": None, "class_name": "Functional", "config": {"layers": True}})
def test_any_json_is_parsed_or_refused(value: object) -> None:
    """No JSON makes the check raise anything but its own error."""
    with contextlib.suppress(FieldError):
        architecture.parse(json.dumps(value))
    with contextlib.suppress(FieldError):
        architecture.parse(json.dumps({"class_name": "Functional", "config": {"layers": value}}))
