"""Every optimizer, loss and metric that Keras exports is kept whole, trains and proves, or is refused by name."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from mainstem.jobs.compiling import LOSS, METRIC, OPTIMIZER, SettingError, check_training, parse, values_of
from mainstem.jobs.compiling.bounds import ARGUMENTS, OF_CLASS
from mainstem.jobs.compiling.specs import REFUSED, names, table
from tests.training import generate, keras_page
from tests.training.bench import Bench, samples
from tests.training.cases import Case, cases

pytestmark = pytest.mark.training

KINDS = (LOSS, METRIC, OPTIMIZER)


def _true(case: Case) -> Any:
    """The object as a person would make it."""
    import keras

    config = {name: float(value) if name == "beta" else value for name, value in case.config.items()}
    return getattr(getattr(keras, case.kind), case.name)(**config)


def _model(**compiled: Any) -> Any:
    import keras

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, activation="softmax")])
    model.compile(**{"optimizer": "sgd", "loss": "mse"} | compiled)
    return model


def test_the_table_is_what_keras_exports() -> None:
    """The data that the backend checks names by are those of the Keras that is installed."""
    assert generate.TABLE.read_text("utf-8") == generate.text(generate.table())


def test_the_page_is_what_settings_are_checked_by() -> None:
    """`docs/keras.md` lists every class, its arguments and bounds, and says of each metric where it has no value."""
    from federated_training.engines.keras import metrics

    text = generate.PAGE.read_text("utf-8")
    assert text == keras_page.page(text)
    assert set(keras_page.UNDEFINED) == {*metrics._RULES, *metrics._COUNTS, "R2Score"}


def test_every_argument_has_bounds_and_every_class_its_cases() -> None:
    """Nothing that Keras exports is forgotten."""
    for kind in KINDS:
        assert set(REFUSED[kind]) <= set(table()[kind])
        for name in names(kind):
            for argument in table()[kind][name]["arguments"]:
                assert argument in ARGUMENTS or (name, argument) in OF_CLASS, (name, argument)
        assert {case.name for case in cases(kind)} == set(names(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_what_no_federation_can_use_is_refused_with_a_sentence(kind: str) -> None:
    """The rest of what Keras exports."""
    for name in REFUSED[kind]:
        with pytest.raises(SettingError, match=re.escape(name)):
            parse(kind, {"class_name": name, "config": {}})


@pytest.mark.parametrize("case", [case for kind in KINDS for case in cases(kind)], ids=str)
def test_what_a_model_was_compiled_with_is_kept(case: Case) -> None:
    """Whatever its `get_config` forgets: made anew from what is stored as JSON, it gives the same values."""
    from federated_training.engines.keras import settings
    from federated_training.engines.keras.training import make

    true = _true(case)
    field = {LOSS: "loss", OPTIMIZER: "optimizer"}.get(case.kind, "metrics")
    found = settings.of_model(_model(**{field: [true] if case.kind == METRIC else true}))
    assert found is not None and found["lost"] == {}, found
    assert settings.checked(json.loads(json.dumps(found))) == found
    stored = found[field][0] if case.kind == METRIC else found[field]
    spec = parse(case.kind, stored)
    assert spec.name == case.name
    rate = {"learning_rate": found["learning_rate"]} if case.kind == OPTIMIZER else {}
    kept = spec.config | rate
    required = {name: case.config[name] for name in table()[case.kind][case.name]["required"]}
    default = _true(Case(case.kind, case.name, required)).get_config()
    for argument, value in case.config.items():
        if (case.kind, argument) != (OPTIMIZER, "name"):  # nothing shows an optimizer's name
            assert kept.get(argument, default.get(argument)) == value, argument
    anew = make(type(spec)(spec.kind, spec.name, kept), plain=True)
    assert settings._alike(case.kind, true, anew, (3,))


def _round_trip(**training: Any) -> tuple[Any, Bench]:
    """Train the same round twice, with the same bytes."""
    sparse = training.pop("sparse", False)
    bench = Bench(stateful=False, **training)
    check_training(
        {"batch_size": 16, "epochs": 2, "optimizer": "sgd", "loss": "mse", "metrics": (), **training}, [3], min_data=60
    )
    engine, data = bench.engine(), samples(sparse=sparse)
    digest, trained = bench.round(engine, data)
    assert bench.round(engine, data)[0] == digest
    assert digest != bench.start.sha256
    return trained, bench


@pytest.mark.parametrize("case", cases(LOSS), ids=str)
def test_every_loss_trains_and_proves(case: Case) -> None:
    """A round moves the weights, and the same round gives the same bytes."""
    trained, _ = _round_trip(loss=case.spec, optimizer="sgd", learning_rate=0.01, metrics=(), sparse=case.sparse)
    assert np.isfinite(trained.training.values["loss"])


@pytest.mark.parametrize("case", cases(OPTIMIZER), ids=str)
def test_every_optimizer_trains_and_proves(case: Case) -> None:
    """Likewise; and what it starts a round with does not come from the weights that it was once built for."""
    import keras

    from federated_training.engines.keras import training as keras_training

    _round_trip(optimizer=case.spec, loss="categorical_crossentropy", metrics=())
    states = []
    for seed in (1, 2):
        made = keras_training.optimizer(case.spec)
        made.build([keras.Variable(np.random.default_rng(seed).random((4, 3), "float32"), name="kernel")])
        states.append([np.asarray(variable) for variable in made.variables])
    assert all(np.array_equal(one, other) for one, other in zip(*states, strict=True))


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, float | None]]:
    """What a round reports of every metric's case, by the case; None where it says that there is no value."""
    found: dict[str, dict[str, float | None]] = {}
    for sparse in (False, True):
        wanted = [case for case in cases(METRIC) if case.sparse == sparse]
        for start in range(0, len(wanted), 20):
            group = wanted[start : start + 20]
            named = [{**case.spec, "config": {**case.config, "name": f"m{i}"}} for i, case in enumerate(group)]
            loss = "sparse_categorical_crossentropy" if sparse else "categorical_crossentropy"
            trained, _ = _round_trip(loss=loss, metrics=tuple(named), optimizer="sgd", sparse=sparse)
            values = {**dict.fromkeys(trained.training.undefined), **trained.training.values}
            for i, case in enumerate(group):
                found[str(case)] = {key: value for key, value in values.items() if key.split("[")[0] == f"m{i}"}
    return found


