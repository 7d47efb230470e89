"""The Job's engine: a Keras model from the `opened` record, trained on one client's data.

Of the Job's modules this one alone imports Keras (with its helpers `keras_*`). What it trains from and what it makes
travel through Kafka by `mainstem.client.participant`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf

from federated_training.data.dataset import Array, Dataset, LabelledSamples, sample_weights, seed_of
from federated_training.engines.engine import Progress, TrainingError, TrainingResult
from federated_training.engines.keras import hooks, metrics, models, state, training
from federated_training.engines.keras.ranges import ValueRanges, sample_dtype
from federated_training.problems import FieldError, cause
from mainstem.aggregation.local import Change, GradientHook
from mainstem.jobs import compiling
from mainstem.protocol.exchange import exchange
from mainstem.protocol.messages import Metrics, Opened
from mainstem.protocol.weights import Tensor


class KafkaModelEngine:
    """Implements `engine.Engine` with Keras.

    One instance serves all rounds: what Keras has compiled is kept, while weights, optimizer state and every random
    generator are set anew for each round, so that a round does not depend on the rounds before it.
    """

    def __init__(self, opened: Opened) -> None:
        """Build the model; raises TrainingError when it cannot be built here."""
        tf.config.experimental.enable_op_determinism()
        self._opened = opened
        try:
            self._model = models.build(opened.architecture, field="architecture")
            self._compile(None)
        except FieldError as error:
            raise TrainingError(f"the federation's {error.field} cannot be used: {error.message}") from error
        self._check_tensors()
        self._ranges = ValueRanges(self._model)

    @property
    def sample_dtype(self) -> str:
        """See `Engine`."""
        return sample_dtype(self._model)

    def unfit(self, x: Array) -> list[tuple[int, str]]:
        """See `Engine`."""
        found: list[tuple[int, str]] = self._guarded(lambda: self._ranges.judge(x))
        return found

    def load(self, tensors: Sequence[Tensor]) -> None:
        """See `Engine`."""
        state.assign(self._model, tensors)

    def train(
        self,
        data: Dataset,
        base_seq: int,
        progress: Progress,
        hook: GradientHook | None = None,
        rate: float | None = None,
    ) -> TrainingResult:
        """See `Engine`. The seed comes from (federation seed, sha256 of the data, base sequence)."""
        settings, started = self._opened.training, time.monotonic()
        self._check_steps(len(data.training))
        seed = seed_of(settings.seed, data.sha256, base_seq)
        self._begin_afresh(seed, hook, rate)
        weights = self._weights(data.training)
        batches = _Batches(data.training, settings.batch_size, seed, shuffle=settings.shuffle, weights=weights)
        validation = (
            _Batches(data.validation, settings.batch_size, seed, shuffle=False) if len(data.validation) else None
        )
        history = self._guarded(
            lambda: self._model.fit(
                batches,
                validation_data=validation,
                validation_freq=settings.epochs,
                epochs=settings.epochs,
                shuffle=settings.shuffle,  # else Keras draws the order of the batches all the same
                verbose=0,
                callbacks=[_Watch(progress, settings.epochs, len(batches))],
            )
        ).history
        tensors = models.weights_of(self._model)
        for tensor, weight in zip(tensors, self._model.weights, strict=True):
            if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
                raise TrainingError(f"the weights {weight.path} became NaN or infinite; lower the learning rate")
        last = {name: values[-1] for name, values in history.items()}
        measured = {name: value for name, value in last.items() if not name.startswith("val_")}
        validated = {name.removeprefix("val_"): value for name, value in last.items() if name.startswith("val_")}
        return TrainingResult(
            tensors=tensors,
            steps=compiling.steps_of(len(data.training), settings.batch_size, settings.epochs),
            training=_metrics(len(data.training), measured),
            validation=_metrics(len(data.validation), validated) if validation is not None else None,
            seconds=time.monotonic() - started,
        )

    def evaluate(self, part: LabelledSamples, *, weighted: bool = False) -> Metrics | None:
        """See `Engine`."""
        if not len(part):
            return None
        weights = self._weights(part) if weighted else None
        batches = _Batches(part, self._opened.training.batch_size, 0, shuffle=False, weights=weights)
        values = self._guarded(lambda: self._model.evaluate(batches, verbose=0, return_dict=True))
        return _metrics(len(part), values)

    # ------------------------------------------------------------ inside
    def _check_tensors(self) -> None:
        mine = [(tensor["dtype"], tuple(tensor["shape"])) for tensor in models.tensors_of(self._model)]
        theirs = [(spec.dtype, spec.shape) for spec in exchange(self._opened).model]
        if mine != theirs:
            raise TrainingError("the federation's weights do not have the shapes of its architecture")

    def _check_steps(self, samples: int) -> None:
        settings, optimizer = self._opened.training, self._model.optimizer
        accumulated = getattr(optimizer, "inner_optimizer", optimizer).gradient_accumulation_steps
        steps = compiling.steps_of(samples, settings.batch_size, settings.epochs)
        if accumulated and accumulated > steps:
            name = type(optimizer).__name__
            raise TrainingError(compiling.too_few_steps(name, accumulated, f"{samples} training samples", steps))

    def _weights(self, part: LabelledSamples) -> Array | None:
        """How much each sample counts; None for alike."""
        given = self._opened.training.class_weight
        return sample_weights(part.y, given, self._opened.input) if given else None

    def _compile(self, change: Change | None) -> None:
        training.compile_model(self._model, msgspec.structs.asdict(self._opened.training), change)
        self._model.optimizer.build(self._model.trainable_variables)
        self._fresh_optimizer = [models.copied(variable) for variable in self._model.optimizer.variables]
        self._change = change

    def _begin_afresh(self, seed: int, hook: GradientHook | None, rate: float | None) -> None:
        change = hook.change if hook is not None else None
        if change is not self._change:
            self._compile(change)
        state.seed(self._model, seed, lambda number: seed_of(seed, number))
        for variable, value in zip(self._model.optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)
        if rate is not None:
            self._model.optimizer.learning_rate = rate
        if hook is not None:
            trained = exchange(self._opened).trained
            hooks.begin(self._model, dict(zip(trained, hook.constants, strict=bool(hook.constants))))

    def _guarded(self, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except TrainingError:
            raise
        except (tf.errors.OpError, ValueError, TypeError, MemoryError, ArithmeticError) as error:
            gist = cause(error, models.layer_names(self._model))
            raise TrainingError(f"the model cannot be trained on this data: {gist}") from error


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """A part in batches; shuffled by NumPy with a seed, so that the order is the same on every machine.

    `weights` (n, or of the labels' shape) say how much a sample counts in the loss.
    """

    def __init__(
        self, part: LabelledSamples, batch_size: int, seed: int, *, shuffle: bool, weights: Array | None = None
    ) -> None:
        super().__init__()
        self._part, self._size, self._weights = part, batch_size, weights
        self._random = np.random.default_rng(seed) if shuffle else None
        self._order = self._drawn()

    def __len__(self) -> int:
        return math.ceil(len(self._part) / self._size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        chosen = self._order[index * self._size : (index + 1) * self._size]
        batch = self._part.x[chosen], self._part.y[chosen]
        return batch if self._weights is None else (*batch, self._weights[chosen])

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self._order = self._drawn()

    def _drawn(self) -> Any:
        count = len(self._part)
        return np.arange(count) if self._random is None else self._random.permutation(count)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells how far training is, and ends it when the loss is no number any more."""

    def __init__(self, progress: Progress, epochs: int, batches: int) -> None:
        super().__init__()
        self._progress, self._epochs, self._batches = progress, epochs, batches
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._progress((self._epoch + (batch + 1) / self._batches) / self._epochs)
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self._epoch + 1}, batch {batch + 1}; "
                "lower the learning rate or scale the data"
            )


def use_threads(threads: int) -> None:
    """Fix the number of TensorFlow's threads, before its first use: sums may depend on it."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _metrics(examples: int, logs: Mapping[str, Any]) -> Metrics:
    values, undefined = metrics.values_of(logs)
    return Metrics(examples=examples, values=values, undefined=dict.fromkeys(undefined, 1))
