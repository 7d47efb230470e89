"""A run read forward: one reader a partition, little memory, and the same verdicts however its records lie."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from mainstem.aggregation.aside import gather
from mainstem.aggregation.blocks import tensors
from mainstem.aggregation.spill import Spill
from mainstem.client.voice import UpdateClaim, Voice
from mainstem.errors import RefusedError, SpillError, UnreadableError
from mainstem.lineage import RunFile, RunReader, course, examine, export, read_history, replay, verify
from mainstem.lineage.passing import FixedEnds
from mainstem.protocol.exchange import exchange, exchange_of, like_trained, nbytes_of
from mainstem.protocol.log import Outgoing, Record
from mainstem.protocol.messages import Accepted, Base, Round, Rules, StrategyChoice, Update, encode, sha256
from mainstem.protocol.packing import PACKED_BYTES
from mainstem.protocol.topics import TopicSpec, aggregator_topic, control_topic, data_topic
from mainstem.protocol.weights import Tensor
from mainstem.testing.memory_log import MemoryLog
from tests.support.chains import round_after
from tests.support.federations import open_federation, rounds_of
from tests.support.runs import START, Ticking, aggregate, clients_of, finished_run
from tests.support.sent import said

LATE = Rules(rounds=6, min_clients=2, max_clients=3, mode="buffered", buffer=2, max_staleness=4)


def run_of(
    start: list[Tensor], rules: Rules, clients: int, partitions: int = 1, packed: int = PACKED_BYTES
) -> tuple[MemoryLog, str]:
    """A finished run over a topic of so many partitions; its updates up to `packed` bytes are one record each."""
    clock = Ticking()
    log = MemoryLog(clock)
    federation = open_federation(log, start, rules, federation="reading1", aggregator_partitions=partitions)
    aggregate(log, federation, clients_of(log, federation, clients, packed=packed), clock)
    return log, federation


@pytest.fixture(scope="module", params=[(1, 0), (3, 0), (1, PACKED_BYTES)], ids=["one", "several", "packed"])
def late(request: pytest.FixtureRequest) -> tuple[MemoryLog, str]:
    """A buffered run with late updates: in chunks over one partition or several, or each in one record."""
    partitions, packed = request.param
    run = run_of(START, LATE, 3, partitions, packed)
    assert any(item.base != record.base for record in rounds_of(*run) for item in record.accepted)
    return run


def read_whole(log: MemoryLog, federation: str, spill: Spill | None = None) -> RunReader:
    """A reader that has gone through all rounds."""
    history = read_history(log, federation)
    with RunReader(log, history, spill=spill) as reading:
        for head, record in history.steps():
            if isinstance(record, Round):
                reading.begin(record)
                bases = [head.model(item.base.version) for item in record.accepted]
                for weights in (head.weights, record.weights, *filter(None, bases)):
                    reading.model(weights)
                assert len(list(reading.updates(head, record.accepted))) == len(record.accepted)
    return reading


def test_each_partition_has_one_reader(late: tuple[MemoryLog, str]) -> None:
    """Manifests after their chunks, late updates, several partitions: nothing is sought; each version is read once."""
    log, federation = late
    readers = read_whole(log, federation).readers
    topic = aggregator_topic(federation)
    used = {partition for partition in range(log.partitions(topic)) if log.bounds(topic, partition)[1]}
    assert {place: readers[place] for place in readers if place[0] == topic} == {(topic, n): 1 for n in used}
    assert readers[data_topic(federation), 0] == LATE.rounds + 1


@pytest.mark.parametrize(("memory", "disk"), [(0, None), (100, None), (1 << 20, 0)])
def test_verdicts_do_not_depend_on_where_bytes_wait(late: tuple[MemoryLog, str], memory: int, disk: int | None) -> None:
    """All on disk, some of it, all in memory."""
    assert list(verify(*late, spill=Spill(memory, disk))) == list(verify(*late))
    assert {proof.state for proof in verify(*late)} == {"proved"}


def test_a_full_disk_is_no_verdict(late: tuple[MemoryLog, str]) -> None:
    """It is an error about this machine, not about the run."""
    with pytest.raises(SpillError, match="make room"):
        list(verify(*late, spill=Spill(0, 0)))


def test_what_went_by_too_early_is_sought(
    late: tuple[MemoryLog, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where nothing may wait, each late chunk costs a reader; verdicts, replays, examinations, exports are the same."""
    log, federation = late
    before = read_whole(log, federation).readers.total()
    honest = [list(verify(*late)), list(replay(*late)), examine(*late, 3), export(*late, tmp_path / "a").sha256]
    monkeypatch.setattr(course, "IN_FLIGHT", -(1 << 40))
    assert read_whole(log, federation).readers.total() > before
    assert [list(verify(*late)), list(replay(*late)), examine(*late, 3), export(*late, tmp_path / "b").sha256] == honest
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Pruning(MemoryLog):
    """A log whose readers notice what is deleted while they read."""

    def __init__(self, inner: MemoryLog) -> None:
        super().__init__(Ticking())
        self._topics, self._ids = inner._topics, inner._ids

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See `log.MessageLog`."""
        for record in super().read(topic, partition, start, end):
            if record.offset < self.bounds(topic, partition)[0]:
                raise UnreadableError(f"{topic} no longer holds offset {record.offset}")
            yield record


def test_records_that_go_meanwhile_are_gone() -> None:
    """Retention overtakes a proof: what it deletes is gone, not different, and what is left is proved."""
    run, federation = finished_run(rounds=4)
    log = Pruning(run)
    proofs = verify(log, federation)
    found = [next(proofs), next(proofs)]
    third = rounds_of(log, federation)[2]
    log.delete_records(aggregator_topic(federation), 0, min(item.offset for item in third.accepted) + 1)
    found += proofs
    assert [proof.state for proof in found] == ["proved", "proved", "gone", "gone", "proved"]


def test_memory_does_not_grow_with_the_clients() -> None:
    """Sixteen updates of 1 MB through a spill of 1 MB take a few models' memory, and the file the rest."""
    model: list[Tensor] = [np.zeros(1 << 16, np.float32) for _ in range(4)]
    log, federation = run_of(model, Rules(rounds=1, min_clients=16, max_clients=16), 16)
    spill = Spill(memory=1 << 20)
    tracemalloc.start()
    states = [proof.state for proof in verify(log, federation, spill=spill)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert states == ["proved"] * 2
    assert peak < 8 << 20


def test_a_manifest_that_names_chunks_again_takes_no_more_room() -> None:
    """It is refused at the first chunk that is out of order, whatever else it names."""
    log, federation = finished_run(rounds=1)
    weights, specs = rounds_of(log, federation)[0].weights, read_history(log, federation).opened.tensors
    again = msgspec.structs.replace(weights, chunks=(weights.chunks[0], *weights.chunks))
    far = msgspec.structs.replace(weights, chunks=(msgspec.structs.replace(weights.chunks[0], first=1 << 40),))
    for hostile in (again, far):
        with pytest.raises(RefusedError):
            gather(FixedEnds(log), data_topic(federation), hostile, specs, Spill(0, weights.nbytes), aside={})


def test_a_server_s_groups_are_read_and_proved_as_its_versions_are(tmp_path: Path) -> None:
    """Adam's moments: once each from the data topic, in the export too; whatever byte of them changes is found."""
    log, federation = finished_run(rounds=3, strategy=StrategyChoice(name="fedadam"))
    groups = len(rounds_of(log, federation)[0].state)
    assert groups and [proof.state for proof in verify(log, federation, spill=Spill(0))] == ["proved"] * 4
    export(log, federation, tmp_path / "run")
    with RunFile(tmp_path / "run") as run:
        assert [proof.state for proof in run.proofs()] == ["proved"] * 4
    history = read_history(log, federation)
    with RunReader(log, history) as reading:
        for head, record in history.steps():
            if isinstance(record, Round):
                reading.begin(record)
                for name, weights in [
                    ("", head.weights), *head.groups.items(), ("", record.weights), *record.state.items(),
                ]:  # fmt: skip
                    reading.tensors(weights, name)
    assert [reading.readers[data_topic(federation), partition] for partition in (0, 1)] == [1 + 3, 3 * groups]
    offset = next(iter(rounds_of(log, federation)[1].state.values())).chunks[0].first
    chunk = log._topics[data_topic(federation)][1][offset]
    log._topics[data_topic(federation)][1][offset] = replace(chunk, value=bytes(len(chunk.value or b"")))
    assert [proof.state for proof in verify(log, federation)] == ["proved", "proved", "differs", "differs"]


@pytest.mark.parametrize("dtype", ["gloat32", "float31", "U9"])
@pytest.mark.parametrize("strategy", ["fedavg", "fedadam"])
def test_types_that_do_not_exist_are_a_difference(dtype: str, strategy: str) -> None:
    """A run whose opening names one, and whose round follows it all the same, is judged like any other."""
    log, federation = finished_run(rounds=1, strategy=StrategyChoice(name=strategy))
    control, opened = control_topic(federation), read_history(log, federation).opened
    (record,) = rounds_of(log, federation)
    specs = tuple(msgspec.structs.replace(spec, dtype=dtype) for spec in opened.tensors)
    forged = msgspec.structs.replace(opened, tensors=specs)
    log.delete_topics([control])
    log.create_topics([TopicSpec(control, 1, {})])
    log.append(control, [Outgoing(encode(forged))])
    begun = read_history(log, federation).head
    log.append(control, [Outgoing(encode(msgspec.structs.replace(record, seq=1, prev=begun.link.hash)))])
    assert [proof.state for proof in verify(log, federation)] == ["differs", "differs"]


@pytest.mark.parametrize("packed", [0, PACKED_BYTES])
def test_further_groups_of_an_update_are_read_with_it(packed: int) -> None:
    """They are numbered behind the model's tensors; their bytes lie where its own do, and stand or fall with them."""
    log, federation = finished_run(rounds=1)
    control, topic = control_topic(federation), aggregator_topic(federation)
    head = read_history(log, federation).head
    drift = like_trained(exchange(head.opened), "drift", "up")
    opened = encode(msgspec.structs.replace(head.opened, groups=(drift,)))
    log.delete_topics([control])
    log.create_topics([TopicSpec(control, 1, {})])
    log.append(control, [Outgoing(opened)])
    moved = [np.full(spec.shape, 7, spec.dtype) for spec in drift.tensors]
    sender = Voice(log, federation, "c9", "1", packed=packed)
    specs = exchange_of(head.opened.tensors, (drift,))
    carried = [START[number] for number in specs.carried]
    sender.update(Base(seq=0, version=0), 0, specs, carried, UpdateClaim(1), {"drift": moved})
    (manifest, offset) = next((m, r.offset) for r, m in said(log, federation) if getattr(m, "client", "") == "c9")
    assert isinstance(manifest, Update) and sorted(manifest.extra) == ["drift"]
    item = Accepted(
        client="c9", offset=offset, sha256=manifest.weights.sha256, record=sha256(encode(manifest)),
        nbytes=nbytes_of(manifest), base=manifest.base, number=0, examples=1, steps=1, coefficient=1.0, received_ms=0,
    )  # fmt: skip
    begun = read_history(log, federation).head
    log.append(control, [Outgoing(encode(msgspec.structs.replace(round_after(begun), accepted=(item,))))])
    history = read_history(log, federation)
    ((_, record),) = history.steps()
    assert isinstance(record, Round)
    with RunReader(log, history, spill=Spill(0)) as reading:
        reading.begin(record)
        (read,) = reading.updates(begun, record.accepted)
        got = tensors(read, exchange(history.opened).update)
    assert [t.tobytes() for t in got] == [t.tobytes() for t in (*START[:2], *moved)]
    assert reading.readers[topic, 0] == 1
