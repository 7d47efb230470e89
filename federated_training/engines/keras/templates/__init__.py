"""Models that need no code: a name and a few numbers. Each template is one module with one function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from federated_training.engines.keras.templates.cifar10_cnn import cifar10_cnn
from federated_training.engines.keras.templates.cnn import cnn
from federated_training.engines.keras.templates.lenet import lenet
from federated_training.engines.keras.templates.mlp import mlp
from federated_training.engines.keras.templates.params import TemplateParams
from federated_training.problems import FieldError

TEMPLATES: dict[str, Callable[[TemplateParams], Any]] = {
    "mlp": mlp,
    "cnn": cnn,
    "cifar10_cnn": cifar10_cnn,
    "lenet": lenet,
}
"""Every template by its name."""


def make(name: object, params: Mapping[str, Any]) -> Any:
    """The template's model, with fresh weights; raises FieldError naming the parameter."""
    template = TEMPLATES.get(name) if isinstance(name, str) else None
    if template is None:
        raise FieldError("template.name", f"{str(name)[:60]!r} is no template; there are {', '.join(TEMPLATES)}.")
    given = TemplateParams(params)
    model = template(given)
    given.finish()
    return model
