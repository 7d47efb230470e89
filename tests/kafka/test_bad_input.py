"""Bad input over a real broker: each record is refused with its reason, and the run ends as it would have."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest

from mainstem.aggregator.federation import Federation
from mainstem.client.voice import Voice
from mainstem.kafka.client.log import KafkaLog
from mainstem.protocol import topics, updates
from mainstem.protocol.chunks import chunks, runs_of
from mainstem.protocol.log import Outgoing
from mainstem.protocol.messages import (
    Base,
    ChunkRun,
    Heartbeat,
    Joined,
    Left,
    Reason,
    Round,
    Rules,
    Tick,
    Update,
    Weights,
    encode,
)
from mainstem.protocol.packing import pack
from mainstem.protocol.weights import Tensor, digest, payload_bytes, payload_of, specs_of
from mainstem.runtime.clock import SystemClock
from tests.support.federations import LightClient, open_federation, rounds_of
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.kafka

MODEL: list[Tensor] = [np.zeros((64, 40), np.float32), np.zeros(7, np.float32)]
SPECS = specs_of(zip(["t0", "t1"], MODEL, strict=True))
CHUNK = 4096
RULES = Rules(rounds=2, min_clients=2, max_clients=4)


def values(seed: int) -> list[Tensor]:
    """Some client's weights."""
    random = np.random.default_rng(seed)
    return [random.normal(size=t.shape).astype(t.dtype) for t in MODEL]


class Liar:
    """Writes whatever it likes into a federation's aggregator topic."""

    def __init__(self, log: KafkaLog, federation: str) -> None:
        self.log, self.federation = log, federation
        self.topic = topics.aggregator_topic(federation)

    def send(self, value: bytes, **fields: Any) -> int:
        """One record; its offset."""
        return self.log.append(self.topic, [Outgoing(value, **fields)])[0]

    def join(self) -> None:
        """It takes part like any other client."""
        self.send(encode(Joined(federation=self.federation, client="liar", incarnation="1", examples=5)))

    def chunks(self, tensors: list[Tensor], change: Callable[[list[Outgoing]], list[Outgoing]] = list) -> Weights:
        """The chunks of some tensors, changed, and a manifest that names them all."""
        records = [Outgoing(c.data, headers=c.headers("liar", "u")) for c in chunks(payload_of(tensors), CHUNK)]
        offsets = self.log.append(self.topic, change(records))
        specs = specs_of((f"t{i}", t) for i, t in enumerate(tensors))
        return Weights(
            writer="liar",
            update="u",
            chunks=runs_of((0, o) for o in offsets),
            nbytes=payload_bytes(specs),
            sha256=digest(specs, tensors),
        )

    def update(self, weights: Weights, **changes: Any) -> int:
        """A manifest from version 0, changed."""
        return self.send(encode(update_of(weights, **changes)))

    def pack(self, tensors: list[Tensor], change: Callable[[bytes], bytes] = bytes, **changes: Any) -> int:
        """An update in one record: its payload changed, or its manifest."""
        weights = updates.unsent(writer="liar", update="u", specs=SPECS, tensors=tensors)
        payload = change(b"".join(tensor.tobytes() for tensor in tensors))
        return self.log.append(self.topic, [pack(update_of(changed(weights, **changes)), payload)])[0]

    def headed(self, manifest: bytes) -> int:
        """A payload with that beside it."""
        return self.send(b"x" * 8, headers=[("kind", b"update"), ("manifest", manifest)])


def update_of(weights: Weights, **changes: Any) -> Update:
    """A manifest from version 0, changed."""
    fields: dict[str, Any] = {"client": "liar", "incarnation": "1", "base": Base(seq=0, version=0), "number": 0}
    return Update(**(fields | {"examples": 5, "weights": weights} | changes))


def changed(weights: Weights, **changes: Any) -> Weights:
    """A manifest with some fields changed."""
    return msgspec.structs.replace(weights, **changes)


def raw(update: dict[str, Any], **changes: Any) -> bytes:
    """A manifest that our own types would not even write."""
    return json.dumps(update | changes).encode()


