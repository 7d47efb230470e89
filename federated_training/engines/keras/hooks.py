"""A gradient hook in Keras: a subclass of any optimizer's class, so that no model and no loss knows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mainstem.aggregation.local import Change
from mainstem.protocol.weights import Tensor


def hooked(optimizer: type, change: Change) -> type:
    """The optimizer's class, whose gradients pass `change` before any of it: clipping, accumulation, momentum.

    The weights that a round begins with, and its constants, are variables: `begin` sets them, nothing is compiled anew.
    """
    return type(optimizer.__name__, (_Hooked, optimizer), {"change": staticmethod(change)})


def begin(model: Any, given: Mapping[int, Tensor]) -> None:
    """Begin a round at the model's present weights, with constants by their places in `model.weights`; else zeros."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    constants = {id(model.weights[place]): tensor for place, tensor in given.items()}
    variables = zip(model.trainable_variables, optimizer.starts, optimizer.constants, strict=True)
    for variable, start, constant in variables:
        start.assign(variable)
        if id(variable) in constants:
            constant.assign(constants[id(variable)])


class _Hooked:
    """What `hooked` adds to an optimizer."""

    change: Change
    starts: Sequence[Any]
    constants: Sequence[Any]

    def build(self: Any, variables: Sequence[Any]) -> None:
        super().build(variables)  # type: ignore[misc]
        self.starts, self.constants = self.add_optimizer_variables(variables, ["start", "constant"])

    def _backend_apply_gradients(self: Any, grads: Sequence[Any], trainable_variables: Sequence[Any]) -> None:
        """After Keras has unscaled them and left out those that are none."""
        changed = []
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            at = self._get_variable_index(variable)
            dense = keras.ops.convert_to_tensor(gradient)  # that of an embedding comes as rows
            terms = (variable, self.starts[at], self.constants[at])
            changed.append(self.change(dense, *(keras.ops.convert_to_tensor(term) for term in terms)))
        super()._backend_apply_gradients(changed, trainable_variables)  # type: ignore[misc]
