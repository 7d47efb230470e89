"""What a model was compiled with, as settings to store; what they cannot hold is named, never left out.

Keras' own `get_config` forgets arguments (a Huber's delta, a CosineSimilarity's axis). So whoever has the true objects
reads their arguments from them, makes them anew from what would be stored, and compares both on a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import keras
import numpy as np

from federated_training.engines.keras.training import make
from federated_training.problems import FieldError, first_sentence
from mainstem.jobs.compiling import LOSS, METRIC, OPTIMIZER, SettingError, Spec, check_metrics, check_optimizer, parse
from mainstem.jobs.compiling.specs import table

Settings = dict[str, Any]
"""`optimizer`, `loss`, `metrics`, `learning_rate` as a deployment takes them, each only where it is known; `lost`: by
those fields, why the model's own cannot stand."""

_FIELDS: Final = {OPTIMIZER: "optimizer", LOSS: "loss", METRIC: "metrics"}
_SURE: Final = frozenset({("SparseCategoricalCrossentropy", "axis"), ("AUC", "thresholds")})
"""Arguments that a config leaves out only where they are the default: Keras takes no other axis, and writes thresholds
that were given."""


def of_model(model: Any) -> Settings | None:
    """The settings of a compiled model, from its true objects; None for one that is not compiled."""
    if not getattr(model, "compiled", False):
        return None
    kept = getattr(model, "_compile_config", None)
    if kept is None:
        return {"lost": {"loss": "The model compiles itself with code of its own; give optimizer, loss and metrics."}}
    output = model.outputs[0].shape[1:] if getattr(model, "outputs", None) else ()
    return _settings(kept.config, lambda kind, found: _of_object(kind, found, tuple(output)))


def of_config(config: Mapping[str, Any] | None) -> Settings | None:
    """The settings in a file's compile config, which is unchecked data; None when there is none."""
    return _settings(config, _of_config) if config else None