def bad_records(liar: Liar) -> list[tuple[str, str, int, str]]:
    """Every kind of bad record: (what, the reason it must be refused for, its offset, a word of the sentence)."""
    good = values(9)
    whole = liar.chunks(good)
    honest = json.loads(
        encode(Update(client="liar", incarnation="1", base=Base(seq=0, version=0), number=0, examples=5, weights=whole))
    )
    negative = honest["weights"] | {"chunks": [[0, -4, 4]]}
    nan = [good[0].copy(), good[1]]
    nan[0][3, 3] = np.nan
    infinite = [good[0], np.full(7, np.inf, np.float32)]
    lone = liar.send(b"x" * 8, headers=[("kind", b"chunk"), ("writer", b"liar")])
    others = updates.publish(liar.log, liar.topic, writer="A", update="u", specs=SPECS, tensors=good, chunk_bytes=CHUNK)
    missing, checksum, shape, malformed = Reason.MISSING_CHUNKS, Reason.CHECKSUM, Reason.SHAPE, Reason.MALFORMED
    end = liar.log.bounds(liar.topic, 0)[1]

    def cut(records: list[Outgoing]) -> list[Outgoing]:
        return [msg_replace(r, value=bytes(r.value or b"")[:-1]) for r in records]

    def flipped(records: list[Outgoing]) -> list[Outgoing]:
        data = bytearray(records[0].value or b"")
        data[0] ^= 1
        return [msg_replace(records[0], value=bytes(data)), *records[1:]]

    return [
        ("truncated chunks", missing, liar.update(liar.chunks(good, cut)), "not all there"),
        ("altered chunk", checksum, liar.update(liar.chunks(good, flipped)), "sha256"),
        ("reordered chunks", missing, liar.update(liar.chunks(good, lambda r: r[::-1])), "out of order"),
        ("a lost chunk", missing, liar.update(liar.chunks(good, lambda r: r[:-1])), "chunks"),
        ("a repeated chunk", missing, liar.update(liar.chunks(good, lambda r: [r[0], *r])), "out of order"),
        ("wrong sha256", checksum, liar.update(changed(whole, sha256="0" * 64)), "sha256"),
        ("wrong shape", checksum, liar.update(liar.chunks([good[0].T.copy(), good[1]])), "tensors of another model"),
        ("wrong dtype", shape, liar.update(liar.chunks([good[0].astype(np.float64), good[1]])), "the manifest says"),
        ("one tensor less", shape, liar.update(liar.chunks(good[:1])), "2 tensors take 10,268 bytes"),
        ("NaN", Reason.NOT_FINITE, liar.update(liar.chunks(nan)), "'t0' holds NaN"),
        ("infinity", Reason.NOT_FINITE, liar.update(liar.chunks(infinite)), "'t1' holds NaN or infinity"),
        ("no chunks at all", malformed, liar.update(changed(whole, chunks=())), "names no chunks"),
        ("a payload that is too short", checksum, liar.pack(good, lambda data: data[:-1]), "10,267 bytes"),
        ("a payload that is too long", checksum, liar.pack(good, lambda data: data + b"x"), "10,269 bytes"),
        ("an altered payload", checksum, liar.pack(good, lambda data: b"\1" + data[1:]), "sha256"),
        ("an empty payload", checksum, liar.pack(good, lambda data: b""), "0 bytes"),
        ("JSON as payload", checksum, liar.pack(good, lambda data: encode(Tick(writer="w"))), "manifest says 10,268"),
        ("a packed claim of 10 GB", Reason.TOO_LARGE, liar.pack(good, nbytes=10 * 10**9), "10,000,000,000 bytes"),
        ("a packed claim of less", shape, liar.pack(good, nbytes=16), "the manifest says 16"),
        ("packed, and chunks", malformed, liar.pack(good, chunks=whole.chunks), "one or the other"),
        ("packed NaN", Reason.NOT_FINITE, liar.pack(nan), "'t0' holds NaN"),
        ("another's packed update", malformed, liar.pack(good, writer="A"), "not by liar"),
        ("a payload alone", malformed, liar.send(b"x", headers=[("kind", b"update")]), "has no manifest"),
        ("a manifest that is no JSON", malformed, liar.headed(b"\xff"), "not a record"),
        ("a manifest of a heartbeat", malformed, liar.headed(encode(Tick(writer="w"))), "no update"),
        ("chunks of the future", missing, liar.update(changed(whole, chunks=(ChunkRun(0, 10**9, 4),))), "after it"),
        ("2**50 chunks", missing, liar.update(changed(whole, chunks=(ChunkRun(0, 0, 2**50),))), "after it"),
        (
            "a partition that is not there",
            missing,
            liar.update(changed(whole, chunks=(ChunkRun(7, 0, 4),))),
            "partition 7",
        ),
        ("no chunk at the offset", missing, liar.update(changed(whole, chunks=(ChunkRun(0, 0, 4),))), "something else"),
        ("a chunk without its headers", missing, liar.update(changed(whole, chunks=(ChunkRun(0, lone, 1),) * 4)), ""),
        ("another writer's chunks", missing, liar.update(changed(whole, chunks=others.chunks)), "something else"),
        ("a 10 GB claim", Reason.TOO_LARGE, liar.update(changed(whole, nbytes=10 * 10**9)), "10,000,000,000 bytes"),
        ("no examples", Reason.EXAMPLES, liar.update(whole, examples=0), "0 examples"),
        ("too many examples", Reason.EXAMPLES, liar.update(whole, examples=1 << 50), "examples"),
        ("an unknown base", Reason.UNKNOWN_BASE, liar.update(whole, base=Base(seq=0, version=3)), "descend"),
        ("a future base", Reason.UNKNOWN_BASE, liar.update(whole, base=Base(seq=99, version=99)), "record 99"),
        ("a second number", Reason.DUPLICATE, liar.update(whole, number=1), "number 0"),
        ("an unknown client", Reason.UNKNOWN_CLIENT, liar.update(whole, client="stranger"), "not joined"),
        (
            "an unknown client's heartbeat",
            Reason.UNKNOWN_CLIENT,
            liar.send(encode(heartbeat("stranger"))),
            "not joined",
        ),
        ("a foreign federation", Reason.MALFORMED, liar.send(encode(joined("zzzzzzzz", "liar"))), "'zzzzzzzz'"),
        ("a full federation", Reason.FULL, liar.send(encode(joined(liar.federation, "fifth"))), "4 clients"),
        ("no JSON", Reason.MALFORMED, liar.send(b"\x80\x04\x95pickle"), "not a record of this protocol"),
        ("JSON of something else", Reason.MALFORMED, liar.send(b"[1, 2, 3]"), "object"),
        ("an empty record", Reason.MALFORMED, liar.send(b""), "not a record"),
        ("deep JSON", Reason.MALFORMED, liar.send(b'{"schema":1,"x":' + b"[" * 200_000), "not a record"),
        ("an unknown schema", Reason.MALFORMED, liar.send(raw(honest, schema=2)), "schema 2 is not known"),
        ("a control record", Reason.MALFORMED, liar.send(raw(honest, type="finished")), "finished"),
        ("negative examples", Reason.MALFORMED, liar.send(raw(honest, examples=-5)), "$.examples"),
        (
            "a number beyond all bounds",
            Reason.MALFORMED,
            liar.send(raw(honest, examples=10**99)),
            "beyond the integers",
        ),
        ("a client id with a newline", Reason.MALFORMED, liar.send(raw(honest, client="liar\n")), "$.client"),
        ("a field of another type", Reason.MALFORMED, liar.send(raw(honest, weights="all")), "$.weights"),
        ("negative offsets", Reason.MALFORMED, liar.send(raw(honest, weights=negative)), "$.weights.chunks"),
        ("a metric that poisons the mean", Reason.MALFORMED, liar.send(raw(honest, report=metric(1e300))), "$.report"),
        ("chunks in crumbs", missing, liar.update(changed(whole, chunks=(ChunkRun(0, 0, end - 1),) * 9)), "chunks for"),
    ]


