"""The models and updates of a run's rounds, each partition of its topics read once and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType

from mainstem.aggregation.aside import gather, gather_update
from mainstem.aggregation.blocks import Reader, tensors
from mainstem.aggregation.decoding import coded, decoding
from mainstem.aggregation.spill import Spill, reader_of
from mainstem.errors import DecodeError, RefusedError, UnreadableError
from mainstem.lineage.course import Course, reach
from mainstem.lineage.history import History
from mainstem.lineage.passing import FixedEnds, Passage, Passed
from mainstem.protocol.chain import Head
from mainstem.protocol.changes import applied, change_of, is_whole
from mainstem.protocol.chunks import Limits
from mainstem.protocol.exchange import Exchange, check_update, exchange, parts_of, published, sent
from mainstem.protocol.log import Record, Source
from mainstem.protocol.manifests import manifest_in
from mainstem.protocol.messages import Accepted, Admission, Reason, Round, Update, Weights
from mainstem.protocol.packing import signer_of
from mainstem.protocol.weights import Tensor, bytes_of, digest, wire
from mainstem.rounds import Seen, admission

Key = tuple[object, ...]


class RunReader:
    """Reads the rounds that `wanted` chooses; they are begun in order. A context manager.

    Memory is the spill's, whatever the models' size and the number of clients: it takes what passes by before its
    manifest, and the models that a later round needs. What lies otherwise than an honest run leaves it costs a reader
    of its own; `readers` counts all of them, by topic and partition.
    """

    def __init__(
        self,
        log: Source,
        history: History,
        wanted: Callable[[Round], bool] = lambda record: True,
        spill: Spill | None = None,
    ) -> None:
        self._source, self._topics, self._spill = FixedEnds(log), history.opened.topics, spill or Spill()
        self._passage = Passage(self._source, self._topics.aggregator, self._spill)
        self.readers = self._source.readers
        self._course, self._exchange = Course(history, wanted), exchange(history.opened)
        self._published = {"": self._exchange.model} | published(history.opened)
        self._until: dict[Key, int] = {}
        self._models: dict[Key, tuple[Weights, Reader]] = {}
        self._round: Round | None = None
        self._passed: Passed | None = None
        self._manifests: dict[int, Update] = {}
        self._updates: dict[int, Reader] = {}
        self._parents: dict[Key, Weights] = {}
        for head, record in history.steps():
            if isinstance(record, Round) and not is_whole(record.weights):
                self._parents[_key(record.weights)] = head.weights
            if isinstance(record, Round) and wanted(record):
                for weights in _models(head, record):
                    self._until[_key(weights)] = record.seq

    def __enter__(self) -> RunReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._passage.close()
        self._spill.close()

    def begin(self, record: Round) -> None:
        """The next round; what only those before it needed is forgotten."""
        for key in [key for key in self._models if self._until[key] < record.seq]:
            del self._models[key]
        self._round = record
        self._passed = None
        self._manifests.clear()
        self._updates.clear()

    def model(self, weights: Weights, group: str = "") -> Reader:
        """Reads the tensors of a version, or of a group published with one, every byte of them checked.

        Raises RefusedError where they are not what the manifest says, UnreadableError where they are gone, LogError.
        """
        key = _key(weights)
        known = self._models.get(key)
        if known is not None and known[0] == weights:
            return known[1]
        if is_whole(weights):
            specs = self._published[group]
            pieces = gather(self._source, self._topics.data, weights, specs, self._spill, aside={})
            read = reader_of(dict(enumerate(specs)), pieces)
        else:
            read = self._stepped(weights)
        if key in self._until:
            self._models[key] = (weights, read)
        return read

    def change(self, weights: Weights) -> Reader | None:
        """Reads what a version's change carries, every byte of it checked; None where it travels as none. Raises as
        `model` does."""
        if weights.change is None:
            return None
        specs = self._exchange
        change, encoding = change_of(weights, specs)
        carried = specs.coded(encoding)
        pieces = gather(self._source, self._topics.data, change, list(carried.values()), self._spill, aside={})
        read = reader_of(carried, pieces)
        encoding.check(coded(read), specs.elements)
        return read

    def _stepped(self, weights: Weights) -> Reader:
        """Of a version that is published as a change alone: from the last one before it that is known or whole."""
        steps, found, specs = [weights], self._parents[_key(weights)], self._exchange
        while not is_whole(found) and _key(found) not in self._models:
            steps.append(found)
            found = self._parents[_key(found)]
        model = self.tensors(found)
        for step in reversed(steps):
            read = self.change(step)
            assert read is not None and specs.down is not None
            carried = specs.coded(specs.down)
            model = applied(specs, specs.down, model, dict(zip(carried, tensors(read, carried), strict=True)))
        if digest(specs.model, model) != weights.sha256:
            raise RefusedError(Reason.CHECKSUM, "the changes since the last whole version do not make it")
        return reader_of(
            dict(enumerate(specs.model)), [self._spill.keep(bytes_of(wire(tensor))) for tensor in model if tensor.size]
        )

    def tensors(self, weights: Weights, group: str = "") -> list[Tensor]:
        """All of a version's tensors, in memory; raises as `model` does."""
        return tensors(self.model(weights, group), dict(enumerate(self._published[group])))

    def updates(self, head: Head, accepted: Sequence[Accepted]) -> Iterator[Reader]:
        """Reads each of these updates of the round, in their order, every byte of them checked: their tensors are
        numbered as `Exchange.update` has them.

        Raises RefusedError or DecodeError where one is not what the round says, UnreadableError where it is gone,
        LogError.
        """
        if self._passed is None:
            self._passed = self._pass_by(head)
        for item in accepted:
            if item.offset not in self._updates:
                self._updates[item.offset] = self._update(head, item)
            yield self._updates[item.offset]

    def sent(self, item: Accepted) -> Exchange | None:
        """What the update carries, where that is not the whole model; raises as `updates` does."""
        if not self._exchange.loose:
            return None
        update = self._manifest(item)
        return sent(update, self._exchange) if update.tensors else None

    def _update(self, head: Head, item: Accepted) -> Reader:
        offset, update, specs = item.offset, self._manifest(item), self._exchange
        check_update(update, specs, Limits().nbytes)
        topic, aside = self._topics.aggregator, self._passage.aside
        pieces = gather_update(self._source, topic, offset, update, specs, self._spill, aside=aside)
        aside.release(offset, update)
        carried = reader_of(sent(update, specs).update, pieces)
        if specs.encoding is None:
            return carried
        specs.encoding.check(coded(carried), specs.elements)
        origin = head.model(item.base.version)
        if origin is None:
            raise UnreadableError(f"version {item.base.version}, which it changes, is no longer part of the run")
        return decoding(carried, specs, self.model(origin))

    def _pass_by(self, head: Head) -> Passed:
        """Read on to the last update of the round: to its manifest, then its chunks beside partition 0."""
        assert self._round is not None
        window, passage, topic = self._course.window(head, self._round), self._passage, self._topics.aggregator
        passage.aside.most = window.most
        passage.aside.forget(window.turn - window.reach)
        self._passed = passage.read(0, window.start, window.end, window)
        partitions = self._source.partitions(topic)
        beside = self._beside(self._round) if partitions > 1 else {}
        for partition in range(1, partitions):
            if places := beside.get(partition):
                passage.read(partition, min(places), max(places), window)
        return self._passed

    def _beside(self, record: Round) -> dict[int, list[int]]:
        """Where the runs of chunks begin and end that the round's manifests name, by partition."""
        places: dict[int, list[int]] = {}
        for item in record.accepted:
            try:
                update = self._manifest(item)
                check_update(update, self._exchange, Limits().nbytes)
            except (RefusedError, DecodeError, UnreadableError):
                continue  # said when it is asked for
            for weights, _ in parts_of(update, self._exchange):
                for run in weights.chunks:
                    places.setdefault(run.partition, []).extend((run.first, run.first + run.count))
        return places

    def site(self, rules: Admission, keys: Mapping[bytes, str], item: Accepted) -> str:
        """The site whose key, one of the admitted `keys` by their ids, the update is signed with.

        Raises RefusedError where none that the run admits has signed it in time.
        """
        record = self._record(item)
        if record is None:
            return ""
        signer, problem = signer_of(record, keys)
        time_ms = min(record.timestamp_ms, item.received_ms)
        return admission.site_of(rules, Seen(item.offset, time_ms, None, problem, signer=signer), time_ms)

    def _record(self, item: Accepted) -> Record | None:
        """The record at the update's offset, perhaps without its payload."""
        if self._passed is not None and item.offset in self._passed.offsets:
            return self._passed.named.get(item.offset)
        return next(iter(self._source.read(self._topics.aggregator, 0, item.offset, item.offset + 1)), None)

    def _manifest(self, item: Accepted) -> Update:
        found = self._manifests.get(item.offset)
        if found is None:
            found = self._manifests[item.offset] = manifest_in(self._record(item), item)
        return found


def _models(head: Head, record: Round) -> Iterator[Weights]:
    """The models that a round's proof reads: its head's and its own, with the groups that were published with them,
    and those that its late updates started from."""
    yield from (head.weights, *head.groups.values(), record.weights, *record.state.values())
    late = {item.base for item in record.accepted} - {head.base}
    if late:
        kept = reach(head) + 1
        for base, weights in zip(head.lineage[-kept:], head.models[-kept:], strict=True):
            if base in late:
                yield weights


def _key(weights: Weights) -> Key:
    return weights.writer, weights.update, weights.sha256, weights.chunks
