"""Runs that are broken, or only seem to be, when they are created: models, settings, fields."""

from __future__ import annotations

import json
from typing import Any

from tests.broken_runs.case import Run, case
from tests.broken_runs.ground import MLP, Ground, one_hot, records_of, samples

KERAS = "import keras"
DENSE = "keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation='softmax')])"


def source(code: str, imports: str = KERAS) -> dict[str, Any]:
    """A model pasted as source."""
    return {"source": {"imports": imports, "code": code}}


def compiled(arguments: str) -> dict[str, Any]:
    """The small classifier, compiled so."""
    return source(f"model = {DENSE}\nmodel.compile({arguments})")


def with_samples(ground: Ground, federation: str, note: str = "", wrong: str = "") -> Run:
    """Sixty good samples for it."""
    x, labels = samples()
    return Run(federation, ground.stream(federation, records_of(x, one_hot(labels))), note, wrong)


@case("nothing: a classifier and sixty good samples")
def nothing(ground: Ground) -> Run:
    return with_samples(ground, ground.federation())


@case("`loss` is misspelt: `categorical_crossentropi`", r"crossentropi")
def misspelt_loss(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(loss="categorical_crossentropi"))


@case("`optimizer` is misspelt: `adamm`", r"adamm")
def misspelt_optimizer(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(optimizer="adamm"))


@case("`metrics` is misspelt: `acuracy`", r"acuracy")
def misspelt_metric(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(metrics=["acuracy"]))


@case("`learning_rate` 1,000,000", r"learning.rate")
def learning_rate_too_high(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(learning_rate=1_000_000))


@case("`learning_rate` 1e-60, which is 0 in float32", r"learning.rate|float32|equal|same|parent|chang")
def learning_rate_zero(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(optimizer="sgd", learning_rate=1e-60))


@case("compiled with the schedule `ExponentialDecay(0.1, 10, 0.5)`", r"[Ss]chedule|ExponentialDecay")
def schedule(ground: Ground) -> Run:
    rate = "keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)"
    model = compiled(f"optimizer=keras.optimizers.SGD({rate}), loss='categorical_crossentropy'")
    return with_samples(ground, ground.federation(model))


@case("compiled with the metric `F1Score()`, which is a vector", r"F1|f1_score", may_train=True)
def f1_score(ground: Ground) -> Run:
    model = compiled("loss='categorical_crossentropy', metrics=[keras.metrics.F1Score()]")
    return with_samples(ground, ground.federation(model))


@case("compiled with `Huber(delta=5.0)`", r"delta|Huber", may_train=True)
def huber_delta(ground: Ground) -> Run:
    federation = ground.federation(compiled("loss=keras.losses.Huber(delta=5.0)"))
    stored = json.dumps(ground.training(federation)["loss"])
    return with_samples(ground, federation, f"stored as {stored}", "" if "5.0" in stored else "its delta is lost")


@case("compiled with `loss='huber'`")
def huber_by_name(ground: Ground) -> Run:
    federation = ground.federation(compiled("loss='huber'"))
    return with_samples(ground, federation, f"stored as {json.dumps(ground.training(federation)['loss'])}")


@case("compiled with `loss_weights=[3.0]`", r"loss_weights")
def loss_weights(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(compiled("loss='categorical_crossentropy', loss_weights=[3.0]")))


@case("an uncompiled model inside the model, as transfer learning has it")
def nested_model(ground: Ground) -> Run:
    inner = "keras.Sequential([keras.Input((8,)), keras.layers.Dense(6, activation='relu')])"
    code = f"inner = {inner}\nmodel = keras.Sequential([keras.Input((8,)), inner, keras.layers.Dense(3, 'softmax')])"
    model = source(code + "\nmodel.compile(loss='categorical_crossentropy')")
    return with_samples(ground, ground.federation(model))


@case("Kafka-ML's way of pasting: `tf` and `keras` are used without an import")
def without_imports(ground: Ground) -> Run:
    code = "model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(3, activation='softmax')])"
    model = source(f"{code}\nmodel.compile(optimizer='adam', loss='categorical_crossentropy')", imports="")
    return with_samples(ground, ground.federation(model))


@case('`{"clientz": 2}` at `injections/`', r"clientz")
def unknown_injection_field(ground: Ground) -> Run:
    ground.post("injections/", {"clientz": 2, "topic": "broken-digits", "restriction": {"for": "nobody"}})
    return Run("")


@case("`prams` beside a model's template", r"prams")
def unknown_model_field(ground: Ground) -> Run:
    return with_samples(ground, ground.federation({**MLP, "prams": {"classes": 5}}))


@case("`federated: false` at `deployments/`", r"federated")
def not_federated(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(federated=False))


@case("`agg_rounds` 2 and `rounds` 7 at once", r"rounds")
def rounds_twice(ground: Ground) -> Run:
    return with_samples(ground, ground.federation(agg_rounds=2, rounds=7))


@case("Kafka-ML's `batch`, `gpumem` and `tf_kwargs_fit` at `deployments/`", r"batch_size|epochs|job\.", may_train=True)
def kafka_ml_names(ground: Ground) -> Run:
    federation = ground.federation(batch=16, gpumem=0, tf_kwargs_fit="epochs=2")
    return with_samples(ground, federation)


@case("a restriction with the number 1e999", r"1e999|[Ii]nfin|finite|number")
def infinite_restriction(ground: Ground) -> Run:
    model = ground.post("models/", {"name": "infinite", **MLP})
    made = ground.post("configurations/", {"name": "infinite", "models": [model["id"]]})["id"]
    body = f'{{"configuration": {made}, "rounds": 3, "data_restriction": {{"for": 1e999}}}}'
    return Run(str(ground.post("deployments/", body.encode())["federation"]))
