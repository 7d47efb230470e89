"""The loggers' loop: nothing is lost, nothing overtakes, nothing blocks."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstem.errors import ConfigError, LogError
from mainstem.protocol.batch import Batch
from mainstem.protocol.log import Record
from mainstem.relay.http import Ingest
from mainstem.relay.loop import FaultError, HandOverError, Receipt, Relay, UnacceptableError
from mainstem.relay.settings import LoggerSettings
from mainstem.runtime.backoff import Backoff


def record(offset: int, value: bytes | None = b"{}") -> Record:
    return Record("t", 0, offset, 1, None, value)


def batch(*offsets: int) -> Batch:
    return Batch("cluster", {"t": "id"}, [record(n) for n in offsets])


@dataclass
class ListSource:
    """Batches from a list; LogErrors among them are raised; a batch that is not committed stays first."""

    script: deque[Batch | LogError]
    committed: list[int] = field(default_factory=list)

    def batch(self, timeout: float) -> Batch | None:
        if not self.script:
            return None
        entry = self.script.popleft()
        if isinstance(entry, LogError):
            raise entry
        return entry

    def commit(self, batch: Batch) -> None:
        self.committed += [r.offset for r in batch.records]

    def drained(self) -> bool:
        return not self.script


class NoWait:
    """A stop that is never asked for and never waits."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        self.waits.append(timeout)
        return False


def relay(source: ListSource, hand_over: Callable[[Batch], Receipt]) -> tuple[Relay, NoWait]:
    stop = NoWait()
    return Relay(source, hand_over, stop, Backoff(random=random.Random(1))), stop


def test_body_is_what_the_backend_expects() -> None:
    """Keys and values travel as base64, absent ones as null, with the ids that make a record unique."""
    body = Batch("c", {"t": "id"}, [Record("t", 3, 7, 99, b"\x00", None, {"signature": b"\x01", "x": b""})]).body()
    assert body == {
        "cluster_id": "c",
        "records": [
            {
                "topic": "t",
                "topic_id": "id",
                "partition": 3,
                "offset": 7,
                "timestamp_ms": 99,
                "key_b64": "AA==",
                "value_b64": None,
                "signature_b64": "AQ==",
            }
        ],
    }


@given(st.lists(st.sampled_from(["ok", "away", "kafka"]), max_size=30), st.integers(1, 5))
def test_every_record_arrives_in_order_whatever_fails(failures: list[str], size: int) -> None:
    """Failures of either side delay, but neither lose nor reorder records."""
    batches: list[Batch | LogError] = [batch(*range(n * size, (n + 1) * size)) for n in range(10)]
    for n, failure in enumerate(failures):
        if failure == "kafka":
            batches.insert(min(n, len(batches)), LogError("gone"))
    source = ListSource(deque(batches))
    away = deque(f for f in failures if f == "away")
    arrived: list[int] = []

    def hand_over(b: Batch) -> Receipt:
        if away:
            away.popleft()
            raise HandOverError("away")
        arrived.extend(r.offset for r in b.records)
        return Receipt(len(b.records), 0)

    loop, _ = relay(source, hand_over)
    loop.run(once=True)
    assert arrived == source.committed == list(range(10 * size))


@given(st.sets(st.integers(0, 19)))
def test_poison_records_are_passed_over_alone(poison: set[int]) -> None:
    """A body that the backend never takes is split until only the records to blame are left out."""
    source = ListSource(deque([batch(*range(20))]))
    arrived: list[int] = []

    def hand_over(b: Batch) -> Receipt:
        offsets = [r.offset for r in b.records]
        if poison & set(offsets):
            raise UnacceptableError("status 400")
        arrived.extend(offsets)
        return Receipt(len(offsets), 0)

    loop, _ = relay(source, hand_over)
    loop.run(once=True)
    assert arrived == [n for n in range(20) if n not in poison]
    assert source.committed == list(range(20))


