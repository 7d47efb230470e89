"""A run's model as one site has it: with tensors that stay there, or narrower than the federation's.

See `protocol.adapting` for the papers. A version goes down as the site's model: cut to the leading parts that it has,
with the site's own tensors where it has some. What it has learned goes up as those tensors, or parts, that the run
exchanges with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from mainstem.aggregation.slices import leading
from mainstem.client.keep import State
from mainstem.errors import ConfigError
from mainstem.protocol import adapting
from mainstem.protocol.adapting import Fit
from mainstem.protocol.exchange import exchange, narrow
from mainstem.protocol.messages import Opened, TensorSpec
from mainstem.protocol.weights import Tensor

PERSONAL: Final = "personal"
"""By this name a client keeps the tensors that stay with it."""


class Site:
    """One run at one site."""

    def __init__(
        self,
        opened: Opened,
        specs: Sequence[TensorSpec] | None = None,
        architecture: str = "",
        initial: Sequence[Tensor] = (),
    ) -> None:
        """`specs` are those of the site's own model, if it has another than the federation's, `initial` its tensors
        before any training. Raises ConfigError where it cannot take part."""
        self._run = exchange(opened)
        own = self._run.model if specs is None else specs
        fits = adapting.compared(opened, own, opened.architecture if specs is None else architecture)
        if why := adapting.refusal(fits):
            raise ConfigError(
                f"the site's model cannot take part in federation {opened.federation}, whose adapt is "
                f"{opened.adaptation.adapt}: {why}. `mainstem adapt` shows what of it fits"
            )
        self.whole, self._initial = specs is None, initial
        self._places: list[Fit] = sorted((f for f in fits if f.place is not None), key=lambda f: f.place or 0)
        going = {f.number: f.site for f in self._places if f.state in ("fits", "sliced")}
        shapes = {number: going[number] or () for number in self._run.carried if number in going}
        if not shapes:
            raise ConfigError("nothing of the site's model fits the federation's: there is nothing to exchange")
        all_of_it = {number: self._run.model[number].shape for number in self._run.carried}
        self.exchange = self._run if shapes == all_of_it else narrow(self._run, shapes)
        self.note = "" if self.whole else f"It trains a model of its own; of the tensors {adapting.summary(fits)}."

    @property
    def keeps(self) -> bool:
        """Whether tensors stay at the site."""
        return any(fit.state == "kept" for fit in self._places)

    def down(self, version: Sequence[Tensor], kept: State) -> list[Tensor]:
        """The version as the site has it, in the order of its own model; raises ConfigError where what was kept is not
        of this model."""
        mine = iter(self._own(version, kept))
        return [next(mine) if fit.state == "kept" else _part(version, fit) for fit in self._places]

    def _own(self, version: Sequence[Tensor], kept: State) -> Sequence[Tensor]:
        places = [(place, fit) for place, fit in enumerate(self._places) if fit.state == "kept"]
        first = [
            self._initial[place] if self._initial else version[fit.number or 0] for place, fit in places
        ]  # with no initial ones of its own it has the federation's model, and begins with version 0's
        own = kept.get(PERSONAL, first)
        if [(tensor.dtype, tensor.shape) for tensor in own] != [(tensor.dtype, tensor.shape) for tensor in first]:
            raise ConfigError("the tensors that this client kept do not have the shapes of the site's model")
        return own

    def up(self, trained: Sequence[Tensor]) -> list[Tensor]:
        """What was trained, by the numbers of the federation's tensors; what is not exchanged is empty."""
        tensors: list[Tensor] = [np.empty(0)] * len(self._run.model)
        for fit, tensor in zip(self._places, trained, strict=True):
            if fit.state != "kept" and fit.number is not None:
                tensors[fit.number] = tensor
        return tensors

    def staying(self, trained: Sequence[Tensor]) -> State:
        """What of a trained model is kept and not sent; nothing where nothing stays."""
        kept = [tensor for fit, tensor in zip(self._places, trained, strict=True) if fit.state == "kept"]
        return {PERSONAL: kept} if kept else {}


def _part(version: Sequence[Tensor], fit: Fit) -> Tensor:
    assert fit.number is not None and fit.site is not None
    whole = version[fit.number]
    return whole if fit.site == whole.shape else whole[leading(fit.site)]