def heartbeat(client: str) -> Heartbeat:
    """A sign of life."""
    return Heartbeat(client=client, incarnation="1", phase="training")


def joined(federation: str, client: str) -> Joined:
    """A client's first record."""
    return Joined(federation=federation, client=client, incarnation="1", examples=1)


def metric(value: float) -> dict[str, Any]:
    """A report with one evaluation."""
    return {"evaluation": {"examples": 2**50, "values": {"loss": value}}}


def msg_replace(record: Outgoing, value: bytes) -> Outgoing:
    """The record with other bytes under the same headers."""
    return Outgoing(value, headers=record.headers, partition=record.partition)


@contextmanager
def aggregating(
    log: KafkaLog, federation: str, retain: int = 1 << 28, spill: int = 1 << 28
) -> Iterator[list[BaseException]]:
    """The real driver in a thread; yields what it raised, which must stay empty."""
    driver = Federation(log, federation, clock=SystemClock(), writer="w", retain=retain, spill=spill)
    leave, raised = threading.Event(), []

    def work() -> None:
        try:
            while not leave.is_set() and driver.step(0.05):
                pass
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield raised
    finally:
        leave.set()
        thread.join()
        driver.close()


def honest_clients(log: KafkaLog, federation: str) -> list[LightClient]:
    """Two clients whose updates depend on the round's base alone."""

    def trainer(seed: int) -> Callable[[Any, int], list[Tensor]]:
        return lambda tensors, _: [t + v for t, v in zip(tensors, values(seed), strict=True)]

    return [LightClient(log, federation, name, trainer(i), examples=3 + i) for i, name in enumerate("AB")]