@given(st.sets(st.integers(0, 7), max_size=2))
def test_a_record_that_breaks_the_backend_does_not_block_the_others(bad: set[int]) -> None:
    """A fault of the backend over one record, for minutes, costs that record only; the rest arrives in order."""
    source = ListSource(deque([batch(*range(8))]))
    arrived: list[int] = []

    def hand_over(b: Batch) -> Receipt:
        offsets = [r.offset for r in b.records]
        if bad & set(offsets):
            raise FaultError("status 500")
        arrived.extend(offsets)
        return Receipt(len(offsets), 0)

    loop, stop = relay(source, hand_over)
    loop.run(once=True)
    assert arrived == [n for n in range(8) if n not in bad]
    assert source.committed == list(range(8))
    if bad:
        assert sum(stop.waits) > 60


def test_nothing_is_passed_over_while_the_backend_is_unwell() -> None:
    """A database that is away looks like a fault over every record: then the record waits as long as it takes."""
    source = ListSource(deque([batch(1)]))
    tries = 0

    def hand_over(b: Batch) -> Receipt:
        nonlocal tries
        tries += 1
        if tries < 200:
            raise FaultError("status 500")
        return Receipt(1, 0)

    loop, _ = relay(source, hand_over)
    loop.healthy = lambda: False
    loop.run(once=True)
    assert tries == 200 and source.committed == [1]


def test_stop_leaves_an_undelivered_batch_uncommitted() -> None:
    """A stop while the backend is away ends the loop; the batch is read again at the next start."""
    source, stop = ListSource(deque([batch(1)])), threading.Event()

    def hand_over(b: Batch) -> Receipt:
        stop.set()
        raise HandOverError("away")

    Relay(source, hand_over, stop).run()
    assert source.committed == []


def test_pauses_grow_and_are_bounded() -> None:
    """Pauses double up to the limit, never exceed it, and start small again after a success."""
    backoff = Backoff(first=1, longest=8, random=random.Random(0))
    pauses = [backoff.next() for _ in range(10)]
    assert all(limit / 2 <= p <= limit for p, limit in zip(pauses, [1, 2, 4, 8, 8, 8, 8, 8, 8, 8], strict=True))
    backoff.reset()
    assert backoff.next() <= 1


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "KML_CLOUD_BOOTSTRAP_SERVERS"),
        ({"KML_CLOUD_BOOTSTRAP_SERVERS": "k:1"}, "MAINSTEM_TOKEN"),
        ({"KML_CLOUD_BOOTSTRAP_SERVERS": "k:1", "MAINSTEM_TOKEN": "a b"}, "MAINSTEM_TOKEN"),
        ({"KML_CLOUD_BOOTSTRAP_SERVERS": "k:1", "MAINSTEM_TOKEN_FILE": "/nowhere/token"}, "MAINSTEM_TOKEN_FILE"),
    ],
)
def test_settings_name_the_variable_to_fix(environ: dict[str, str], name: str) -> None:
    """Every missing or broken setting is refused with its name."""
    with pytest.raises(ConfigError, match=name):
        LoggerSettings.for_cloud(environ).token()


def test_data_logger_defaults_to_the_cloud_kafka() -> None:
    """Without DATA_BOOTSTRAP_SERVERS both loggers read one Kafka, with its client settings."""
    environ = {"KML_CLOUD_BOOTSTRAP_SERVERS": "k:1", "KML_CLOUD_CLIENT_CONFIG": "/p", "MAINSTEM_TOKEN": "t"}
    both = LoggerSettings.for_data(environ)
    assert (both.bootstrap, both.client_config) == ("k:1", "/p")
    two = LoggerSettings.for_data(environ | {"DATA_BOOTSTRAP_SERVERS": "d:1"})
    assert (two.bootstrap, two.client_config) == ("d:1", None)


@pytest.mark.parametrize("api", ["ftp://x", "127.0.0.1:8000", "http://", "http://x:port"])
def test_bad_address_is_refused(api: str) -> None:
    """The address of the backend must be one."""
    with pytest.raises(ConfigError, match="MAINSTEM_API"):
        Ingest(api, "/api/ingest/data/", lambda: "t")
