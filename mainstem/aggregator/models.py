"""The global models that a reduction needs: the head's, and those that late updates started from."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from mainstem.errors import RefusedError, UnreadableError
from mainstem.protocol.messages import Weights
from mainstem.protocol.weights import Tensor


class Models:
    """Reads models by their manifests and keeps the ones used last: always one, more within `budget` bytes."""

    def __init__(self) -> None:
        self.budget = 0
        self._kept: OrderedDict[tuple[str, str], tuple[Weights, list[Tensor]]] = OrderedDict()

    @property
    def held(self) -> Mapping[str, list[Tensor]]:
        """The tensors of those that are kept, by sha256."""
        return {weights.sha256: tensors for weights, tensors in self._kept.values()}

    def get(self, topic: str, weights: Weights, version: int, read: Callable[[], list[Tensor]]) -> list[Tensor]:
        """The tensors of a version, which `read` reads where they are not kept; raises UnreadableError where its
        records are gone or others, LogError."""
        found = self._kept.get((weights.writer, weights.update))
        if found is None or found[0] != weights:
            try:
                found = (weights, read())
            except (RefusedError, UnreadableError) as error:
                # the chain stands: unreadable weights are an error to report, never a reason for another head
                raise UnreadableError(
                    f"the weights of version {version} cannot be read from {topic}: {error}; roll back to a version "
                    "whose weights are there, or restore the topic from a copy"
                ) from error
        self.keep(*found)
        return found[1]

    def keep(self, weights: Weights, tensors: list[Tensor]) -> None:
        """Remember a model that was just published."""
        self._kept[weights.writer, weights.update] = (weights, tensors)
        self._kept.move_to_end((weights.writer, weights.update))
        while len(self._kept) > 1 and sum(w.nbytes for w, _ in self._kept.values()) > self.budget:
            self._kept.popitem(last=False)
