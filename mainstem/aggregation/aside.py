"""Records that pass by before the manifest that names them: set aside, judged as an update's, and kept as its payload.

So each byte is fetched once, and memory is the spill's, whatever the models' size and the number of clients.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mainstem.aggregation.spill import Piece, Spill
from mainstem.protocol import updates
from mainstem.protocol.chunks import Checker, Limits, check_manifest
from mainstem.protocol.exchange import Exchange, is_packed, manifests, parts_of
from mainstem.protocol.log import Record, Source
from mainstem.protocol.messages import Payload, TensorSpec, Update
from mainstem.protocol.packing import check_payload
from mainstem.protocol.weights import Buffer

Place = tuple[int, int]
"""A record's partition and offset."""

Passing = Mapping[Place, "Record | PassingRecord"]
"""What passed by, whole or set aside."""


@dataclass(frozen=True, slots=True)
class PassingRecord:
    """A record that passed by, its value set aside. `turn` is when."""

    record: Record
    piece: Piece
    turn: int

    @property
    def offset(self) -> int:
        """In its partition."""
        return self.record.offset

    @property
    def headers(self) -> Mapping[str, bytes]:
        """As they were written."""
        return self.record.headers

    def whole(self) -> Record:
        """As it passed by; raises SpillError."""
        return replace(self.record, value=bytes(self.piece.read()))


class Aside(OrderedDict[Place, PassingRecord]):
    """Records with payloads that passed by, by partition and offset: the oldest go first beyond `most` bytes."""

    def __init__(self, spill: Spill) -> None:
        super().__init__()
        self._spill, self._nbytes, self.most = spill, 0, 0

    def put(self, record: Record, turn: int = 0) -> None:
        """Set a record aside; raises SpillError."""
        piece = self._spill.keep(record.value or b"")
        self[record.partition, record.offset] = PassingRecord(replace(record, value=None), piece, turn)
        self._nbytes += piece.nbytes
        while self and self._nbytes > self.most:
            self._drop(next(iter(self)))

    def release(self, offset: int, update: Update) -> None:
        """Forget the payload of an update that was read whole; its record stands at `offset`."""
        for place in places(offset, update):
            self._drop(place)

    def forget(self, turn: int) -> None:
        """Forget what passed by before that turn."""
        while self and next(iter(self.values())).turn < turn:
            self._drop(next(iter(self)))

    def clear(self) -> None:
        """Forget all of them."""
        super().clear()
        self._nbytes = 0

    def _drop(self, place: Place) -> None:
        passed = self.pop(place, None)
        self._nbytes -= passed.piece.nbytes if passed is not None else 0


def places(offset: int, update: Update) -> Iterator[Place]:
    """Where an update's payload may stand whose record stands at `offset`."""
    yield 0, offset
    for run in itertools.chain.from_iterable(weights.chunks for weights in manifests(update)):
        for named in range(run.first, run.first + run.count):
            yield run.partition, named


def gather(
    source: Source,
    topic: str,
    weights: Payload,
    specs: Sequence[TensorSpec],
    spill: Spill,
    *,
    aside: Passing,
) -> list[Piece]:
    """The payload of the tensors of these specs that a manifest names, all of it checked: as `updates.read` does, but
    what memory it takes is the spill's. Raises as that does, and SpillError."""
    check_manifest(weights, specs, Limits())
    checker = Checker(weights, specs)
    pieces: list[Piece] = []
    for record in updates.records(source, topic, weights.chunks, aside):
        checker.add(record.headers, _value(record))
        pieces.append(_kept(record, spill))
    checker.finish()
    return pieces


def gather_update(
    source: Source,
    topic: str,
    offset: int,
    update: Update,
    exchange: Exchange,
    spill: Spill,
    *,
    aside: Passing,
) -> list[Piece]:
    """All payloads of the update whose record stands at `offset` and has passed `exchange.check_update`, as
    `updates.read_update` reads them. Raises as `gather` does."""
    if is_packed(update):
        record = updates.packed_record(source, topic, offset, aside)
        check_payload(update, exchange, _value(record))
        return [_kept(record, spill)]
    each = parts_of(update, exchange)
    return [piece for weights, specs in each for piece in gather(source, topic, weights, specs, spill, aside=aside)]


def _value(record: Record | PassingRecord) -> Buffer:
    return record.piece.read() if isinstance(record, PassingRecord) else record.value or b""


def _kept(record: Record | PassingRecord, spill: Spill) -> Piece:
    return record.piece if isinstance(record, PassingRecord) else spill.keep(record.value or b"")