@pytest.mark.parametrize("case", cases(METRIC), ids=str)
def test_every_metric_is_reported_by_a_round(case: Case, measured: dict[str, dict[str, float | None]]) -> None:
    """One value, or as many as were said at creation; a number, or that there is none."""
    reported = measured[str(case)]
    assert len(reported) == values_of(parse(METRIC, case.spec), [3])
    assert all(value is None or np.isfinite(value) for value in reported.values())
    # one-hot labels are mostly 0, and nothing may be above a high threshold
    undefined = None in reported.values()
    assert undefined or case.name != "MeanAbsolutePercentageError"
    assert not undefined or case.name in ("MeanAbsolutePercentageError", "Precision"), reported


ONE, BOTH = [[1.0]] * 4, [[0.0], [1.0], [1.0], [0.0]]
GUESS, NONE = [[0.9], [0.2], [0.7], [0.4]], [[0.1]] * 4
UNDEFINED: list[tuple[str, dict[str, Any], Any, Any, Any]] = [
    ("AUC", {}, ONE, GUESS, BOTH),
    ("AUC", {}, [[0.0]] * 4, GUESS, BOTH),
    ("AUC", {"curve": "PR"}, [[0.0]] * 4, GUESS, ONE),
    ("AUC", {"multi_label": True}, [[1, 0], [1, 1]], [[0.3, 0.4], [0.6, 0.5]], [[1, 0], [0, 1]]),
    ("SensitivityAtSpecificity", {"specificity": 0.5}, ONE, GUESS, BOTH),
    ("SpecificityAtSensitivity", {"sensitivity": 0.5}, ONE, GUESS, BOTH),
    ("PrecisionAtRecall", {"recall": 0.5}, [[0.0]] * 4, GUESS, BOTH),
    ("RecallAtPrecision", {"precision": 0.5}, [[0.0]] * 4, GUESS, BOTH),
    ("Precision", {}, [[0.0]] * 4, NONE, None),
    ("Recall", {}, [[0.0]] * 4, GUESS, BOTH),
    ("F1Score", {"threshold": 0.5}, [[0.0]] * 4, NONE, BOTH),
    ("F1Score", {"average": "macro"}, [[1, 0, 0]] * 2, [[0.8, 0.1, 0.1]] * 2, [[0, 1, 0], [0, 0, 1]]),
    ("F1Score", {"average": "weighted", "threshold": 0.5}, [[0.0]] * 4, GUESS, BOTH),
    ("FBetaScore", {"average": "micro", "threshold": 0.5}, [[0.0]] * 4, NONE, BOTH),
    ("R2Score", {}, [[5.1]] * 4, GUESS, BOTH),
    ("R2Score", {"class_aggregation": "variance_weighted_average"}, [[5.1]] * 4, GUESS, BOTH),
    ("PearsonCorrelation", {}, [[1.0, 1.0, 1.0]], [[0.1, 0.2, 0.3]], [[1.0, 2.0, 2.5]]),
    ("ConcordanceCorrelation", {}, [[1.0, 1.0, 1.0]], [[0.1, 0.2, 0.3]], [[1.0, 2.0, 2.5]]),
    ("CosineSimilarity", {}, [[0.0, 0.0]], [[0.1, 0.2]], [[1.0, 2.0]]),
    ("MeanAbsolutePercentageError", {}, BOTH, GUESS, ONE),
    ("MeanIoU", {"num_classes": 3, "ignore_class": 1}, [1, 1], [1, 0], [0, 2]),
    ("BinaryIoU", {"target_class_ids": [1]}, [[0.0]] * 4, NONE, BOTH),
    ("IoU", {"num_classes": 3, "target_class_ids": [2]}, [0, 1], [1, 1], [0, 2]),
]


@pytest.mark.parametrize(("name", "config", "labels", "outputs", "others"), UNDEFINED)
def test_a_metric_has_no_value_where_it_would_divide_by_nothing(
    name: str, config: dict[str, Any], labels: Any, outputs: Any, others: Any
) -> None:
    """NaN, where Keras says 0; Keras' own number elsewhere, also after a reset."""
    import keras

    from federated_training.engines.keras.metrics import defined

    labels, outputs = np.asarray(labels, "float32"), np.asarray(outputs, "float32")
    made = defined(name)(**config)
    made.update_state(labels, outputs)
    assert np.isnan(np.asarray(made.result())).any()
    if others is None:  # no precision with any labels, where nothing is found
        return
    plain = getattr(keras.metrics, name)(**config)
    given = np.resize(outputs, (2, 3)) if name == "F1Score" and config.get("average") == "macro" else outputs
    given = np.asarray([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]], "float32") if given.shape == (2, 3) else given
    for metric in (made, plain):
        metric.reset_state()
        metric.update_state(np.asarray(others, "float32"), given)
    value = np.asarray(made.result())
    if not (name == "F1Score" and config.get("average") == "macro"):
        assert np.isfinite(value).all()
    assert np.array_equal(value, np.asarray(plain.result()))