def checked(found: Any) -> Settings | None:
    """What a guest said of its model, as far as it has the form of `Settings`. Raises FieldError where it has not."""
    if found is None:
        return None
    try:
        lost = {field: str(found["lost"][field])[:1000] for field in _FIELDS.values() if field in found["lost"]}
        settings: Settings = {}
        if "optimizer" in found:
            rate = found.get("learning_rate")
            check_optimizer(found["optimizer"], rate)
            settings |= {"optimizer": found["optimizer"], "learning_rate": rate}
        if "loss" in found:
            settings["loss"] = parse(LOSS, found["loss"]).plain()
        if "metrics" in found:
            settings["metrics"] = [spec.plain() for spec in check_metrics(found["metrics"])]
    except (SettingError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise FieldError("source.code", f"The source left no settings: {first_sentence(error)}.") from error
    return settings | {"lost": lost}


def _settings(compiled: Mapping[str, Any], told: Callable[[str, Any], Spec]) -> Settings:
    found: Settings = {}
    lost: dict[str, str] = {}

    def keep(field: str, read: Callable[[], Settings]) -> None:
        try:
            found.update(read())
        except SettingError as error:
            what = error.message.rstrip(".")
            lost[field] = f"The model's own {field} cannot stand: {what}; give {field} for the deployment."

    if compiled.get("optimizer") is not None:
        keep("optimizer", lambda: _optimizer(told(OPTIMIZER, compiled["optimizer"])))
    if compiled.get("loss") is not None:
        keep("loss", lambda: {"loss": _loss(compiled, told).plain()})
    keep("metrics", lambda: {"metrics": _metrics(compiled, told)})
    return found | {"lost": lost}


def _optimizer(spec: Spec) -> Settings:
    config = dict(spec.config)
    rate = config.pop("learning_rate", None)
    if rate is None:
        rate = float(make(Spec(OPTIMIZER, spec.name)).learning_rate)
    # Keras keeps it as float32: 0.01 is 0.009999999776482582 there
    return {"optimizer": Spec(OPTIMIZER, spec.name, config).plain(), "learning_rate": float(f"{rate:.7g}")}


def _loss(compiled: Mapping[str, Any], told: Callable[[str, Any], Spec]) -> Spec:
    weights = _flat(compiled.get("loss_weights"))
    if any(weight is not None and weight != 1 for weight in weights):
        raise SettingError("loss", f"it has loss_weights {weights}, which a federation does not keep")
    losses = _alone(compiled["loss"])
    if len(losses) != 1:
        raise SettingError("loss", f"there are {len(losses)} losses for one output")
    return told(LOSS, losses[0])


def _metrics(compiled: Mapping[str, Any], told: Callable[[str, Any], Spec]) -> list[Any]:
    weighted = _flat(compiled.get("weighted_metrics"))
    if weighted:
        names = ", ".join(name if isinstance(name, str) else _name_of(name) for name in weighted)
        raise SettingError("metrics", f"it has weighted_metrics ({names}), which a federation does not measure")
    specs = [told(METRIC, metric) for metric in _flat(compiled.get("metrics"))]
    return [spec.plain() for spec in check_metrics([spec.plain() for spec in specs])]


def _alone(value: Any) -> list[Any]:
    """What stands for one output: itself, or the only one of a list or of a dict by output."""
    if isinstance(value, Mapping) and "class_name" not in value:
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [value]


def _flat(value: Any) -> list[Any]:
    if value is None:
        return []
    items = _alone(value)
    nested = any(isinstance(item, list | tuple) for item in items)
    return [one for item in items for one in _alone(item)] if nested else items


def _name_of(found: Any) -> str:
    if isinstance(found, Mapping):
        return str(found.get("class_name"))[:60]
    return str(getattr(found, "__name__", type(found).__name__))[:60]


# ---------------------------------------------------------------- from a file's config
def _of_config(kind: str, found: Any) -> Spec:
    spec = parse(kind, found)
    if isinstance(found, Mapping) and isinstance(found.get("config"), Mapping):
        silent = _forgotten(spec)
        if silent:
            what = f"the {' and '.join(silent)} of {spec.name}"
            raise SettingError(_FIELDS[kind], f"the file does not say {what}, since Keras writes none")
    return _pruned(spec)


def _forgotten(spec: Spec) -> list[str]:
    """The arguments that neither the config has, nor ever Keras' `get_config` of this class."""
    if spec.name not in table()[spec.kind]:
        return []
    told = make(spec, plain=True).get_config()
    return [
        argument
        for argument in table()[spec.kind][spec.name]["arguments"]
        if argument not in {*spec.config, *told, "dtype"} and (spec.name, argument) not in _SURE
    ]


def _pruned(spec: Spec) -> Spec:
    """Without the arguments that are Keras' defaults."""
    if not spec.config:
        return spec
    required = {name: spec.config[name] for name in table()[spec.kind][spec.name]["required"]}
    default = _config(make(Spec(spec.kind, spec.name, required), plain=True))
    default["name"] = table()[spec.kind][spec.name]["name"] if spec.kind != OPTIMIZER else spec.config.get("name")
    kept = {
        argument: value
        for argument, value in spec.config.items()
        if argument in required or argument not in default or default[argument] != value
    }
    return Spec(spec.kind, spec.name, kept)


# ---------------------------------------------------------------- from true objects
def _of_object(kind: str, found: Any, output: tuple[int, ...]) -> Spec:
    if isinstance(found, str):
        return parse(kind, found)
    name, module = _name_of(found), getattr(keras, kind)
    if found is getattr(module, name, None):  # a class, or a function such as keras.losses.huber
        return parse(kind, name)
    if type(found) is not getattr(module, name, None):
        raise SettingError(_FIELDS[kind], f"{name} is custom code; only Keras' own can be sent as data")
    if getattr(found, "_exclude_from_weight_decay", None) or getattr(found, "_exclude_from_weight_decay_pattern", None):
        raise SettingError(_FIELDS[kind], f"{name} spares variables its weight decay, which a federation does not keep")
    spec = _pruned(parse(kind, {"class_name": name, "config": _config(found)}))
    anew = make(spec, plain=True)
    if not _alike(kind, found, anew, output):
        raise SettingError(
            _FIELDS[kind], f"{name}, made anew from its settings {spec.config}, gives other values than the model's own"
        )
    return spec


def _config(made: Any) -> dict[str, Any]:
    """A Keras object's arguments: what its config says, and what is known of the function that it wraps."""
    config = dict(made.get_config())
    arguments = table().get(_kind_of(made), {}).get(type(made).__name__, {}).get("arguments", [])
    config |= {name: value for name, value in getattr(made, "_fn_kwargs", {}).items() if name in arguments}
    if "dtype" in arguments and _kind_of(made) == LOSS:
        config["dtype"] = made.dtype
    return {name: _plain(value) for name, value in config.items()}


def _plain(value: Any) -> Any:
    """A tuple or a tensor, as Keras' configs may hold them, as a list."""
    if isinstance(value, tuple):
        return list(value)
    return keras.ops.convert_to_numpy(value).tolist() if hasattr(value, "shape") else value


def _kind_of(made: Any) -> str:
    if isinstance(made, keras.losses.Loss):
        return LOSS
    return METRIC if isinstance(made, keras.metrics.Metric) else OPTIMIZER


def _alike(kind: str, one: Any, other: Any, output: tuple[int, ...]) -> bool:
    if kind == OPTIMIZER:
        return bool(one.get_config() == {**other.get_config(), "name": one.name})
    return all(
        np.array_equal(a, b, equal_nan=True)
        for batch in _batches(output)
        if (a := _measured(kind, one, *batch)) is not None and (b := _measured(kind, other, *batch)) is not None
    )


def _batches(output: Sequence[int]) -> list[tuple[Any, Any]]:
    """Labels and outputs of any kind: classes, their indices, and numbers from small to large."""
    random = np.random.default_rng(1)
    shape = (8, *output)
    last = shape[-1] if len(shape) > 1 else 1
    drawn = random.random(shape, "float32")
    shares = drawn / drawn.sum(axis=-1, keepdims=True) if last > 1 else drawn
    indices = random.integers(0, max(last, 2), shape[:-1] if len(shape) > 1 else shape)
    hot = np.eye(last, dtype="float32")[indices % last] if last > 1 else indices.reshape(shape).astype("float32")
    numbers = random.normal(size=(2, *shape)).astype("float32")
    return [
        (hot, shares),
        (indices, shares),
        *((numbers[0] * scale, numbers[1]) for scale in (0.1, 1.0, 30.0, 1000.0)),
    ]


def _measured(kind: str, made: Any, labels: Any, outputs: Any) -> Any:
    try:
        if kind == LOSS:
            return np.asarray(made(labels, outputs))
        made.reset_state()
        made.update_state(labels, outputs)
        return np.asarray(made.result())
    except Exception:  # a loss that takes no such labels
        return None
