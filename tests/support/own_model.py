"""Sites whose model is another than the federation's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mainstem.client.personal import Site
from mainstem.protocol.messages import Opened
from mainstem.protocol.weights import Tensor, specs_of


def site_of(tensors: Sequence[Tensor]) -> Callable[[Opened], Site]:
    """A site whose own model has these tensors before any training, named as the swarm names a federation's."""

    def site(opened: Opened) -> Site:
        return Site(opened, specs_of((f"t{n}", tensor) for n, tensor in enumerate(tensors)), "{}", tensors)

    return site
