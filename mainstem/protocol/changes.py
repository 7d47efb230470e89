"""Versions that travel as changes: the tensors of a version are its parent's, and what its encoded change decodes to.

Now and then a version is published whole too. So there is a way to each: from a whole one on, change by change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mainstem.errors import RefusedError
from mainstem.protocol import updates
from mainstem.protocol.chunks import Limits
from mainstem.protocol.encodings import Elements, Encoding, fetching
from mainstem.protocol.exchange import CODE, Exchange
from mainstem.protocol.log import Source
from mainstem.protocol.messages import Payload, Reason, Weights
from mainstem.protocol.weights import Tensor, digest


@dataclass(frozen=True, slots=True)
class Way:
    """How a version is read: a whole one, and the versions from there on, each as a change of the one before."""

    whole: Weights
    steps: tuple[Weights, ...] = ()

    @property
    def end(self) -> Weights:
        """The version that it leads to."""
        return self.steps[-1] if self.steps else self.whole


def is_whole(weights: Weights) -> bool:
    """Whether a version is published whole."""
    return weights.change is None or bool(weights.chunks)


def added(parent: Tensor, change: Elements) -> Tensor:
    """parent + change, of the same shape, in the parent's precision, which is at least single while they are added.

    `change` may be used up.
    """
    if parent.dtype == np.float32:
        return np.add(parent, change, out=change)
    with np.errstate(over="ignore"):
        return np.add(parent, change).astype(parent.dtype, copy=False)


def applied(
    specs: Exchange, encoding: Encoding, parent: Sequence[Tensor], carried: Mapping[int, Tensor]
) -> list[Tensor]:
    """The version that a change makes of its parent: trained tensors are parent + change (`added`); what the change
    carries as it is, is that; all others are the parent's own arrays."""
    version, at, fetch = list(parent), 0, fetching(carried[CODE])
    for number in specs.trained:
        before = parent[number]
        change = np.empty(before.shape, np.float32)
        encoding.decode(fetch, specs.elements, at, change.reshape(-1))
        at += before.size
        version[number] = added(before, change)
    return [carried.get(number, tensor) for number, tensor in enumerate(version)]


def read_version(
    log: Source,
    topic: str,
    way: Way,
    specs: Exchange,
    held: Mapping[str, Sequence[Tensor]] | None = None,
    *,
    limits: Limits | None = None,
    written: bool = False,
) -> list[Tensor]:
    """The tensors of the version that a way leads to. `held` has versions by their sha256: the way begins at the last
    of them that it passes, and then the changes' own hashes are the proof; else the version's is compared too.

    Raises as `updates.read` does.
    """
    known, steps = held or {}, list(way.steps)
    tensors: Sequence[Tensor] | None = None
    for place, weights in reversed(list(enumerate((way.whole, *way.steps)))):
        if weights.sha256 in known:
            tensors, steps = known[weights.sha256], list(way.steps[place:])
            break
    joined = tensors is None
    if tensors is None:
        tensors = updates.read(log, topic, way.whole, specs.model, limits=limits, written=written)
    for weights in steps:
        encoding, carried = read_change(log, topic, weights, specs, written=written)
        tensors = applied(specs, encoding, tensors, carried)
    if joined and steps and digest(specs.model, tensors) != way.end.sha256:
        raise RefusedError(Reason.CHECKSUM, "the changes since the last whole version do not make this one")
    return list(tensors)


def change_of(weights: Weights, specs: Exchange) -> tuple[Payload, Encoding]:
    """A version's change, and what it is encoded as; raises RefusedError where it is none such as the run's are."""
    change, encoding = weights.change, specs.down
    if change is None or encoding is None or change.encoding != encoding.name:
        raise RefusedError(Reason.ENCODING, "it is no change such as this run's versions travel as")
    return change, encoding


def read_change(
    log: Source, topic: str, weights: Weights, specs: Exchange, *, written: bool = False
) -> tuple[Encoding, dict[int, Tensor]]:
    """What a version's change is encoded as, and what it carries, by number (`Exchange.coded`). Raises as
    `updates.read` does."""
    change, encoding = change_of(weights, specs)
    due = specs.coded(encoding)
    found = updates.read(log, topic, change, list(due.values()), written=written)
    carried = dict(zip(due, found, strict=True))
    encoding.check(fetching(carried[CODE]), specs.elements)
    return encoding, carried
