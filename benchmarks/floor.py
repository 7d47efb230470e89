"""`python -m benchmarks.floor`: what a round's bytes cost Kafka alone, with no protocol and no hashing around them.

Bare confluent-kafka clients move what a round moves, in the cases of `benchmarks.against_flower`. Collecting: the
clients' processes, a producer each, write every client's chunks into one partition while one consumer reads them.
Spreading: one model's chunks are written, and every client reads them through a consumer of its own, connected before.
A round's downloads and uploads may overlap, so the bound is the CPU: no round takes less than these CPU seconds divided
by the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.federation import CASES, PATIENCE, Case
from benchmarks.machine import Child, cpu_seconds, description, shares
from benchmarks.stats import emit, summary, table
from mainstem.kafka.broker.embedded import EmbeddedKafka
from mainstem.kafka.client.config import client_config
from mainstem.kafka.client.cursor import consumer_config
from mainstem.kafka.client.log import KafkaLog
from mainstem.kafka.client.outbox import UNDER_WAY
from mainstem.protocol.chunks import CHUNK_BYTES
from mainstem.protocol.topics import MESSAGE_LIMIT, TopicSpec

WARM = b"warm"
"""A first record, from which every client knows that its connection stands."""

TURN = 0.01
"""Seconds of one look at one consumer; the others fetch meanwhile."""


def main() -> int:
    """Run the chosen cases, each on a fresh broker, and print each figure's minimum, median and maximum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="250KB", help=f"comma-separated: {', '.join(CASES)} (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="rounds' worth of bytes, one after the other")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        told = {"write": write, "read": read}[json.loads(options.part)["do"]](json.loads(options.part))
        print(json.dumps(told | {"cpu": time.process_time()}))
        return 0
    result: dict[str, Any] = {"benchmark": "floor", **description(), "cases": {}}
    for name in options.cases.split(","):
        case = replace(CASES[name], rounds=1)
        with EmbeddedKafka() as kafka:
            runs = [one_round(kafka, case, number) for number in range(options.repeat)]
        rows = {label: summary([run[label] for run in runs]) for label in runs[0]}
        print(f"\n{case.name}", file=sys.stderr)
        table(rows, "s")
        result["cases"][case.name] = rows
    emit(result)
    return 0


def one_round(kafka: EmbeddedKafka, case: Case, number: int) -> dict[str, float]:
    """Seconds and CPU seconds of collecting every client's update, then of spreading one model."""
    assert kafka.process is not None
    log = KafkaLog(client_config(kafka.bootstrap_servers))
    figures: dict[str, float] = {}
    try:
        for what, writers, readers in (
            ("collect", shares(case.clients, case.processes), [(0, 1)]),
            ("spread", [(0, 1)], shares(case.clients, case.processes)),
        ):
            topic = f"floor-{number}-{what}"
            log.create_topics([TopicSpec(topic, 1, {"max.message.bytes": str(MESSAGE_LIMIT)})])
            updates = sum(count for _, count in writers)
            with tempfile.TemporaryDirectory() as meeting:
                common = {
                    "servers": kafka.bootstrap_servers, "topic": topic, "sizes": sizes_of(case), "meeting": meeting
                }  # fmt: skip
                children = [part(common | {"do": "read", "clients": count, "updates": updates}) for _, count in readers]
                children += [part(common | {"do": "write", "clients": count}) for _, count in writers]
                begin = start(Path(meeting), len(children))
                broker = cpu_seconds(kafka.process.pid)
                told = [child.told(PATIENCE) for child in children]
            figures[what] = max(one["end"] for one in told) - begin
            figures[f"{what}: CPU of the broker"] = cpu_seconds(kafka.process.pid) - broker
            figures[f"{what}: CPU of writers and readers"] = sum(one["cpu"] - one["cpu_before"] for one in told)
            log.delete_topics([topic])
    finally:
        log.close()
    return {"round": figures["collect"] + figures["spread"], **figures}


def part(order: dict[str, Any]) -> Child:
    """A process that does one part."""
    return Child([sys.executable, "-m", "benchmarks.floor", "--part", json.dumps(order)])


def sizes_of(case: Case) -> list[int]:
    """The chunks of one model, in bytes."""
    nbytes = case.kilobytes * 1024 // case.tensors
    return [min(CHUNK_BYTES, nbytes - start) for start in range(0, nbytes, CHUNK_BYTES)] * case.tensors


def write(order: dict[str, Any]) -> dict[str, float]:
    """Write one model for each client, through one idempotent producer, no more under way than it can send."""
    producer = Producer(
        {
            **client_config(order["servers"]),
            "enable.idempotence": True,
            "linger.ms": 1,
            "batch.size": CHUNK_BYTES,
            "message.max.bytes": MESSAGE_LIMIT,
        }
    )
    producer.produce(order["topic"], WARM, partition=0)
    producer.flush()
    values = {size: bytes(size) for size in order["sizes"]}
    under_way = 0

    def delivered(error: object, message: Message) -> None:
        nonlocal under_way
        assert error is None, error
        under_way -= 1

    cpu = wait_for_start(order["meeting"])
    together = max(UNDER_WAY, CHUNK_BYTES // max(values))
    for size in order["sizes"] * order["clients"]:
        while under_way >= together:
            producer.poll(1)
        under_way += 1
        producer.produce(order["topic"], values[size], partition=0, on_delivery=delivered)
    producer.flush()
    return {"end": time.time(), "cpu_before": cpu}


def read(order: dict[str, Any]) -> dict[str, float]:
    """Read all updates through each client's own consumer: looked at in turns, since each fetches by itself."""
    config = consumer_config(client_config(order["servers"]))
    consumers = [Consumer(config) for _ in range(order["clients"])]
    for consumer in consumers:
        consumer.assign([TopicPartition(order["topic"], 0, 0)])
    for consumer in consumers:
        consumer.consume(1, PATIENCE)  # the first record: it is connected
    wanted = len(order["sizes"]) * order["updates"]
    left = dict.fromkeys(range(len(consumers)), wanted)
    cpu = wait_for_start(order["meeting"])
    while left:
        for number in list(left):
            for message in consumers[number].consume(left[number], TURN):
                if message.error() is None and message.value() != WARM:
                    left[number] -= 1
            if not left[number]:
                del left[number]
    end = time.time()
    for consumer in consumers:
        consumer.close()
    return {"end": end, "cpu_before": cpu}


def start(meeting: Path, count: int) -> float:
    """Wait until `count` processes are connected, and tell them the wall time at which all begin."""
    deadline = time.monotonic() + PATIENCE
    while len(list(meeting.iterdir())) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"not every process was connected within {PATIENCE:g} s")
        time.sleep(0.01)
    begin = time.time() + 0.3
    (meeting / ".begin").write_text(str(begin))
    (meeting / ".begin").rename(meeting / "begin")
    time.sleep(begin - time.time())
    return begin


def wait_for_start(meeting: str) -> float:
    """Say that this process is connected, and sleep until all begin; the CPU seconds used until then."""
    Path(meeting, str(os.getpid())).touch()
    begin = Path(meeting, "begin")
    while not begin.exists():
        time.sleep(0.01)
    time.sleep(max(0.0, float(begin.read_text()) - time.time()))
    return time.process_time()


if __name__ == "__main__":
    sys.exit(main())