def drive(clients: list[LightClient], raised: list[BaseException], seconds: float = PATIENCE) -> None:
    """All clients in turn until they have left."""
    deadline = time.monotonic() + seconds
    while any(not client.gone for client in clients):
        assert not raised, raised
        assert time.monotonic() < deadline, "the run did not end"
        for client in clients:
            if not client.gone:
                client.step(0.02)


def final_sha256(log: KafkaLog, federation: str) -> str:
    """The last version's digest."""
    return rounds_of(log, federation)[-1].weights.sha256


@pytest.fixture(scope="module")
def undisturbed(kafka: Any) -> str:
    """The digest that the run ends with when nobody lies."""
    from mainstem.kafka.client.config import client_config

    log = KafkaLog(client_config(kafka.bootstrap_servers))
    federation = open_federation(log, MODEL, RULES)
    clients = honest_clients(log, federation)
    with aggregating(log, federation) as raised:
        drive(clients, raised)
    sha256 = final_sha256(log, federation)
    log.close()
    return sha256


def test_every_bad_record_is_refused_with_its_reason_and_harms_nothing(log: KafkaLog, undisturbed: str) -> None:
    """Some forty lies in one open round, each named in its record, and the same final sha256 as without them."""
    federation = open_federation(log, MODEL, RULES)
    liar = Liar(log, federation)
    clients = honest_clients(log, federation)
    liar.join()
    liar.send(encode(joined(federation, "third")))
    for client in clients:
        join_only(client)
    bad = bad_records(liar)
    liar.send(b'{"schema":1,"type":"gradient"}')  # of a type that nobody knows: read past, and no refusal
    for name in ("liar", "third"):
        liar.send(encode(Left(client=name, incarnation="1")))
    with aggregating(log, federation) as raised:
        drive(clients, raised)
    first = rounds_of(log, federation)[0]
    refused = {r.offset: r for r in first.refused}
    for what, reason, offset, word in bad:
        assert offset in refused, f"{what} was not refused"
        assert (what, refused[offset].reason) == (what, reason)
        assert word in refused[offset].detail, f"{what}: {refused[offset].detail}"
        assert len(refused[offset].detail) > 10
    assert sorted(refused) == sorted(offset for _, _, offset, _ in bad)
    assert [a.client for a in sorted(first.accepted, key=lambda a: a.client)] == ["A", "B"]
    assert final_sha256(log, federation) == undisturbed


def join_only(client: LightClient) -> None:
    """Let an honest client be a member before it does anything else."""
    client.voice.send(joined(client.federation, client.client))


