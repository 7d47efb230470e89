"""The Job's engine for forests: XGBoost boosts the version's forest by a few trees on one client's data.

XGBoost never sees a tree of a peer: what the forest answers so far is reckoned from its tables, and given to XGBoost as
the margin that it begins with. What a crafted file does to XGBoost, a table cannot.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import xgboost
from numpy.typing import NDArray

from federated_training.data.dataset import Array, Dataset, LabelledSamples, sample_weights, seed_of
from federated_training.engines.engine import Progress, TrainingError, TrainingResult
from mainstem.aggregation.local import GradientHook
from mainstem.errors import ConfigError, RefusedError
from mainstem.jobs import forests
from mainstem.protocol.exchange import exchange
from mainstem.protocol.forests import FEATURE, LARGEST_LEAF, TREES, VALUE, check_forest
from mainstem.protocol.messages import Metrics, Opened
from mainstem.protocol.weights import Tensor


class ForestEngine:
    """Implements `engine.Engine` with XGBoost."""

    def __init__(self, opened: Opened, threads: int = 1) -> None:
        """Raises TrainingError where the run's architecture is no forest's. More `threads` may change bits."""
        try:
            self._params = forests.params_of(opened.architecture)
        except ConfigError as error:
            raise TrainingError(f"the federation's {error}") from error
        model = exchange(opened)
        if (model.model, model.forest) != (self._params.specs, forests.parts_of(self._params)):
            raise TrainingError("the federation's tensors are not those of its forest")
        self._opened, self._threads = opened, threads
        self._sums = _Sums(self._params)

    @property
    def sample_dtype(self) -> str:
        """See `Engine`."""
        return "float32"

    def unfit(self, x: Array) -> list[tuple[int, str]]:
        """See `Engine`: a forest takes every number, and no missing ones."""
        bad = ~np.isfinite(x)
        return [
            (int(number), f"feature {int(bad[number].argmax())} is NaN or infinite")
            for number in np.flatnonzero(bad.any(axis=1))
        ]

    def load(self, tensors: Sequence[Tensor]) -> None:
        """See `Engine`; raises TrainingError for tables that are not sound, which no aggregator of ours commits."""
        try:
            check_forest(tensors, self._params.features)
        except RefusedError as error:
            raise TrainingError(f"the version cannot be used: {error.detail}") from error
        self._sums.load(tensors)

    def train(
        self,
        data: Dataset,
        base_seq: int,
        progress: Progress,
        hook: GradientHook | None = None,
        rate: float | None = None,
    ) -> TrainingResult:
        """See `Engine`: the tensors are what an update carries, the trees that it adds. The seed comes from (federation
        seed, sha256 of the data, base sequence)."""
        started, params = time.monotonic(), self._params
        seed = seed_of(self._opened.training.seed, data.sha256, base_seq)
        rows = self._boosted(data.training, seed, params.rate if rate is None else rate, progress)
        added = [np.array([len(rows[0])]), *rows]
        measured = {
            part: _metrics(
                forests.losses(params, forests.margins(params, added, of.x, self._sums.of(of)), of.y, weights), len(of)
            )
            for part, of, weights in (
                ("training", data.training, self._weights(data.training)),
                ("validation", data.validation, None),
            )
            if len(of)
        }
        return TrainingResult(
            tensors=added,
            steps=params.trees_a_round,
            training=measured["training"],
            validation=measured.get("validation"),
            seconds=time.monotonic() - started,
        )

    def evaluate(self, part: LabelledSamples, *, weighted: bool = False) -> Metrics | None:
        """See `Engine`."""
        if not len(part):
            return None
        weights = self._weights(part) if weighted else None
        return _metrics(forests.losses(self._params, self._sums.of(part), part.y, weights), len(part))

    # ------------------------------------------------------------ inside
    def _boosted(self, part: LabelledSamples, seed: int, rate: float, progress: Progress) -> tuple[Tensor, Tensor]:
        params, several = self._params, self._params.objective == forests.SEVERAL
        settings = {
            "objective": params.objective,
            "max_depth": params.depth,
            "eta": rate,
            "tree_method": "hist",
            "nthread": self._threads,
            "seed": seed,
            "verbosity": 0,
        } | ({"num_class": params.classes} if several else {})
        try:
            given = xgboost.DMatrix(part.x, part.y.reshape(len(part)), weight=self._weights(part))
            given.set_base_margin(self._sums.of(part) if several else self._sums.of(part)[:, 0])
            watch = _Watch(progress, params.trees_a_round)
            booster = xgboost.train(settings, given, num_boost_round=params.trees_a_round, callbacks=[watch])
            feature, value = forests.rows_in(json.loads(bytes(booster.save_raw("json"))), params.depth)
        except (xgboost.core.XGBoostError, ValueError, MemoryError) as error:
            raise TrainingError(f"XGBoost cannot train on this data: {str(error).strip().splitlines()[-1]}") from error
        if not np.isfinite(value).all():
            raise TrainingError("the trees hold NaN or infinity: lower the rate, or scale the labels")
        return feature, np.where(feature > 0, value, value.clip(-LARGEST_LEAF, LARGEST_LEAF))

    def _weights(self, part: LabelledSamples) -> Array | None:
        """How much each sample counts; None for alike."""
        given = self._opened.training.class_weight
        return sample_weights(part.y, given, self._opened.input) if given else None


class _Sums:
    """What the loaded forest's trees add up to for each part of the data. A round's are added to those before it."""

    def __init__(self, params: forests.ForestParams) -> None:
        self._params = params
        self._forest: Sequence[Tensor] = ()
        self._known: dict[int, tuple[Array, int, NDArray[np.float32]]] = {}

    def load(self, forest: Sequence[Tensor]) -> None:
        """Forget what does not go on from it."""
        if self._forest:
            size = int(self._forest[TREES][0])
            if any((self._forest[n][:size] != forest[n][:size]).any() for n in (FEATURE, VALUE)):
                self._known.clear()
        self._forest = forest
        size = int(forest[TREES][0])
        self._known = {key: known for key, known in self._known.items() if known[1] <= size}

    def of(self, part: LabelledSamples) -> NDArray[np.float32]:
        """(n, width) of the part's samples."""
        size = int(self._forest[TREES][0])
        x, first, sums = self._known.get(id(part.x), (part.x, 0, None))
        if sums is None or first < size:
            sums = forests.margins(self._params, self._forest, x, sums, first)
            self._known = {**dict(list(self._known.items())[-_KEPT:]), id(x): (x, size, sums)}
        return sums


_KEPT = 3
"""Parts whose sums are kept, beside the one that is asked for: a stream that grows makes new ones."""


class _Watch(xgboost.callback.TrainingCallback):
    """Tells how far training is."""

    def __init__(self, progress: Progress, rounds: int) -> None:
        super().__init__()
        self._progress, self._rounds = progress, rounds

    def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:
        self._progress((epoch + 1) / self._rounds)
        return False


def _metrics(values: Mapping[str, float], examples: int) -> Metrics:
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    return Metrics(examples=examples, values=finite, undefined=dict.fromkeys(set(values) - set(finite), 1))
