"""Every optimizer, loss and metric that Keras exports, with its defaults and with arguments that are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mainstem.jobs.compiling import LOSS, METRIC, OPTIMIZER, input_of
from mainstem.jobs.compiling.specs import names, table

OTHERS: dict[str, Any] = {
    "name": "own", "dtype": "float64", "axis": 1, "from_logits": True, "label_smoothing": 0.1, "ignore_class": 0,
    "beta": 2.0, "reduction": "sum", "apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5, "delta": 5.0, "q": 0.7,
    "margin": 0.3, "remove_diagonal": False, "num_thresholds": 50, "curve": "PR", "summation_method": "minoring",
    "multi_label": True, "num_labels": 3, "label_weights": [1.0, 2.0, 3.0], "thresholds": [0.2, 0.6], "threshold": 0.4,
    "top_k": 2, "target_class_ids": [1], "num_classes": 3, "sparse_y_true": False, "sparse_y_pred": False,
    "class_id": 1, "recall": 0.3, "precision": 0.3, "specificity": 0.3, "sensitivity": 0.3, "average": "macro", "k": 2,
    "class_aggregation": "variance_weighted_average", "from_sorted_ids": True, "learning_rate": 0.05, "momentum": 0.5,
    "nesterov": True, "rho": 0.8, "epsilon": 0.001, "weight_decay": 0.01, "clipnorm": 0.5, "use_ema": True,
    "ema_momentum": 0.9, "ema_overwrite_frequency": 2, "loss_scale_factor": 2.0, "gradient_accumulation_steps": 2,
    "beta_1": 0.8, "beta_2": 0.95, "amsgrad": True, "centered": True, "beta_2_decay": -0.7, "epsilon_1": 1e-20,
    "epsilon_2": 0.01, "clip_threshold": 2.0, "relative_step": False, "initial_accumulator_value": 0.2,
    "learning_rate_power": -0.4, "l1_regularization_strength": 0.01, "l2_regularization_strength": 0.01,
    "l2_shrinkage_regularization_strength": 0.01, "adam_beta_1": 0.8, "adam_beta_2": 0.95, "adam_weight_decay": 0.01,
    "exclude_layers": ["head"], "exclude_embeddings": False, "muon_a": 3.0, "muon_b": -4.0, "muon_c": 2.0,
    "adam_lr_ratio": 0.5, "ns_steps": 3, "rms_rate": 0.3,
}  # fmt: skip
"""A value of each argument that is no class' default."""

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "AUC": ("thresholds", "from_logits"),  # in the place of num_thresholds; outputs are shares here
    "FBetaScore": (), "R2Score": ("num_regressors",),
    "Precision": ("top_k",), "Recall": ("top_k",),  # in the place of thresholds
    "SparseTopKCategoricalAccuracy": ("from_sorted_ids",),  # the outputs would be class numbers
}  # fmt: skip
"""Arguments that another one excludes; `MORE` has them."""

NEEDED: dict[str, dict[str, Any]] = {
    "IoU": {"sparse_y_true": False, "sparse_y_pred": False},
    "MeanIoU": {"sparse_y_true": False, "sparse_y_pred": False},
}
"""Without these a metric compares class numbers with outputs of another shape."""

MORE: list[tuple[str, str, dict[str, Any]]] = [
    (LOSS, "CosineSimilarity", {"axis": 0}),
    (LOSS, "Dice", {"axis": [1]}),
    (LOSS, "Huber", {"delta": 0.5, "reduction": "mean_with_sample_weight"}),
    (METRIC, "AUC", {"thresholds": [0.2, 0.5, 0.7], "curve": "PRGAIN"}),
    (METRIC, "CosineSimilarity", {"axis": 0}),
    (METRIC, "F1Score", {"average": "weighted", "threshold": 0.3}),
    (METRIC, "F1Score", {"average": "micro"}),
    (METRIC, "FBetaScore", {"beta": 2}),
    (METRIC, "R2Score", {"class_aggregation": None}),
    (METRIC, "Precision", {"top_k": 1, "class_id": 2}),
    (METRIC, "Recall", {"top_k": 2}),
    (OPTIMIZER, "SGD", {"clipvalue": 0.1}),
    (OPTIMIZER, "Adam", {"global_clipnorm": 0.1}),
]


@dataclass(frozen=True)
class Case:
    """A class of a kind with arguments."""

    kind: str
    name: str
    config: dict[str, Any]

    @property
    def spec(self) -> dict[str, Any]:
        """As a Keras config."""
        return {"class_name": self.name, "config": self.config}

    @property
    def sparse(self) -> bool:
        """Whether its labels are class numbers, where others take one-hot rows."""
        return self.name.startswith("Sparse") or (
            self.kind == LOSS and input_of([1], "float32", [3], self.name).numbered
        )

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}" + "".join(f"-{argument}" for argument in self.config)[:60]


def cases(kind: str) -> list[Case]:
    """Each class with what it needs, then with other arguments."""
    found = []
    for name in names(kind):
        entry = table()[kind][name]
        needed = {argument: OTHERS[argument] for argument in entry["required"]} | NEEDED.get(name, {})
        other = {
            argument: OTHERS[argument]
            for argument in entry["arguments"]
            if argument in OTHERS and argument not in LEFT_OUT.get(name, ())
        }
        found.append(Case(kind, name, needed))
        found.append(Case(kind, name, other | _own(kind, name)))
    return found + [Case(*more) for more in MORE if more[0] == kind]


def _own(kind: str, name: str) -> dict[str, Any]:
    """Where an argument means something else in one class."""
    own: dict[str, dict[str, Any]] = {
        "Dice": {"axis": [0, 1]},
        "Tversky": {"axis": [1], "beta": 0.6},
        "PearsonCorrelation": {"axis": 0}, "ConcordanceCorrelation": {"axis": 0},
        "BinaryIoU": {"dtype": "float32"},
        **{name: {"dtype": "float32", "axis": -1} for name in ("IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU")},
        "AUC": {"dtype": "float32"},
        "CategoricalFocalCrossentropy": {"alpha": [0.2, 0.3, 0.5]},
        "Ftrl": {"beta": 0.1},
        "Adadelta": {"learning_rate": 0.5},
    }  # fmt: skip
    return own.get(name, {}) if kind != OPTIMIZER or name in ("Ftrl", "Adadelta") else {}
