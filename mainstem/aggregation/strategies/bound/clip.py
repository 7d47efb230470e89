"""Norm bounding: Sun et al., "Can You Really Backdoor Federated Learning?", 2019 (arXiv:1911.07963), section 5."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec

from mainstem.aggregation.measures import Measures
from mainstem.aggregation.strategies.choice import Bound
from mainstem.runtime.fields import Params


class ClipParams(Params, frozen=True, kw_only=True):
    """How long a change may be."""

    clip_norm: Annotated[
        float,
        msgspec.Meta(
            gt=0, le=1_000_000, title="Largest change",
            description="L2 norm of a client's change of the trained numbers; a longer one is shortened to it.",
        ),
    ] = 10.0  # fmt: skip


class Clip(Bound):
    """A change whose norm is larger is multiplied by norm bound / norm, all of its floats alike."""

    name: ClassVar[str] = "clip"
    summary: ClassVar[str] = "A change longer than a bound is shortened to it."
    measured: ClassVar[bool] = True
    pairs: ClassVar[bool] = False

    Params = ClipParams
    params: ClipParams

    def scales(self, measures: Measures) -> Sequence[float]:
        """See `Bound`."""
        bound = self.params.clip_norm
        return [1.0 if norm <= bound else bound / norm for norm in measures.norms()]