def test_duplicates_and_closed_rounds(log: KafkaLog, undisturbed: str) -> None:
    """An update sent twice counts once; one for the round before is refused as stale; one after the end as closed."""
    federation = open_federation(log, MODEL, RULES)

    class Again(Voice):
        """Sends each manifest twice, the one before once more, and the last one at the end."""

        said: tuple[Update, Any] | None = None

        def send(self, record: Any, payload: Any = None) -> int:
            update = isinstance(record, Update)
            if self.said is not None and (update or isinstance(record, Left)):
                super().send(*self.said)
            if update:
                self.said = (record, payload)
                super().send(record, payload)
            return super().send(record, payload)

    class Stubborn(LightClient):
        """Speaks so."""

        def speaking(self) -> Voice:
            return Again(self.log, self.federation, self.client, self.incarnation)

    one, two = honest_clients(log, federation)
    stubborn = Stubborn(log, federation, "A", one.train, examples=one.examples)
    with aggregating(log, federation) as raised:
        drive([stubborn, two], raised)
    rounds = rounds_of(log, federation)
    reasons = [sorted({r.reason for r in record.refused if r.client == "A"}) for record in rounds]
    assert [len(record.accepted) for record in rounds] == [2, 2]
    assert set(reasons[0]) <= {Reason.DUPLICATE} and set(reasons[1]) <= {Reason.DUPLICATE, Reason.STALE}
    assert Reason.STALE in reasons[1]
    assert final_sha256(log, federation) == undisturbed


def test_pruned_chunks_are_refused(log: KafkaLog, undisturbed: str) -> None:
    """An update that names records which are deleted by now is refused, it does not stop the run."""
    federation = open_federation(log, MODEL, RULES)
    liar = Liar(log, federation)
    old = liar.chunks(values(9))
    clients = honest_clients(log, federation)
    train, offsets = clients[1].train, []

    def prune_then_train(tensors: Any, seq: int) -> list[Tensor]:
        if seq == 1:
            log.delete_records(liar.topic, 0, rounds_of(log, federation)[0].snapshot.position)
            liar.join()
            offsets.append(liar.update(old, base=Base(seq=1, version=1)))
            liar.send(encode(Left(client="liar", incarnation="1")))
        return train(tensors, seq)

    clients[1].train = prune_then_train
    with aggregating(log, federation, retain=0, spill=0) as raised:
        drive(clients, raised)
    refused = {r.offset: (r.reason, r.detail) for r in rounds_of(log, federation)[1].refused}
    assert list(refused) == offsets
    reason, detail = refused[offsets[0]]
    assert reason == Reason.MISSING_CHUNKS and "no longer holds" in detail
    assert final_sha256(log, federation) == undisturbed


def test_a_flood_is_counted(log: KafkaLog, undisturbed: str) -> None:
    """Thousands of bad records are refused quickly, a hundred are named, the others counted by reason."""
    federation = open_federation(log, MODEL, RULES)
    liar = Liar(log, federation)
    clients = honest_clients(log, federation)
    log.append(liar.topic, [Outgoing(b"{%d" % i) for i in range(5000)])
    with aggregating(log, federation) as raised:
        drive(clients, raised)
    first = rounds_of(log, federation)[0]
    assert len(first.refused) == 100 and first.refused_more == {Reason.MALFORMED: 4900}
    assert len(encode(first)) < 100_000
    assert final_sha256(log, federation) == undisturbed


def test_foreign_records_in_the_control_topic(log: KafkaLog, undisturbed: str) -> None:
    """Whatever a stranger writes into the control topic, the chain and the result are the same."""
    federation = open_federation(log, MODEL, RULES)
    topic = topics.control_topic(federation)
    fake = {"schema": 1, "type": "finished", "federation": federation, "version": 7, "sha256": "0" * 64}
    for value in (
        b"no json",
        b"",
        raw(fake, seq=1, prev="0" * 64),
        raw(fake, seq=0, prev=""),
        raw(fake, seq=10**6, prev=""),
        raw(fake, type="paged", seq=1, prev="", kind="round", pages=[{"offset": 10**9, "sha256": "0" * 64}]),
        raw({"schema": 1, "type": "page", "data": "x" * 100_000}),
        encode(Tick(writer="x")),
    ):
        log.append(topic, [Outgoing(value)])
    clients = honest_clients(log, federation)
    with aggregating(log, federation) as raised:
        drive(clients, raised)
    assert [type(r) for r in rounds_of(log, federation)] == [Round, Round]
    assert final_sha256(log, federation) == undisturbed
